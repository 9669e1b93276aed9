"""A reward model behind a URL as a ``Scorer``: batches, bounded concurrency, retries, rewards in order."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import assert_never, final

from transformers import PreTrainedTokenizerBase

from plaudit.batching.encode import render_turns
from plaudit.data.schema.group import Group, Message
from plaudit.errors import ConfigError, DataError, ModelError
from plaudit.scoring.remote.connection import Connection, Failure
from plaudit.scoring.remote.pool import Pool
from plaudit.scoring.remote.shapes import (
    ADDS_BOS,
    PATHS,
    RENDERS,
    UNUSABLE,
    Sent,
    Shape,
    groups_body,
    read_groups_answer,
    read_responses_answer,
    reason_of,
    responses_body,
)
from plaudit.scoring.remote.watch import NO_ANSWER, REFUSED, Watch
from plaudit.scoring.scorer import GroupRewards

MESSAGES = "messages"


@final
@dataclass(frozen=True, slots=True)
class Template:
    """How conversations become the texts that are sent."""

    name: str
    source: str
    special_tokens: bool
    """Whether the server is to add its own special tokens."""
    tokenizer: PreTrainedTokenizerBase | None
    """Tokenizer that the template is of; None for a template that names no special token."""

    def render(self, prompt: Sequence[Message], response: str) -> str:
        """Return the text of a conversation.

        Raises:
            DataError: when the template refuses it.
        """
        turns = (*prompt, Message("assistant", response))
        if self.tokenizer is not None:
            return render_turns(self.tokenizer, self.source, turns)
        if self.name == "concatenate":
            return "".join(turn.content for turn in turns)
        return "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns)


@final
@dataclass(slots=True)
class RemoteScorer:
    """Asks a server for rewards.

    ``template`` None sends messages, which the server renders. At most ``concurrency`` requests of at most ``batch``
    responses run at a time, over as many connections; of vLLM's shapes messages go one response to a request. Groups
    are read no further ahead than these requests need. ``probabilities`` says that rewards from 0 to 1 are meant.
    """

    connection: Connection
    shape: Shape
    model: str | None = None
    template: Template | None = None
    batch: int = 32
    concurrency: int = 8
    probabilities: bool = False
    _watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        """Check that the shape can send what is asked for."""
        if self.template is None and self.shape not in (*RENDERS, "vllm-score"):
            raise ConfigError(
                f"a server of the shape {self.shape} takes texts; name the chat template that makes them, as "
                "template=DIRECTORY (of the model's tokenizer), template=plain or template=concatenate"
            )
        if self.template is not None and self.shape in ("plaudit", "vllm-score"):
            raise ConfigError(f"a server of the shape {self.shape} renders by itself; leave template out")
        self._watch = Watch(self.connection.base, self.shape, self.probabilities)

    @property
    def sends(self) -> str:
        """Return in words what is sent of a conversation."""
        if self.shape == "vllm-score":
            return "the prompt as query and the response as document"
        if self.template is None:
            return "messages, which the server renders"
        bos = ", without the BOS token, which the server adds" if self.shape in ADDS_BOS else ""
        return f"text, rendered with the chat template of {self.template.name}{bos}"

    @property
    def recipe_hash(self) -> str:
        """Return a short hash of the address, the shape, the model's name and the template.

        What the server does with it cannot be seen: a server that changes its model keeps this hash.
        """
        template = MESSAGES if self.template is None else f"{self.template.source}|{self.template.special_tokens}"
        text = "|".join((self.connection.base, self.shape, self.model or "", template))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def head_hash(self) -> str:
        """Return ``recipe_hash``: the weights of the server are not known."""
        return self.recipe_hash

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order.

        A response whose request had no answer after all tries, that the server refused, whose answer cannot be used, or
        whose number is not finite, has the reward None, and the group's ``reason`` says which. Of a request that is
        refused, or that the server breaks over, each half is asked again by itself, so that one text that is too long
        takes no other with it.

        Raises:
            ModelError: naming what was found, for an answer that no other request would change; when 20 groups in a row
                have no answer that can be used, or the first 20 are all refused; and when the first rewards show that
                they are not those of the model: all exactly 1, as from a softmax over a single output, or all from 0
                to 1, as from a sigmoid, unless these are ``probabilities``.
        """
        pool = self.connection.pool()
        workers = ThreadPoolExecutor(self.concurrency, thread_name_prefix="plaudit-remote")
        running: deque[Future[list[GroupRewards]]] = deque()
        try:
            for job in self._jobs(groups):
                running.append(workers.submit(self._asked, pool, job))
                if len(running) > self.concurrency:
                    yield from self._seen(running.popleft().result())
            while running:
                yield from self._seen(running.popleft().result())
        finally:
            pool.close()
            workers.shutdown(wait=False, cancel_futures=True)

    def _seen(self, made: list[GroupRewards]) -> Iterator[GroupRewards]:
        for each in made:
            self._watch.see(each)
            yield each

    def _jobs(self, groups: Iterable[Group]) -> Iterator[list[Group]]:
        """Yield whole groups together, as many as have ``batch`` responses, and at least one."""
        job, size = list[Group](), 0
        alone = self._one_by_one
        for group in groups:
            if job and (alone or size + len(group.responses) > self.batch):
                yield job
                job, size = list[Group](), 0
            job.append(group)
            size += len(group.responses)
        if job:
            yield job

    @property
    def _one_by_one(self) -> bool:
        return self.template is None and self.shape in ("vllm-classify", "vllm-pooling")

    def _asked(self, pool: Pool, job: list[Group]) -> list[GroupRewards]:
        if self.shape == "plaudit":
            return self._ask_groups(pool, job)
        sent = list[Sent | str]()
        for group in job:
            sent += [self._sent(group, response) for response in group.responses]
        size = 1 if self._one_by_one else self.batch
        found = list[float | str]()
        kept = [each for each in sent if isinstance(each, Sent)]
        for start in range(0, len(kept), size):
            found += self._ask_responses(pool, kept[start : start + size])
        answers = iter(found)
        values = [each if isinstance(each, str) else next(answers) for each in sent]
        made, first = list[GroupRewards](), 0
        for group in job:
            made.append(_group_rewards(group, values[first : first + len(group.responses)]))
            first += len(group.responses)
        return made

    def _sent(self, group: Group, response: str) -> Sent | str:
        if self.template is None:
            return Sent(group.prompt, response, None)
        try:
            text = self.template.render(group.prompt, response)
        except DataError as error:
            return f"refused by the chat template: {error}"
        tokenizer = self.template.tokenizer
        bos = None if tokenizer is None else tokenizer.bos_token
        if isinstance(bos, str) and self.shape in ADDS_BOS:
            text = text.removeprefix(bos)
        return Sent(group.prompt, response, text)

    def _ask_responses(self, pool: Pool, sent: list[Sent], retries: int | None = None) -> list[float | str]:
        shape = self.shape
        assert shape != "plaudit"
        special = self.template is None or self.template.special_tokens
        body = responses_body(shape, sent, self.model, special_tokens=special)
        answer = self.connection.post(pool, PATHS[shape], body, retries=retries)
        if not isinstance(answer, Failure):
            try:
                return read_responses_answer(shape, answer, len(sent))
            except ModelError as error:
                return [f"{UNUSABLE}: {error}"] * len(sent)
        if (split := _split(answer, len(sent))) is None:
            return [_reason(answer)] * len(sent)
        half, retries = split
        return self._ask_responses(pool, sent[:half], retries) + self._ask_responses(pool, sent[half:], retries)

    def _ask_groups(self, pool: Pool, job: list[Group], retries: int | None = None) -> list[GroupRewards]:
        answer = self.connection.post(pool, PATHS["plaudit"], groups_body(job, self.model), retries=retries)
        if not isinstance(answer, Failure):
            try:
                entries = read_groups_answer(answer, job)
            except ModelError as error:
                entries = [f"{UNUSABLE}: {error}"] * len(job)
            return [_whole(each, group) for each, group in zip(entries, job, strict=True)]
        if (split := _split(answer, len(job))) is None:
            return [_whole(_reason(answer), group) for group in job]
        half, retries = split
        return self._ask_groups(pool, job[:half], retries) + self._ask_groups(pool, job[half:], retries)


def _split(failure: Failure, count: int) -> tuple[int, int | None] | None:
    """Return how many of ``count`` to ask by themselves next, and with how many retries; None where it is of no use.

    A server that gives HTTP 500 breaks, maybe, over one of them, as where a number is NaN and its JSON knows none. It
    was asked again and again; each part is asked just once.
    """
    match failure.kind:
        case "refused":
            return (count // 2, None) if count > 1 else None
        case "broken":
            return (count // 2, 0) if count > 1 else None
        case "no answer" | "unusable":
            return None
        case _:
            assert_never(failure.kind)


def _reason(failure: Failure) -> str:
    match failure.kind:
        case "refused":
            return f"{REFUSED}: {failure.words}"
        case "no answer" | "broken":
            return f"{NO_ANSWER}: {failure.words}"
        case "unusable":
            return f"{UNUSABLE}: {failure.words}"
        case _:
            assert_never(failure.kind)


def _whole(found: GroupRewards | str, group: Group) -> GroupRewards:
    """Return the rewards of a group; a text says why there are none."""
    if isinstance(found, str):
        return GroupRewards(id=group.id, rewards=(None,) * len(group.responses), reason=found)
    return found


def _group_rewards(group: Group, values: Sequence[float | str]) -> GroupRewards:
    """Return the rewards of a group; a value that is a text says why there is no reward."""
    rewards = tuple(None if isinstance(value, str) else value for value in values)
    return GroupRewards(id=group.id, rewards=rewards, reason=reason_of(values))
