"""What a result rests on, counted: responses, pairs, ids that come again, sizes of groups, missing rewards and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from plaudit.evaluation.metrics.pairs import PairTable
from plaudit.records import ItemScore

MAX_REASONS = 20
"""Reasons that are named; the items of others are counted together."""
OTHER_REASONS = "other reasons"


def details(items: Sequence[ItemScore], pairs: PairTable) -> dict[str, int]:
    """Return the counts that a result rests on; none of no items.

    ``repeated_ids`` counts the items whose id an item before them has. ``missing_rewards`` counts responses, of items
    with and without labels; ``items_missing_rewards`` the items that they are of. ``contradictory_pairs``, where there
    are any, counts the pairs of responses that an item prefers both ways, of which a model gets one wrong.
    """
    if not items:
        return {}
    sizes = [len(item.rewards) for item in items]
    missing = [item.rewards.count(None) for item in items]
    contradictory = sum(map(_contradictory_pairs, items))
    return {
        "prompts": len({item.prompt_key for item in items}),
        "responses": sum(sizes),
        "fewest_responses": min(sizes),
        "most_responses": max(sizes),
        "pairs": len(pairs),
        "pairs_of_equal_length": int((pairs.length_differences == 0).sum()),
        "repeated_ids": len(items) - len({item.id for item in items}),
        "missing_rewards": sum(missing),
        "items_missing_rewards": sum(count > 0 for count in missing),
        **({"contradictory_pairs": contradictory} if contradictory else {}),
    }


def _contradictory_pairs(item: ItemScore) -> int:
    """Return how many pairs of responses have labels for either one."""
    labels = item.probabilities or (None,) * len(item.preferences)
    better = {
        (rejected, chosen) if label is not None and label < 0.5 else (chosen, rejected)
        for (chosen, rejected), label in zip(item.preferences, labels, strict=True)
        if label != 0.5
    }
    return sum((rejected, chosen) in better for chosen, rejected in better) // 2


def group_sizes(items: Sequence[ItemScore]) -> list[dict[str, float]]:
    """Return how many groups have how many responses, the smallest first: rows of ``responses`` and ``groups``."""
    found = Counter(len(item.rewards) for item in items)
    return [{"responses": float(size), "groups": float(found[size])} for size in sorted(found)]


def missing_reasons(items: Sequence[ItemScore]) -> dict[str, int]:
    """Return why rewards are missing: reason → items, the most frequent first, those past ``MAX_REASONS`` together."""
    found = Counter(item.reason or "no reason given" for item in items if None in item.rewards)
    named = dict(found.most_common(MAX_REASONS))
    rest = found.total() - sum(named.values())
    return {**named, OTHER_REASONS: rest} if rest else named
