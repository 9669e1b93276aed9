"""Scores groups with a model that compares two responses in one text: win rates over the group, in both orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from plaudit.batching.comparison import OrderedPair, holds_tag
from plaudit.batching.encode import EMPTY, is_blank
from plaudit.batching.truncation import Truncation
from plaudit.data.schema.group import Group, conversation
from plaudit.errors import DataError, ModelError
from plaudit.models.checkpoint.recipe import ComparisonMode
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.local.chunks import Part, part_batches, parts_within
from plaudit.scoring.local.engine import DEFAULT_MAX_TOKENS, ModelScorer, Prompt, change_lengths, weights_hash
from plaudit.scoring.scorer import WINDOW, GroupRewards, ResponseTruncation, ScorerInfo, finite_or_none
from plaudit.statistics import tournament
from plaudit.statistics.position_bias import PositionBias, pairs_in_both_orders
from plaudit.statistics.tournament import Knockout, RoundRobin

MAX_COMPARISONS = 8192
"""Comparisons of the groups that are read and scored together, beside ``WINDOW`` groups."""

NOTHING_TO_COMPARE = "nothing to compare with"
NOT_FINITE = "the model gave a probability that is not a finite number"

_Pairs = list[tuple[int, int]]
_Table = npt.NDArray[np.float64]


class PairwiseScorer(ModelScorer):
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

    ``strengths`` stand beside the win rates: mean log-odds of being better than a response of the group, itself
    included. Differences of strengths are log-odds of one being better, exactly so for two responses, so σ of them is a
    probability, as for the rewards of a Bradley–Terry model; win rates have no such reading.

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
        max_tokens: int = DEFAULT_MAX_TOKENS,
    ) -> None:
        """Score with ``model``, at most ``max_tokens`` positions at a time; ``mode`` None is that of its recipe.

        Raises:
            ConfigError: when ``max_tokens`` is below 1.
            ModelError: when the model was not made to compare responses.
        """
        super().__init__(max_tokens)
        recipe = model.recipe
        if recipe.form != "comparison" or len(recipe.class_tokens) != 2:
            raise ModelError(
                f"a PairwiseScorer needs a model of the form comparison with two words to answer; this one has the "
                f"form {recipe.form} and {len(recipe.class_tokens)} words"
            )
        self.model = model.eval()
        self.mode: ComparisonMode = recipe.comparison_mode if mode is None else mode
        self.position_bias = PositionBias()
        self._encoder = recipe.comparison_encoder(model.tokenizer)

    def __repr__(self) -> str:
        """Return class, longest conversation and mode of the model."""
        recipe = self.model.recipe
        return f"PairwiseScorer({recipe.architecture}, {recipe.max_length} tokens, {self.mode})"

    @property
    def info(self) -> ScorerInfo:
        """The scoring recipe, of which ``mode`` is a part, and a hash of the weights."""
        recipe = self.model.recipe.model_copy(update={"comparison_mode": self.mode})
        return ScorerInfo(
            recipe_hash=recipe.hash,
            weights_hash=weights_hash(self.model),
            settings=recipe.model_dump(mode="json"),
            scale="win_rates",
            strengths="log_odds_differences",
            window=WINDOW,
            relative=True,
            max_tokens=self.max_tokens,
        )

    def with_lengths(self, max_length: int | None, truncation: Truncation | None, *, name: str) -> PairwiseScorer:
        """Return the scorer with another longest conversation and truncation, see ``HasLengths``."""
        change_lengths(self.model, max_length, truncation, name=name)
        return PairwiseScorer(self.model, mode=self.mode, max_tokens=self.max_tokens)

    def probability(self, prompt: Prompt, first: str, second: str) -> float:
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
        table = tournament.symmetric_probabilities(found.log_odds)
        if np.isnan(table[0, 1]):
            raise DataError(f"cannot compare: {found.reason or NOT_FINITE}")
        return float(table[0, 1] if first == low else table[1, 0])

    def score_window(self, groups: Sequence[Group]) -> list[GroupRewards]:
        """Return the rewards of ``groups``, compared together."""
        return [self._rewards(group, found) for group, found in self._found(groups)]

    def probabilities(self, groups: Iterable[Group]) -> Iterator[_Table]:
        """Yield, for each group, ``[response, response]`` the probability that i is better than j; ½ on the diagonal.

        A pair that could not be compared is NaN. In the mode ``linear`` all but those with the anchor are worked out
        from the log-odds against it.
        """
        for window in self._windows(groups):
            for group, found in self._found(window):
                yield self._tables(group, found)[0]

    def best(self, groups: Iterable[Group]) -> Iterator[int | None]:
        """Yield, for each group, the index of the response that wins a knockout, or None where none can be compared.

        The responses are seeded in the order of the data (see ``Knockout``). K − 1 meetings, each in both orders, are
        the fewest that find the best of K. A response that holds a tag of the format takes no part; where no two of
        several could be compared there is no best. The meetings of a round of many groups run together, and ``report``
        counts a round of a group as a group.
        """
        for window in self._windows(groups):
            brackets = [
                Knockout([k for k, text in enumerate(group.responses) if not (holds_tag(text) or is_blank(text))])
                for group in window
            ]
            while rows := [row for row, bracket in enumerate(brackets) if bracket.meetings]:
                due = [window[row] for row in rows]
                pairs = [_different(group, brackets[row].meetings) for group, row in zip(due, rows, strict=True)]
                for group, row, found in zip(due, rows, self._compared(due, pairs), strict=True):
                    places, leads = _places(group), tournament.symmetric_log_odds(found.log_odds)
                    np.fill_diagonal(leads, 0.0)
                    brackets[row].play([leads[places[i], places[j]] for i, j in brackets[row].meetings])
            for group, bracket in zip(window, brackets, strict=True):
                yield 0 if len(group.responses) == 1 else bracket.winner

    @override
    def _windows(self, groups: Iterable[Group]) -> Iterator[list[Group]]:
        """Yield groups in windows of bounded numbers of groups and comparisons; one ends at each ``WINDOW`` groups."""
        window: list[Group] = []
        count = 0
        for number, group in enumerate(groups, start=1):
            window.append(group)
            count += 2 * len(self._tournament(group).pairs)
            if number % WINDOW == 0 or count >= MAX_COMPARISONS:
                yield window.copy()
                window.clear()
                count = 0
        if window:
            yield window

    def _tournament(self, group: Group) -> RoundRobin:
        """Return which different responses the mode compares, each text by its first place."""
        places = tuple(k for k in dict.fromkeys(_places(group)) if not is_blank(group.responses[k]))
        match self.mode:
            case "all_pairs":
                return RoundRobin(places)
            case "linear":
                return RoundRobin(places, anchor=_anchor(group, places) if places else None)
            case _:
                assert_never(self.mode)

    def _tables(self, group: Group, found: _Compared) -> tuple[_Table, _Table]:
        """Return the probabilities and the log-odds of all pairs of responses, NaN where a pair has none."""
        probabilities, log_odds = self._tournament(group).tables(found.log_odds)
        places = _places(group)
        return probabilities[np.ix_(places, places)], log_odds[np.ix_(places, places)]

    def _rewards(self, group: Group, found: _Compared) -> GroupRewards:
        probabilities, log_odds = self._tables(group, found)
        said = [k for k, response in enumerate(group.responses) if not is_blank(response)]
        kept = np.zeros(len(group.responses), dtype=bool)
        kept[said] = tournament.comparable(probabilities[np.ix_(said, said)], [len(group.responses[k]) for k in said])
        rewards = finite_or_none(tournament.number_of_kept(tournament.win_rates, probabilities, kept))
        strengths = finite_or_none(tournament.number_of_kept(tournament.strengths, log_odds, kept))
        lost = tuple(found.lost[place] for place in _places(group))
        reasons = [EMPTY] if len(said) < len(rewards) else []
        if any(rewards[k] is None for k in said):
            # A lone response was never handed to the model; any other one lacks its reward for ``found.reason``.
            reasons.append(NOTHING_TO_COMPARE if len(said) == 1 else found.reason or NOT_FINITE)
        return GroupRewards(
            id=group.id,
            rewards=rewards,
            reason="; ".join(reasons) or None,
            strengths=strengths,
            truncation=ResponseTruncation(lost) if any(lost) else None,
            comparisons=pairs_in_both_orders(found.log_odds),
        )

    def _found(self, groups: Sequence[Group]) -> Iterator[tuple[Group, _Compared]]:
        """Return each group with the log-odds of the pairs that the mode compares."""
        found = self._compared(groups, [self._tournament(group).pairs for group in groups])
        return zip(groups, found, strict=True)

    @torch.inference_mode()
    def _compared(self, groups: Sequence[Group], pairs: Sequence[_Pairs]) -> list[_Compared]:
        """Return the log-odds of ``pairs`` of each group, both orders, all in batches of ``max_tokens``."""
        found = [_Compared.of(len(group.responses)) for group in groups]
        parts: list[Part] = []
        encoded: dict[int, Sequence[OrderedPair]] = {}
        for row, (group, wanted) in enumerate(zip(groups, pairs, strict=True)):
            self.report.groups += not wanted
            if not wanted:
                continue
            made = self._encoder.encode_pairs(row, group, wanted, self.report)
            found[row].reason = "; ".join(made.reasons) or None
            for comparison, lost in zip(made.comparisons, made.lost, strict=True):
                for response in (comparison.first, comparison.second):
                    found[row].lost[response] = max(found[row].lost[response], lost)
            if made.tokens is not None:
                encoded[row] = made.comparisons
                parts += parts_within(made.tokens, layout=self.model.layout, max_tokens=self.max_tokens)
        self._fill(parts, encoded, found)
        for each in found:
            self.position_bias.add(pairs_in_both_orders(each.log_odds))
        return found

    def _fill(
        self, parts: Sequence[Part], encoded: Mapping[int, Sequence[OrderedPair]], found: Sequence[_Compared]
    ) -> None:
        model, pad = self.model, self.model.recipe.pad_token
        for batch, chosen in part_batches(parts, layout=model.layout, max_tokens=self.max_tokens, pad_id=pad):
            outputs = model(batch.to(model.device)).steps
            assert outputs is not None
            # The columns are the log-probabilities of the two words, the one for the second response first.
            values = (outputs[:, 1].double() - outputs[:, 0].double()).cpu().numpy()
            answers = iter(np.where(np.isfinite(values), values, np.nan).tolist())
            for part, members in chosen:
                for member in members.tolist():
                    comparison = encoded[part.index][member]
                    found[part.index].log_odds[comparison.first, comparison.second] = next(answers)


@dataclass(slots=True)
class _Compared:
    """Comparisons of a group: log-odds ``[first, second]`` that the first named is better, NaN where not compared."""

    log_odds: _Table
    lost: list[int]
    """[response] the most tokens that a comparison of it lost."""
    reason: str | None = None

    @classmethod
    def of(cls, responses: int) -> _Compared:
        """Return a group of which nothing was compared yet."""
        return cls(np.full((responses, responses), np.nan), [0] * responses)


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
