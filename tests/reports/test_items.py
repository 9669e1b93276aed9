"""The browser of items: what is in it, how an item stands, and that it stays within its size."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.evaluation.store.items import prompt_hash
from plaudit.records import ItemScore
from plaudit.reports.items import MAX_CHARACTERS, item_browser, standing


def item(rewards: tuple[float | None, ...], **changes) -> ItemScore:
    lengths = tuple(4 for _ in rewards)
    return ItemScore(id="i", source="s", prompt_key="k", rewards=rewards, **{"lengths": lengths, **changes})


@pytest.mark.parametrize(
    ("scored", "kinds", "status", "margin"),
    [
        (item((1.0, 0.5), preferences=((0, 1),)), ["preference"], "right", 0.5),
        (item((1.0, 0.5), preferences=((1, 0),)), ["preference"], "wrong", -0.5),
        (item((1.0, 1.0), preferences=((1, 0),)), ["preference"], "tie", 0.0),
        # one pair of three is wrong: 2 over 0
        (item((3.0, 2.0, 2.5), preferences=((0, 1), (0, 2), (1, 2))), ["preference"], "wrong", -0.5),
        (item((1.0, None), preferences=((0, 1),)), ["preference"], "no reward", None),
        (item((3.0, 1.0, 2.0), ranks=(1, 2, 3)), ["ranking"], "wrong", -1.0),
        # the best correct response has 2, the best wrong one 1.5; the worst correct one does not count
        (item((2.0, 1.5, 0.0), outcomes=(True, False, True)), ["outcome"], "right", 0.5),
        (item((2.0, 1.5, 7.0), outcomes=(True, False, None)), ["outcome"], "right", 0.5),
        (item((2.0, 1.5), outcomes=(True, True)), ["outcome"], "not judged", None),
        (item((2.0, 1.5)), ["preference", "outcome"], "not judged", None),
    ],
)
def test_how_an_item_stands(scored: ItemScore, kinds: list[str], status: str, margin: float | None):
    found, by = standing(scored, kinds)
    assert found == status
    assert (by is None) is (margin is None)
    assert margin is None or math.isclose(by, margin)


def group(number: int, chosen: str = "</script><b>") -> Group:
    responses, preferences = (chosen, "no"), (Preference(0, 1),)
    prompt = conversation(f"Why {number}?")
    return Group(prompt=prompt, responses=responses, preferences=preferences, id=f"g{number}", source="s")


def scored(of: Group) -> ItemScore:
    return ItemScore(
        id=of.id,
        source=of.source,
        prompt_key=prompt_hash(of),
        rewards=(1.0, 0.0),
        lengths=tuple(map(len, of.responses)),
        preferences=((0, 1),),
    )


def test_texts_cannot_end_the_script_that_holds_them():
    one = group(0, "</script><img src=x onerror=alert(1)>&amp;")
    browser = item_browser([scored(one)], {(one.id, prompt_hash(one)): one}, max_bytes=10_000)
    assert not set("<>&") & set(browser.data)
    ((key, source, status, margin, reason, prompt, responses),) = json.loads(browser.data)
    assert (key, source, status, margin, reason, prompt) == ("g0", "s", "right", 1.0, None, "Why 0?")
    assert responses == [[1.0, "chosen", len(one.responses[0]), one.responses[0]], [0.0, "rejected", 2, "no"]]


def test_a_group_of_other_texts_is_not_shown_and_a_long_text_is_cut():
    long, other = group(0, "x" * 5000), group(1)
    texts = {(each.id, prompt_hash(each)): each for each in (long, group(1, "another length"))}
    browser = item_browser([scored(long), scored(other)], texts, max_bytes=100_000)
    first, second = json.loads(browser.data)
    assert (browser.texts, second[5], second[6][0][3]) == (1, None, None)
    assert first[6][0][3] == "x" * (MAX_CHARACTERS - 1) + "…"


def test_of_more_items_than_there_is_room_for_those_shown_are_spread_evenly():
    groups = [group(number) for number in range(1000)]
    texts = {(each.id, prompt_hash(each)): each for each in groups}
    items = [scored(each) for each in groups]
    whole = item_browser(items, texts, max_bytes=1_000_000)
    assert (whole.count, whole.of, whole.texts) == (1000, 1000, 1000)
    browser = item_browser(items, texts, max_bytes=20_000)
    rows = json.loads(browser.data)
    assert 15_000 < len(browser.data.encode()) <= 20_001
    assert browser.count == len(rows) > 100
    assert browser.of == 1000
    places = [int(row[0].removeprefix("g")) for row in rows]
    assert (places[0], places[-1]) == (0, 999)
    steps = {b - a for a, b in itertools.pairwise(places)}
    assert max(steps) <= 2 * min(steps)
