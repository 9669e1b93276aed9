"""The rules that see one group at a time: each a function of the group, the config and the seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import assert_never

from plaudit.data.mixing.config import Differing, GroupRule, Keep, MeanRating, Pairs, Ranks
from plaudit.data.mixing.report import RuleCounts
from plaudit.data.schema.columns import relabelled
from plaudit.data.schema.group import Group, Preference
from plaudit.data.schema.hash_rng import draw_key, shuffled
from plaudit.data.schema.pairing import candidates, lead, ranks_of

NO_PAIR_LEFT = "no pair is left"


def passed(group: Group, rule: GroupRule, seed: int, counts: RuleCounts) -> Group | None:
    """Return the group as ``rule`` leaves it, or None where it is left out; ``counts`` gets the numbers."""
    counts.groups_in += 1
    counts.pairs_in += len(group.preferences)
    if counts.not_found:
        counts.meet((group.source,) if isinstance(rule, Keep) else group.ratings)
    match rule:
        case MeanRating():
            result = _with_mean(group, rule)
        case Ranks(by=by):
            rated = group.ratings.get(by)
            result = f"no rating {by}" if rated is None else relabelled(group, ranks=ranks_of(rated))
        case Pairs():
            result = _with_pairs(group, rule, seed, counts)
        case Differing():
            result = _with_differing_pairs(group, counts)
        case Keep():
            result = why_left_out(group, rule) or group
        case _:
            assert_never(rule)
    if isinstance(result, str):
        counts.groups_left_out[result] += 1
        if not isinstance(rule, Pairs | Differing):
            counts.pairs_left_out[result] += len(group.preferences)
        return None
    counts.groups_out += 1
    counts.pairs_out += len(result.preferences)
    return result


def names_of(rule: GroupRule) -> set[str]:
    """Return the ratings that a rule names, or the sources."""
    match rule:
        case MeanRating(of=of):
            return set(of)
        case Ranks(by=by) | Pairs(by=by):
            return set() if by is None else {by}
        case Keep(sources=sources, without_sources=without):
            return {*(sources or ()), *without}
        case Differing():
            return set()
        case _:
            assert_never(rule)


def _with_mean(group: Group, rule: MeanRating) -> Group | str:
    columns = [group.ratings[name] for name in rule.of if name in group.ratings]
    if not columns:
        return f"no rating of {', '.join(rule.of)}"
    is_partial_allowed = rule.missing == "ignored"
    means = []
    for index in range(len(group.responses)):
        known = [value for column in columns if (value := column[index]) is not None]
        enough = bool(known) if is_partial_allowed else len(known) == len(rule.of)
        means.append(math.fsum(known) / len(known) if enough else None)
    if all(mean is None for mean in means):
        return f"no response has {'any' if is_partial_allowed else 'all'} of {', '.join(rule.of)}"
    return relabelled(group, ratings={**group.ratings, rule.into: tuple(means)})


def _with_pairs(group: Group, rule: Pairs, seed: int, counts: RuleCounts) -> Group | str:
    values = None if rule.choose == "given" and rule.by is None else _values(group, rule.by)
    if rule.choose == "given":
        considered = list(group.preferences)
    else:
        if group.preferences:
            counts.pairs_left_out["replaced by this rule"] += len(group.preferences)
        if values is None:
            return f"no rating {rule.by}" if rule.by is not None else "no ranks"
        considered = [Preference(*pair) for pair in candidates(values, rule.choose, _orders(group, rule, seed))]
        counts.pairs_made += len(considered)
    if rule.by is not None and values is None:
        counts.pairs_left_out[f"no rating {rule.by}"] += len(considered)
        return f"no rating {rule.by}"
    kept = considered if values is None else _bounded(considered, values, rule, counts.pairs_left_out)
    if rule.max_pairs is not None and len(kept) > rule.max_pairs:
        drawn = shuffled(len(kept), draw_key(group, seed, "max_pairs"))[: rule.max_pairs]
        counts.pairs_left_out[f"more than {rule.max_pairs} of the group"] += len(kept) - rule.max_pairs
        kept = [kept[index] for index in sorted(drawn)]
    return relabelled(group, preferences=tuple(kept)) if kept else NO_PAIR_LEFT


def _orders(group: Group, rule: Pairs, seed: int) -> tuple[Sequence[int], Sequence[int]]:
    """Return the two independent orders that ``candidates`` draws by; where all pairs are taken it needs none."""
    if rule.choose == "all":
        return (), ()
    first, second = (draw_key(group, seed, purpose) for purpose in ("the first of a pair", "the second of a pair"))
    return shuffled(len(group.responses), first), shuffled(len(group.responses), second)


def _values(group: Group, by: str | None) -> list[float | None] | None:
    """Return one value per response, the best highest: the rating ``by``, or the ranks turned round."""
    if by is not None:
        return None if by not in group.ratings else list(group.ratings[by])
    return None if group.ranks is None else [None if rank is None else -float(rank) for rank in group.ranks]


def _bounded(
    pairs: list[Preference], values: list[float | None], rule: Pairs, left_out: Counter[str]
) -> list[Preference]:
    """Return the pairs that keep to the bounds of ``rule``, with the margins and probabilities it asks for."""
    kept = []
    for pair in pairs:
        gap = lead(values[pair.chosen], values[pair.rejected], min_gap=rule.min_gap, min_ratio=rule.min_ratio)
        if isinstance(gap, str):
            left_out[gap] += 1
        elif gap:
            kept.append(Preference(pair.chosen, pair.rejected, gap, pair.probability) if rule.margin else pair)
        elif rule.ties == "half":
            kept.append(Preference(pair.chosen, pair.rejected, 0.0 if rule.margin else pair.margin, 0.5))
        else:
            left_out["equal ratings" if rule.by is not None else "equal ranks"] += 1
    return kept


def _with_differing_pairs(group: Group, counts: RuleCounts) -> Group | str:
    texts = [response.strip() for response in group.responses]
    kept = tuple(pair for pair in group.preferences if texts[pair.chosen] != texts[pair.rejected])
    counts.pairs_left_out["the two responses are the same"] += len(group.preferences) - len(kept)
    return relabelled(group, preferences=kept) if kept else NO_PAIR_LEFT


def why_left_out(group: Group, rule: Keep) -> str | None:
    """Return the bound of ``rule`` that the group does not keep to, or None where it keeps to all."""
    count, turns, most = len(group.responses), len(group.prompt), rule.max_characters
    shortest, longest = min(map(len, group.responses)), max(map(len, group.responses))
    total = sum(len(message.content) for message in group.prompt) + longest
    source = group.source
    bounds = (
        (rule.sources is not None and source not in rule.sources, "of another source"),
        (source in rule.without_sources, f"of source {source}"),
        (rule.min_responses is not None and count < rule.min_responses, f"fewer than {rule.min_responses} responses"),
        (rule.max_responses is not None and count > rule.max_responses, f"more than {rule.max_responses} responses"),
        (rule.max_turns is not None and turns > rule.max_turns, f"more than {rule.max_turns} turns"),
        (
            rule.min_characters is not None and shortest < rule.min_characters,
            f"a response of fewer than {rule.min_characters} characters",
        ),
        (most is not None and total > most, f"more than {most} characters"),
    )
    return next((reason for is_outside, reason in bounds if is_outside), None)
