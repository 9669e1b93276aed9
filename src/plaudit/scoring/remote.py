"""A reward model behind a URL as a ``Scorer``: batches, bounded concurrency, rewards in order, failures as reasons."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar, final
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from transformers import PreTrainedTokenizerBase

from plaudit.batching.encode import EMPTY, is_blank
from plaudit.batching.rendering import render_turns
from plaudit.data.schema.group import Group, Message
from plaudit.errors import ConfigError, DataError, ModelError, closest_or_all
from plaudit.http import API_KEY, Client, Endpoint, Failure, FailureKind, in_order, masked
from plaudit.models.backbone import load_tokenizer
from plaudit.models.checkpoint.recipe import NAMED_TEMPLATES, resolve_template
from plaudit.scoring.scorer import GroupRewards, ScorerInfo
from plaudit.scoring.wire import (
    DIALECTS,
    RAW_LOGITS,
    UNUSABLE,
    Dialect,
    Sent,
    Shape,
    read_groups_answer,
    read_responses_answer,
    reason_of,
    shape_of_path,
    shape_of_routes,
)

NO_ANSWER = "no answer from the server"
REFUSED = "refused by the server"
MESSAGES = "messages"

_REASONS: dict[FailureKind, str] = {
    "refused": REFUSED,
    "no answer": NO_ANSWER,
    "broken": NO_ANSWER,
    "unusable": UNUSABLE,
}
_RETRIES_OF_HALVES: dict[FailureKind, int | None] = {"refused": None, "broken": 0}
"""Failures after which each half of a request is sent by itself → retries; None is the endpoint's own number.

A server that gives HTTP 500 breaks, maybe, over one of them, as where a number is NaN and its JSON knows none. It was
asked again and again; each part is asked just once.
"""

_GIVE_UP_AFTER = 20
"""Groups in a row without an answer after which the run ends: a server that is gone would cost hours of waiting."""
_CONSTANT_AFTER = 4
"""Number of first rewards that, all equal to one constant, show that the server gives it in place of rewards."""
_SQUASHED_AFTER = 16
"""First rewards all from 0 to 1 that tell of a sigmoid. Sixteen independent normal numbers of standard deviation 1 all
lie there with probability 2·10⁻⁷ at most, which is at mean ½."""

_OPTIONS = ("shape", "model", "template", "batch", "concurrency", "timeout", "retries", "probabilities")
_ROUTES = "/openapi.json"
_ROUTES_OF_TEI = "/api-doc/openapi.json"

_Value = TypeVar("_Value")


@final
@dataclass(frozen=True, slots=True)
class Template:
    """Rendering of conversations as the texts that are sent."""

    name: str
    source: str
    special_tokens: bool
    """True where the server is to add its own special tokens."""
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

    endpoint: Endpoint
    shape: Shape
    model: str | None = None
    template: Template | None = None
    batch: int = 32
    concurrency: int = 8
    probabilities: bool = False
    _watch: _Watch = field(init=False)

    def __post_init__(self) -> None:
        """Check that the dialect supports the requested options."""
        if self.template is None and not self._dialect.takes_messages:
            raise ConfigError(
                f"a server of the shape {self.shape} takes texts; name the chat template that makes them, as "
                "template=DIRECTORY (of the model's tokenizer), template=plain or template=concatenate"
            )
        if self.template is not None and not self._dialect.takes_texts:
            raise ConfigError(f"a server of the shape {self.shape} renders by itself; leave template out")
        self._watch = _Watch(self.endpoint.base, self.shape, self.probabilities)

    @property
    def _dialect(self) -> Dialect:
        return DIALECTS[self.shape]

    @property
    def info(self) -> ScorerInfo:
        """A short hash of the address, the shape, the model's name and the template, for the weights too.

        The server cannot be looked into: one that changes its model keeps this hash, and no scale is known.
        """
        template = MESSAGES if self.template is None else f"{self.template.source}|{self.template.special_tokens}"
        text = "|".join((self.endpoint.base, self.shape, self.model or "", template))
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return ScorerInfo(recipe_hash=digest, weights_hash=digest)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order.

        A response whose request had no answer after all tries, that the server refused, whose answer cannot be used, or
        whose number is not finite, has the reward None, and the group's ``reason`` says which. Of a request that is
        refused, or that the server breaks over, each half is asked again by itself, so that one text that is too long
        takes no other with it.

        Raises:
            ModelError: with the answer found, where no other request would change it; when 20 groups in a row
                have no answer that can be used, or the first 20 are all refused; and when the first rewards show that
                they are not those of the model: all exactly 1, as from a softmax over a single output, or all from 0
                to 1, as from a sigmoid, unless these are ``probabilities``.
        """
        with Client(self.endpoint, concurrency=self.concurrency) as client:
            ask = partial(self._asked, client)
            for made in in_order(ask, self._jobs(groups), concurrency=self.concurrency):
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
        return self.template is None and self._dialect.takes_texts

    def _asked(self, client: Client, job: list[Group]) -> list[GroupRewards]:
        if self.shape == "plaudit":
            return [
                GroupRewards(group.id, (None,) * len(group.responses), reason=found)
                if isinstance(found, str)
                else found
                for group, found in zip(job, self._ask(client, job), strict=True)
            ]
        sent = [self._sent(group, response) for group in job for response in group.responses]
        kept = [each for each in sent if isinstance(each, Sent)]
        size = 1 if self._one_by_one else self.batch
        answers = chain.from_iterable(
            self._ask(client, kept[start : start + size]) for start in range(0, len(kept), size)
        )
        values = iter([each if isinstance(each, str) else next(answers) for each in sent])
        return [_group_rewards(group, list(islice(values, len(group.responses)))) for group in job]

    def _sent(self, group: Group, response: str) -> Sent | str:
        if is_blank(response):
            return EMPTY
        if self.template is None:
            return Sent(group.prompt, response, "")
        try:
            text = self.template.render(group.prompt, response)
        except DataError as error:
            return f"refused by the chat template: {error}"
        tokenizer = self.template.tokenizer
        bos = None if tokenizer is None else tokenizer.bos_token
        if isinstance(bos, str) and self._dialect.adds_bos:
            text = text.removeprefix(bos)
        return Sent(group.prompt, response, text)

    def _ask(self, client: Client, items: Sequence[Any], retries: int | None = None) -> list[Any]:
        """Return the server's answer for each item (a group, or a response as sent), or the failure."""
        special_tokens = None if self.template is None else self.template.special_tokens
        body = self._dialect.body(items, self.model, special_tokens)
        sent = {name: value for name, value in body.items() if value is not None}
        answer = client.post(self._dialect.path, sent, retries=retries)
        if not isinstance(answer, Failure):
            try:
                if self.shape == "plaudit":
                    return read_groups_answer(answer, items)
                return read_responses_answer(self._dialect, answer, len(items))
            except ModelError as error:
                return [f"{UNUSABLE}: {error}"] * len(items)
        if len(items) == 1 or answer.kind not in _RETRIES_OF_HALVES:
            return [f"{_REASONS[answer.kind]}: {answer.words}"] * len(items)
        half, retries = len(items) // 2, _RETRIES_OF_HALVES[answer.kind]
        return self._ask(client, items[:half], retries) + self._ask(client, items[half:], retries)


def _group_rewards(group: Group, values: Sequence[float | str]) -> GroupRewards:
    """Return the rewards of a group; a value that is a text says why there is no reward."""
    rewards = tuple(None if isinstance(value, str) else value for value in values)
    return GroupRewards(id=group.id, rewards=rewards, reason=reason_of(values))


@final
@dataclass(slots=True)
class _Watch:
    """Sees the rewards of every group, in order, and ends the run when they cannot be meant.

    ``probabilities`` says that rewards from 0 to 1 are meant.
    """

    base: str
    shape: Shape
    probabilities: bool
    _lost_in_a_row: int = 0
    _has_answered: bool = False
    _known: int = 0
    _are_constant: bool = True
    _are_squashed: bool = True

    def see(self, made: GroupRewards) -> None:
        """Take note of the rewards of a group.

        Raises:
            ModelError: see ``RemoteScorer.score_groups``.
        """
        self._has_answered |= any(reward is not None for reward in made.rewards)
        self._lost_in_a_row = self._lost_in_a_row + 1 if self._is_lost(made) else 0
        if self._lost_in_a_row >= _GIVE_UP_AFTER:
            raise ModelError(f"{self.base}: {_GIVE_UP_AFTER} groups in a row have no reward; the last: {made.reason}")
        self._see_numbers([reward for reward in made.rewards if reward is not None])

    def _is_lost(self, made: GroupRewards) -> bool:
        """Return whether a group was not answered, or refused by a server that has answered nothing so far."""
        if made.reason is None or any(reward is not None for reward in made.rewards):
            return False
        words = (NO_ANSWER, UNUSABLE) if self._has_answered else (NO_ANSWER, UNUSABLE, REFUSED)
        return made.reason.startswith(words)

    def _see_numbers(self, rewards: Sequence[float]) -> None:
        if not rewards:
            return
        self._known += len(rewards)
        form = DIALECTS[self.shape]
        if form.constant is not None:
            number, words = form.constant
            self._are_constant = self._are_constant and all(reward == number for reward in rewards)
            if self._are_constant and self._known >= _CONSTANT_AFTER:
                raise ModelError(f"{self.base}: the first {self._known} rewards are all exactly {number:g}, {words}")
        self._are_squashed = self._are_squashed and all(0.0 <= reward <= 1.0 for reward in rewards)
        if self.probabilities or not form.may_squash:
            return
        if self._are_squashed and self._known >= _SQUASHED_AFTER:
            raise ModelError(
                f"{self.base}: the first {self._known} rewards all lie from 0 to 1, as after a sigmoid, which was not "
                f"asked for; {RAW_LOGITS}; of a model whose rewards are meant to lie there, add probabilities=yes to "
                "the URL"
            )


# ---------------------------------------------------------------------------------------------- from a URL to a scorer


def load_remote(url: str) -> RemoteScorer:
    """Return the scorer that a URL names: ``http://HOST:PORT[/ROUTE][?shape=…&model=…&template=…]``.

    The options behind ``?``, which are not sent: ``shape``, one of ``DIALECTS``; ``model``, as the server calls it;
    ``template``, ``messages`` (the server renders), ``plain``, ``concatenate`` or the folder or hub id of a tokenizer
    with a chat template; ``batch`` responses of a request, ``concurrency``, ``timeout`` in seconds, ``retries``;
    ``probabilities=yes`` for a model whose rewards are meant to lie from 0 to 1. Without ``shape`` the route says it,
    or, of a URL without one, the routes that the server lists in ``/openapi.json``
    (TEI: ``/api-doc/openapi.json``), asked once.

    Raises:
        ConfigError: for an option that does not exist or is wrong, and where the shape cannot be told.
        ModelError: when the server cannot be asked, or the tokenizer not be loaded.
    """
    parts = _parts(url)
    options = _options(parts.query, url)
    routed, before = shape_of_path(parts.path.rstrip("/"))
    endpoint = Endpoint(
        urlunsplit((parts.scheme, parts.netloc, before, "", "")),
        timeout_seconds=_option(options, "timeout", 120.0, _seconds, "a number of seconds above 0", url),
        retries=_whole_option(options, "retries", 5, url, least=0),
    )
    named = options.get("shape")
    shape = _shape(named, url) if named is not None else routed or _detected(endpoint, url)
    return RemoteScorer(
        endpoint,
        shape,
        model=options.get("model"),
        template=_template(options.get("template", MESSAGES)),
        batch=_whole_option(options, "batch", 32, url, least=1),
        concurrency=_whole_option(options, "concurrency", 8, url, least=1),
        probabilities=_option(options, "probabilities", False, {"yes": True, "no": False}.get, "yes or no", url),
    )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(
            f"{masked(url)}: its port is no number from 1 to 65535; it must be http://HOST:PORT"
        ) from None
    if not parts.hostname or port == 0:
        raise ConfigError(f"{masked(url)}: there is no host in it, or no port; it must be http://HOST:PORT")
    if parts.username is not None:
        raise ConfigError(
            f"{masked(url)}: a URL stands in results, and so would the password in it; set {API_KEY} instead"
        )
    return parts


def _options(query: str, url: str) -> dict[str, str]:
    found = parse_qsl(query, keep_blank_values=True)
    options = dict(found)
    for name in options:
        if name not in _OPTIONS:
            shown = url.partition("?")[0]  # what is no option may be a key
            raise ConfigError(f"{shown}: there is no option {name!r}; {closest_or_all(name, _OPTIONS)}")
    if len(options) < len(found):
        raise ConfigError(f"{url.partition('?')[0]}: an option stands twice")
    return options


def _shape(name: str, url: str) -> Shape:
    if name not in DIALECTS:
        raise ConfigError(f"{url}: there is no shape {name!r}; {closest_or_all(name, DIALECTS)}")
    return name


def _detected(endpoint: Endpoint, url: str) -> Shape:
    how = f"say which with ?shape=…, one of {', '.join(DIALECTS)}"
    try:
        answer = _list_of_routes(endpoint)
    except ModelError as error:
        raise ConfigError(f"{url}: the shape of this server cannot be told ({error}); {how}") from None
    if isinstance(answer, Failure) and answer.kind != "unusable":
        raise ModelError(f"{url}: {NO_ANSWER}: {answer.words}")
    paths = answer.get("paths") if isinstance(answer, dict) else None
    routes = [str(route) for route in paths] if isinstance(paths, dict) else []
    shape = shape_of_routes(routes)
    if shape is None:
        own = {each.path for each in DIALECTS.values()}
        known = ", ".join(route for route in routes if route in own) or "none that gives rewards"
        raise ConfigError(f"{url}: the shape of this server cannot be told from its routes ({known}); {how}")
    return shape


def _list_of_routes(endpoint: Endpoint) -> object | Failure:
    with Client(endpoint) as client:
        try:
            return client.get(_ROUTES)
        except ModelError:
            return client.get(_ROUTES_OF_TEI)


def _template(name: str) -> Template | None:
    """Return the template called ``name``; None for messages.

    Raises:
        ModelError: when the tokenizer cannot be loaded, or has no template.
    """
    if name == MESSAGES:
        return None
    if name in NAMED_TEMPLATES:
        return Template(name, NAMED_TEMPLATES[name], special_tokens=True, tokenizer=None)
    tokenizer = load_tokenizer(name)
    source, special_tokens = resolve_template(None, tokenizer, name)
    return Template(name, source, special_tokens=special_tokens, tokenizer=tokenizer)


def _option(
    options: Mapping[str, str], name: str, default: _Value, read: Callable[[str], _Value | None], must: str, url: str
) -> _Value:
    """Return the value of an option, as parsed by ``read``, which returns None for a wrong one."""
    if name not in options:
        return default
    value = read(options[name])
    if value is None:
        raise ConfigError(f"{url}: {name} is {options[name]!r}; it must be {must}")
    return value


def _whole_option(options: Mapping[str, str], name: str, default: int, url: str, *, least: int) -> int:
    def read(text: str) -> int | None:
        return int(text) if text.isascii() and text.isdigit() and int(text) >= least else None

    return _option(options, name, default, read, f"a whole number from {least}", url)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 and math.isfinite(value) else None
