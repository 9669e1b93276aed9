"""Scores groups with a model that compares two responses in one text: win rates over the group, in both orders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.comparison import EncodedComparisons, holds_tag
from plaudit.batching.encode import EncodingReport
from plaudit.batching.planner import GroupSizes, micro_batches
from plaudit.batching.tokens import TokenGroup
from plaudit.data.schema.group import Group, Message, conversation
from plaudit.errors import ConfigError, DataError, InvalidGroupError, ModelError
from plaudit.models.checkpoint.recipe import ComparisonMode
from plaudit.models.parity import LayoutProof
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.local.chunks import parts_within
from plaudit.scoring.local.engine import DEFAULT_MAX_TOKENS, WINDOW
from plaudit.scoring.local.weights import weights_hash
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics import win_rates
from plaudit.statistics.position_bias import PositionBias

Unit = Literal["win_rate", "log_odds"]

MAX_COMPARISONS = 8192
"""Comparisons of the groups that are read and scored together, beside ``WINDOW`` groups."""

NOTHING_TO_COMPARE = "nothing to compare with"
NOT_FINITE = "the model gave a probability that is not a finite number"

_Prompt = str | Sequence[Message | Mapping[str, str]]
_Pairs = list[tuple[int, int]]
_Table = npt.NDArray[np.float64]


class PairwiseScorer:
    """A ``Scorer`` around a model of the form "comparison".

    The probability that a is better than b is the mean of two answers: that the first is better where a is named first,
    and that the second is better where b is. So p(a ≻ b) + p(b ≻ a) = 1, to the last bit, whatever the model's bias
    for a position, which ``position_bias`` measures over all pairs compared so far. Equal responses have ½.

    The reward of a response is a number of its group, not of the response alone:

    - ``mode="all_pairs"`` compares every pair of its K different responses, K (K − 1) texts with one prompt. The reward
      is the win rate, the mean probability of being better than another response.
    - ``mode="linear"`` compares every response with one anchor, 2 (K − 1) texts: the response of median length, the
      same whatever the order in which responses are listed. With s the log-odds of being better than the anchor, the
      probabilities of all other pairs are taken to be σ(s_i − s_j) (Bradley–Terry), and the reward is the win rate
      under them. Where the model's log-odds add up, this equals ``all_pairs``; where they do not, as in a cycle, the
      rewards hang on the anchor.

    ``unit="log_odds"`` gives strengths in place of win rates: mean log-odds of being better than the responses of the
    group, itself included. Differences of strengths are log-odds of one being better, exactly so for two responses, so
    σ of them is a probability, as for the rewards of a Bradley–Terry model; win rates have no such reading.

    Responses that cannot be compared (a tag of the format in the text, too long) have no reward, and the group's reason
    says why; where it is a pair that is too long, the longer response. The only response of a group has none either:
    there is nothing to compare it with, and a win rate of ½ would be an answer that nobody gave.

    A causal language model of another origin is read by ``PairwiseScorer(new_reward_model(source, seed=0,
    head=COMPARISON))``, as long as it was trained on this text through its own chat template.

    Source: Dong et al. (2024), RLHF Workflow, arXiv 2405.07863 (pair-pm), with both orders averaged.
    """

    def __init__(
        self,
        model: RewardModel,
        *,
        mode: ComparisonMode | None = None,
        unit: Unit = "win_rate",
        max_tokens: int = DEFAULT_MAX_TOKENS,
        proof: LayoutProof | None = None,
    ) -> None:
        """Score with ``model``, at most ``max_tokens`` positions at a time; ``mode`` None is that of its recipe.

        Raises:
            ConfigError: when ``max_tokens`` is below 1.
            ModelError: when the model was not made to compare responses.
        """
        if max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens}; it must be at least 1")
        recipe = model.recipe
        if recipe.form != "comparison" or len(recipe.class_tokens) != 2:
            raise ModelError(
                f"a PairwiseScorer needs a model of the form comparison with two words to answer; this one has the "
                f"form {recipe.form} and {len(recipe.class_tokens)} words"
            )
        self.model = model.eval()
        self.mode: ComparisonMode = recipe.comparison_mode if mode is None else mode
        self.unit: Unit = unit
        self.max_tokens = max_tokens
        self.proof = proof
        # Counts groups, kept where any pair was compared; what was cut or left out it counts in comparisons.
        self.report = EncodingReport()
        self.position_bias = PositionBias()
        self._encoder = recipe.comparison_encoder(model.tokenizer)

    @property
    def recipe_hash(self) -> str:
        """Return the hash of the scoring recipe, of which ``mode`` is a part."""
        return self.model.recipe.model_copy(update={"comparison_mode": self.mode}).hash

    @property
    def head_hash(self) -> str:
        """Return a short hash of weights, by which models of one recipe can be told apart."""
        return weights_hash(self.model)

    @property
    def compares(self) -> bool:
        """Whether a reward is a number of its group: it always is."""
        return True

    def in_log_odds(self) -> PairwiseScorer:
        """Return the same scorer with strengths as rewards; its counts and its position bias are those of this one."""
        made = PairwiseScorer(self.model, mode=self.mode, unit="log_odds", max_tokens=self.max_tokens, proof=self.proof)
        made.report, made.position_bias = self.report, self.position_bias
        return made

    def probability(self, prompt: _Prompt, first: str, second: str) -> float:
        """Return the probability that ``first`` is a better response to ``prompt`` than ``second``.

        p(a ≻ b) + p(b ≻ a) is exactly 1, also over two calls.

        Raises:
            InvalidGroupError: when the prompt or a response is not valid.
            DataError: when the two cannot be compared, with the reason.
        """
        low, high = sorted((first, second))
        group = Group(prompt=conversation(prompt), responses=(low, high), id="0")
        (found,) = self._compared([group], [[(0, 1)] if low != high else []])
        if low == high:
            return 0.5
        table = win_rates.symmetric_probabilities(found.log_odds)
        if np.isnan(table[0, 1]):
            raise DataError(f"cannot compare: {found.reason or NOT_FINITE}")
        return float(table[0, 1] if first == low else table[1, 0])

    def score(self, prompt: _Prompt, responses: Sequence[str]) -> tuple[float, ...]:
        """Return one reward per response to ``prompt``, a text (one user turn) or a conversation.

        Raises:
            InvalidGroupError: when the prompt or a response is not valid.
            DataError: when a response cannot be compared with the others.
        """
        if isinstance(responses, str):
            raise InvalidGroupError("responses is one string; it must be a list of strings")
        (scored,) = self.score_groups([Group(prompt=conversation(prompt), responses=tuple(responses), id="0")])
        rewards = [reward for reward in scored.rewards if reward is not None]
        if len(rewards) < len(scored.rewards):
            raise DataError(f"cannot score: {scored.reason}")
        return tuple(rewards)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order, reading at most ``WINDOW`` groups ahead."""
        for window in self._windows(groups):
            found = self._compared(window, [self._pairs(group) for group in window])
            for group, each in zip(window, found, strict=True):
                yield self._rewards(group, each)

    def probabilities(self, groups: Iterable[Group]) -> Iterator[_Table]:
        """Yield, for each group, ``[response, response]`` the probability that i is better than j; ½ on the diagonal.

        A pair that could not be compared is NaN. In the mode ``linear`` all but those with the anchor are worked out
        from the log-odds against it.
        """
        for window in self._windows(groups):
            found = self._compared(window, [self._pairs(group) for group in window])
            for group, each in zip(window, found, strict=True):
                yield self._tables(group, each)[0]

    def pair_probabilities(self, comparisons: Iterable[tuple[Group, int, int]]) -> Iterator[float | None]:
        """Yield, for each (group, i, j), the probability that response i is better than j, or None where it has none.

        Pairs of one group that follow one another share its prompt. The mode plays no part here.
        """
        iterator = iter(comparisons)
        while window := list(itertools.islice(iterator, MAX_COMPARISONS // 2)):
            runs = [list(run) for _, run in itertools.groupby(window, key=lambda each: id(each[0]))]
            groups = [run[0][0] for run in runs]
            pairs = [_different(group, [(i, j) for _, i, j in run]) for group, run in zip(groups, runs, strict=True)]
            for group, run, found in zip(groups, runs, self._compared(groups, pairs), strict=True):
                places = _places(group)
                table = win_rates.symmetric_probabilities(found.log_odds)
                np.fill_diagonal(table, 0.5)
                for _, i, j in run:
                    value = float(table[places[i], places[j]])
                    yield None if math.isnan(value) else value

    def best(self, groups: Iterable[Group]) -> Iterator[int | None]:
        """Yield, for each group, the index of the response that wins a knockout, or None where none can be compared.

        The responses meet in the order of the data: the first meets the second, the winner the third, and so on; a tie
        leaves the earlier one standing. K − 1 meetings, each in both orders, are the fewest that find the best of K,
        and say nothing of the others. A response that holds a tag of the format takes no part, and one that cannot be
        compared with the one standing loses to it; where no two of several could be compared there is no best. The
        meetings of many groups run together, and ``report`` counts each of them as a group.
        """
        for window in self._windows(groups):
            yield from self._knockout(window)

    def _knockout(self, window: Sequence[Group]) -> list[int | None]:
        entered = [[k for k, text in enumerate(group.responses) if not holds_tag(text)] for group in window]
        standing = [players[0] if players else 0 for players in entered]
        any_met = [len(group.responses) == 1 for group in window]
        for turn in range(1, max(map(len, entered))):
            rows = [row for row, players in enumerate(entered) if turn < len(players)]
            meetings = [(standing[row], entered[row][turn]) for row in rows]
            texts = [window[row].responses for row in rows]
            equal = [text[a] == text[b] for text, (a, b) in zip(texts, meetings, strict=True)]
            pairs = [[] if same else [meeting] for same, meeting in zip(equal, meetings, strict=True)]
            found = self._compared([window[row] for row in rows], pairs)
            for row, same, (champion, challenger), each in zip(rows, equal, meetings, found, strict=True):
                lead = win_rates.symmetric_log_odds(each.log_odds)[challenger, champion]
                any_met[row] |= same or not math.isnan(lead)
                standing[row] = challenger if lead > 0 else champion
        return [best if known else None for best, known in zip(standing, any_met, strict=True)]

    def _windows(self, groups: Iterable[Group]) -> Iterator[list[Group]]:
        """Yield groups in windows of bounded numbers of groups and comparisons."""
        window: list[Group] = []
        count = 0
        for group in groups:
            window.append(group)
            count += 2 * len(self._pairs(group))
            if len(window) == WINDOW or count >= MAX_COMPARISONS:
                yield window.copy()
                window.clear()
                count = 0
        if window:
            yield window

    def _pairs(self, group: Group) -> _Pairs:
        """Return the pairs of different responses that the mode compares, each text by its first place."""
        places = list(dict.fromkeys(_places(group)))
        match self.mode:
            case "all_pairs":
                return list(itertools.combinations(places, 2))
            case "linear":
                anchor = _anchor(group, places)
                return [(anchor, other) for other in places if other != anchor]
            case _:
                assert_never(self.mode)

    def _tables(self, group: Group, found: _Compared) -> tuple[_Table, _Table]:
        """Return the probabilities and the log-odds of all pairs of responses, NaN where a pair has none."""
        places = _places(group)
        match self.mode:
            case "all_pairs":
                probability = win_rates.symmetric_probabilities(found.log_odds)
                log_odds = win_rates.symmetric_log_odds(found.log_odds)
            case "linear":
                anchor = _anchor(group, list(dict.fromkeys(places)))
                strengths = win_rates.symmetric_log_odds(found.log_odds)[:, anchor]
                strengths[anchor] = 0.0
                log_odds = win_rates.differences(strengths)
                probability = win_rates.probabilities_from(log_odds)
            case _:
                assert_never(self.mode)
        np.fill_diagonal(probability, 0.5)
        np.fill_diagonal(log_odds, 0.0)
        return probability[np.ix_(places, places)], log_odds[np.ix_(places, places)]

    def _rewards(self, group: Group, found: _Compared) -> GroupRewards:
        probability, log_odds = self._tables(group, found)
        kept = win_rates.comparable(probability, [len(response) for response in group.responses])
        rewards: list[float | None] = [None] * len(group.responses)
        if kept.any():
            members = np.flatnonzero(kept)
            part = np.ix_(members, members)
            match self.unit:
                case "win_rate":
                    values = win_rates.win_rates(probability[part])
                case "log_odds":
                    values = win_rates.strengths(log_odds[part])
                case _:
                    assert_never(self.unit)
            for member, value in zip(members.tolist(), values.tolist(), strict=True):
                rewards[member] = value
        if None not in rewards:
            return GroupRewards(id=group.id, rewards=tuple(rewards))
        # A lone response was never handed to the model; any other one without a reward met what stands in ``reason``.
        reason = NOTHING_TO_COMPARE if len(group.responses) == 1 else found.reason or NOT_FINITE
        return GroupRewards(id=group.id, rewards=tuple(rewards), reason=reason)

    @torch.inference_mode()
    def _compared(self, groups: Sequence[Group], pairs: Sequence[_Pairs]) -> list[_Compared]:
        """Return what the model says of ``pairs`` of each group, both orders, all in batches of ``max_tokens``."""
        found = [_Compared(np.full((len(group.responses),) * 2, np.nan)) for group in groups]
        parts: list[tuple[EncodedComparisons, TokenGroup, np.ndarray]] = []
        for row, (group, wanted) in enumerate(zip(groups, pairs, strict=True)):
            self.report.groups += not wanted
            if not wanted:
                continue
            made = self._encoder.encode_pairs(row, group, wanted, self.report)
            found[row].reason = "; ".join(made.reasons) or None
            if made.tokens is not None:
                fitting = parts_within(made.tokens, layout=self.model.layout, max_tokens=self.max_tokens)
                parts.extend((made, part, members) for part, members in fitting)
        self._fill(parts, found)
        for each in found:
            self.position_bias.add(each.log_odds)
        return found

    def _fill(
        self, parts: Sequence[tuple[EncodedComparisons, TokenGroup, np.ndarray]], found: Sequence[_Compared]
    ) -> None:
        model = self.model
        sizes = GroupSizes.of([part for _, part, _ in parts])
        for micro in micro_batches(range(len(parts)), sizes, layout=model.layout, max_tokens=self.max_tokens):
            chosen = [parts[row] for row in micro.rows]
            batch = build_batch([part for _, part, _ in chosen], layout=model.layout, pad_id=model.recipe.pad_token)
            outputs = model(batch.to(model.device)).steps
            assert outputs is not None
            # The columns are the log-probabilities of the two words, the one for the second response first.
            values = (outputs[:, 1].double() - outputs[:, 0].double()).cpu().numpy()
            answers = iter(np.where(np.isfinite(values), values, np.nan).tolist())
            for made, part, members in chosen:
                table = found[part.index].log_odds
                for member in members.tolist():
                    comparison = made.comparisons[member]
                    table[comparison.first, comparison.second] = next(answers)


@dataclass(slots=True)
class _Compared:
    """What the model says of a group: log-odds ``[first, second]`` of the first named being better, NaN where none."""

    log_odds: _Table
    reason: str | None = None


def _places(group: Group) -> list[int]:
    """Return [response] the first place in the group at which the same text stands."""
    first: dict[str, int] = {}
    return [first.setdefault(response, place) for place, response in enumerate(group.responses)]


def _different(group: Group, pairs: _Pairs) -> _Pairs:
    """Return the pairs of different texts among ``pairs``, each once and in one order, by the first place of a text."""
    places = _places(group)
    found = dict.fromkeys((min(places[i], places[j]), max(places[i], places[j])) for i, j in pairs)
    return [(i, j) for i, j in found if i != j]


def _anchor(group: Group, places: Sequence[int]) -> int:
    """Return the response of median length, of equally long ones the one whose text sorts in the middle.

    One that holds a tag of the format, and so cannot be compared, is taken only where all do.
    """
    usable = [place for place in places if not holds_tag(group.responses[place])] or places
    ordered = sorted(usable, key=lambda place: (len(group.responses[place]), group.responses[place]))
    return ordered[len(ordered) // 2]
