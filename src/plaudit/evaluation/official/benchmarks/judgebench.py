"""JudgeBench: pairs of responses to hard questions, of which one is objectively right.

- A reward model plays one game per pair (``--single_game``): it prefers the first response where its reward is strictly
  higher, else the second one, as the official code does; so equal rewards are right where the second one is. Where a
  file has a second game, it is only compared with the first.
- A judge plays both orders: a game that agrees with the label counts +1, one that contradicts it −1, a tie or an
  unreadable verdict 0; the pair is right where the sum is positive. See
  ``plaudit.evaluation.official.judge_verdicts``. A judge that
  played one game is right where it agrees with the label.

Every judge of the official code (``judge_name``: reward_model, arena_hard, vanilla, panda_lm, judge_lm, auto_j,
prometheus_2, skywork_critic, compass_judger) writes a ``decision`` per game, and the official metrics read nothing
else: ``A>B`` and ``B>A`` are verdicts, ``A=B`` is a tie, null is an answer that could not be read. What else a
judge may write, such as ``A<B`` of arena_hard, agrees and disagrees with no label: it is counted with the unread ones,
and by itself. A game that failed is null as a whole.

``score`` is over all pairs (micro); ``macro`` is the mean of the four categories, which some papers print instead.

Source: Tan et al. (2024), arXiv 2410.12784, with the official code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from plaudit.data.reading.sources.fields import found, is_list, mapping, required, required_text, text
from plaudit.data.reading.sources.fields import items as list_of
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import ComparisonOutcome, Part, category_metrics, mean_of
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared
from plaudit.evaluation.official.files import PlacedRow, recorded
from plaudit.evaluation.official.judge_verdicts import judged, published_item, verdicts, was_judged
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards

LABELS = ("A>B", "B>A")
CATEGORIES = ("knowledge", "reasoning", "math", "coding")
SPLITS: Mapping[str, int] = ENTRIES["judgebench"]["expected"]
"""Model that gave the responses → official number of pairs."""

_SOURCES = {"livebench-reasoning": "reasoning", "livebench-math": "math", "livecodebench": "coding"}
_UNREAD = (None, None)
_VERDICTS: dict[str | None, tuple[float | None, float | None]] = {
    "A>B": (1.0, 0.0),
    "B>A": (0.0, 1.0),
    "A=B": (0.5, 0.5),
    "B=A": (0.5, 0.5),
    None: _UNREAD,
}
"""Decision → scores of the response shown first and of the other."""

_CONTRADICTED, _UNKNOWN = "scores_contradict_the_decision", "unknown_decisions"
_SECOND_GAME = "second_game"
_FILE = re.compile(r"response_model=([^,/]+?)(?:,[^/]*)?$")


def category_of(source: str) -> str:
    """Return the category of a pair by its ``source``.

    Raises:
        DataError: for a source that is of none.
    """
    if source.startswith("mmlu-pro"):
        return "knowledge"
    if source not in _SOURCES:
        raise DataError(f"source is {source!r}; it must begin with mmlu-pro or be {', '.join(_SOURCES)}")
    return _SOURCES[source]


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for placed in rows:
        row = placed.row
        label = required_text(row, "label")
        if label not in LABELS:
            raise DataError(f"label is {found(label)}; it must be {' or '.join(LABELS)}")
        better = LABELS.index(label)
        split = _split(placed)
        gathering.add(
            f"{split}/{text(required(row, 'pair_id'), 'pair_id')}",
            subset=split,
            prompt=required_text(row, "question"),
            responses=[required_text(row, name) for name in ("response_A", "response_B")],
            preferences=[(better, 1 - better)],
            facts={"category": category_of(required_text(row, "source")), "better": better},
        )


def _split(placed: PlacedRow) -> str:
    named = placed.row.get("response_model")
    if named is not None:
        return text(named, "response_model")
    match = _FILE.search(placed.stem)
    return match.group(1) if match else placed.stem.split("/")[-1]


def _results(rows: Iterator[PlacedRow]) -> Iterator[ItemScore]:
    """Yield the items of an official output file: of a reward model its rewards, of a judge its verdicts."""
    for placed in rows:
        gathering = Gathering("judgebench")
        _read(iter([placed]), gathering)
        played = placed.row.get("judgments")
        if not is_list(played) or not 1 <= len(played) <= 2:
            raise DataError(f"judgments is {found(played)}; it must be a list of one game, or of two in both orders")
        (id,) = gathering.facts
        yield published_item(gathering, *_said(id, played))


def _said(id: str, played: Sequence[object]) -> tuple[GroupRewards, dict[str, JsonValue]]:
    """Return the rewards from the games of one pair, and their oddities."""
    scores = _scores(played[0], 0)
    decisions = [_decision(game, place, optional=scores is not None) for place, game in enumerate(played)]
    odd: dict[str, JsonValue] = {}
    if scores is not None:
        if len(played) > 1:
            # The second game shows the responses the other way round.
            first, second = _winner(scores, decisions[0]), _winner(_scores(played[1], 1), decisions[1])
            odd[_SECOND_GAME] = "contradicts" if None not in (first, second) and first == second else "agrees"
        rewards, why = recorded(scores, "scores")
        first_score, second_score = rewards
        if first_score is None or second_score is None:
            return GroupRewards(id, rewards, reason=why), odd
        if decisions[0] in (None, LABELS[0] if first_score > second_score else LABELS[1]):
            return GroupRewards(id, rewards), odd
        # The official metrics read the decision, so it counts where the scores contradict it.
        decisions, odd[_CONTRADICTED] = decisions[:1], True
    if unknown := [each for each in decisions if each not in _VERDICTS]:
        odd[_UNKNOWN] = list(unknown)
    verdicts = [_VERDICTS.get(decision, _UNREAD) for decision in decisions]
    # The second game shows the responses the other way round.
    return judged(id, verdicts[0], *(each[::-1] for each in verdicts[1:])), odd


def _winner(scores: Sequence[object] | None, decision: str | None) -> int | None:
    """Return which of the two responses of a game, as shown, is preferred: by its scores, else by its decision."""
    values = _VERDICTS.get(decision, _UNREAD) if scores is None else recorded(scores, "scores")[0]
    first, second = values
    return None if first is None or second is None or first == second else int(second > first)


def _scores(game: object, place: int) -> Sequence[object] | None:
    """Return the two rewards that a reward model's game holds, or None where it is a judge's."""
    if game is None:
        return None
    judgment = mapping(game, f"judgments[{place}]").get("judgment")
    scores = judgment.get("scores") if isinstance(judgment, dict) else None
    if scores is not None and (not is_list(scores) or len(scores) != 2):
        raise DataError(f"scores is {found(scores)}; it must be two numbers")
    return scores


def _decision(game: object, place: int, *, optional: bool) -> str | None:
    """Return the decision of a game; None of a game that failed, or has none."""
    if game is None:
        return None
    whole = mapping(game, f"judgments[{place}]")
    if "decision" not in whole and not optional:
        required(whole, "decision", f"judgments[{place}].")
    decision = whole.get("decision")
    return None if decision is None else text(decision, f"judgments[{place}].decision")


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the one comparison of ``item``; its category is split and category."""
    better = int(str(item.metadata["better"]))
    cell = f"{item.metadata['subset']}/{item.metadata['category']}"
    if was_judged(item):
        return [_judged(item, better, cell)]
    own, other = item.rewards[better], item.rewards[1 - better]
    if own is None or other is None:
        return [ComparisonOutcome(cell, item.prompt_key, 0.0, None, 0.0, 0.5)]
    # The first response must be strictly higher; else the official code takes the second.
    right = own > other if better == 0 else own >= other
    tied = own == other
    return [ComparisonOutcome(cell, item.prompt_key, float(right), 0.5 if tied else float(right), float(tied), 0.5)]


def _judged(item: ItemScore, better: int, cell: str) -> ComparisonOutcome:
    played = verdicts(item, better, 1 - better)
    total = played.count("won") - played.count("lost")
    # One game with a verdict says something of the pair, as it does to the official code.
    common = None if played.count("unread") == len(played) else 0.5 + 0.5 * ((total > 0) - (total < 0))
    return ComparisonOutcome(cell, item.prompt_key, float(total > 0), common, float(common == 0.5), 0.5)


def _category(item: ItemScore) -> str:
    return str(item.metadata["category"])


def _parts(items: Sequence[ItemScore]) -> dict[str, Part]:
    splits = sorted({*SPLITS, *(str(item.metadata["subset"]) for item in items)})
    pools = {name: tuple(f"{split}/{name}" for split in splits) for name in CATEGORIES}
    parts: dict[str, Part] = {"score": tuple(cell for pool in pools.values() for cell in pool)}
    parts |= {**pools, "macro": mean_of(*pools.values())}
    return parts | {split: tuple(f"{split}/{name}" for name in CATEGORIES) for split in splits}


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``: over all pairs, by category, by model that gave the responses."""
    played = [verdicts(item, 0, 1) for item in items if was_judged(item)]
    flipped = {("won", "lost"), ("lost", "won")}
    unknown = [str(each) for item in items for each in list_of(item.metadata.get(_UNKNOWN, []), _UNKNOWN)]
    details = {
        "pairs_judged_in_both_orders": sum(len(each) == 2 for each in played),
        "pairs_judged_in_one_order": sum(len(each) == 1 for each in played),
        "games_without_a_verdict": sum(each.count("unread") for each in played),
        "games_with_another_word_for_a_verdict": len(unknown),
        "pairs_whose_scores_contradict_the_decision": sum(_CONTRADICTED in item.metadata for item in items),
        "pairs_whose_winner_changes_with_the_order": sum(each in flipped for each in played),
    }
    found_here = category_metrics(
        items, decide, _parts(items), in_order=True, details=details if played else None, slice_of=_category
    )
    second = [str(item.metadata[_SECOND_GAME]) for item in items if _SECOND_GAME in item.metadata]
    if second:
        counts = {"pairs_with_a_second_game": len(second)}
        found_here.details |= counts | {"pairs_whose_games_contradict_each_other": second.count("contradicts")}
        found_here.rules[_SECOND_GAME] = (
            "not used: of a reward model the first game counts, as in the official code with --single_game"
        )
    if unknown:
        words = ", ".join(sorted({repr(each) for each in unknown})[:10])
        found_here.rules["verdicts"] = f"neither for nor against: {words}"
    return found_here


JUDGEBENCH = declared("judgebench", read=_read, compute=metrics, results=_results)
