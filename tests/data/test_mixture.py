"""Mixtures: counts as the closed form has them, the same groups for the same config, one fingerprint per content."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.data.mixing.config import (
    ByPolicy,
    ByTemperature,
    ByWeight,
    Counterfactual,
    Distinct,
    HeldOutClusters,
    HeldOutPrompts,
    MixtureConfig,
    MixturePart,
    Pairs,
    PerPrompt,
    Sample,
    Shuffle,
    TeacherPrompts,
)
from plaudit.data.mixing.draw import allotted, interleaved, repeated, temperature_weights
from plaudit.data.mixing.mixture import build_mixture
from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.errors import DataError


@pytest.fixture
def make(tmp_path):
    """Return a function that builds a mixture of parts given as {name: number of rated groups}."""

    def build(sizes, *, folder="data", **fields):
        for name, size in sizes.items():
            rows = [
                {
                    "prompt": f"{name} {n}",
                    "responses": ["a", "b", "c"],
                    "ratings": {"score": [n % 3, 1, 5]},
                    "id": str(n),
                }
                for n in range(size)
            ]
            path = tmp_path / folder / f"{name}.jsonl"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        rules = fields.pop("part_rules", (Pairs(by="score"),))
        weights = fields.pop("weights", {})
        parts = [
            MixturePart(
                name=name,
                files=(DataFile(path=str(tmp_path / folder / f"{name}.jsonl")),),
                rules=rules,
                weight=weights.get(name, 1.0),
            )
            for name in sizes
        ]
        config = MixtureConfig(name="m", parts=tuple(parts), **fields)
        return build_mixture(config, cache_dir=tmp_path / "cache")

    return build


def parts_of(groups):
    return Counter(group.id.partition("/")[0] for group in groups)


def test_everything_of_every_part_comes_once_and_pairs_are_counted(make):
    mixture = make({"x": 6, "y": 3})
    train = mixture.sets["train"]
    assert parts_of(train) == {"x": 6, "y": 3}
    assert len({group.id for group in train}) == 9
    # scores (n mod 3, 1, 5): three pairs, two where n mod 3 is 1
    assert [part.pairs for part in mixture.report.parts] == [16, 8]
    (split,) = mixture.report.splits
    assert (split.groups, split.pairs, split.prompts) == (9, 24, 9)
    assert split.fingerprint == train.fingerprint
    assert train.report.groups == 9


def test_the_order_is_by_part_spread_or_drawn(make):
    of = {
        order: [g.id for g in make({"x": 4, "y": 2}, order=order).sets["train"]]
        for order in ("parts", "interleaved", "shuffled")
    }
    assert of["parts"] == ["x/0", "x/1", "x/2", "x/3", "y/0", "y/1"]
    # places: x at 1/8 3/8 5/8 7/8, y at 1/4 3/4
    assert of["interleaved"] == ["x/0", "y/0", "x/1", "x/2", "y/1", "x/3"]
    assert sorted(of["shuffled"]) == of["parts"] != of["shuffled"]
    other_seed = [g.id for g in make({"x": 4, "y": 2}, seed=1).sets["train"]]
    assert other_seed != of["shuffled"]


def test_weights_share_out_the_groups_and_a_short_part_is_reported_or_repeated(make):
    sizes, weights = {"x": 30, "y": 4}, {"x": 1.0, "y": 1.0}
    capped = make(sizes, weights=weights, draw=ByWeight(groups=20))
    assert parts_of(capped.sets["train"]) == {"x": 10, "y": 4}
    assert [(d.asked, d.drawn, d.available) for d in capped.report.draws] == [(10, 10, 30), (10, 4, 4)]
    full = make(sizes, weights=weights, draw=ByWeight(groups=20, repeat=True))
    assert parts_of(full.sets["train"]) == {"x": 10, "y": 10}
    of_y = Counter(group.id.partition("#")[0] for group in full.sets["train"] if group.id.startswith("y"))
    assert sorted(of_y.values()) == [2, 2, 3, 3]
    assert len({group.id for group in full.sets["train"]}) == 20


def test_temperature_shares(make):
    # sizes 16 and 4: T = 2 gives weights 4 : 2, so 20 groups are shared out as 13.33 : 6.67
    mixture = make({"x": 16, "y": 4}, draw=ByTemperature(temperature=2.0, repeat=True))
    assert parts_of(mixture.sets["train"]) == {"x": 13, "y": 7}
    assert temperature_weights([16, 4], 2.0) == [1.0, 0.5]


def test_rules_of_the_whole_see_all_parts(make, tmp_path):
    mixture = make({"x": 5, "y": 5}, rules=(Sample(groups=4),), order="parts")
    assert len(mixture.sets["train"]) == 4
    (rule,) = mixture.report.rules
    assert (rule.groups_in, rule.groups_out) == (10, 4)
    assert sum(draw.available for draw in mixture.report.draws) == 4


def test_a_held_out_prompt_is_on_one_side_only(make):
    mixture = make({"x": 60, "y": 60}, split=HeldOutPrompts(share=0.25), draw=ByWeight(groups=240, repeat=True))
    train, held_out = ({group.prompt_key for group in mixture.sets[name]} for name in ("train", "held_out"))
    assert not train & held_out
    assert len(train | held_out) == 120
    assert all("#" not in group.id for group in mixture.sets["held_out"])
    assert len(mixture.sets["held_out"]) == len(held_out)


def test_a_second_building_is_read_from_the_cache_and_equal(make):
    first, second = make({"x": 6}), make({"x": 6})
    assert (first.was_cached, second.was_cached) == (False, True)
    assert second.report == first.report
    assert list(second.sets["train"]) == list(first.sets["train"])


def test_the_fingerprint_follows_content_rules_and_seed_and_nothing_else(make):
    base = make({"x": 6}).report.fingerprint
    assert make({"x": 6}, folder="elsewhere").report.fingerprint == base
    assert make({"x": 7}, folder="more").report.fingerprint != base
    assert make({"x": 6}, seed=1).report.fingerprint != base
    assert make({"x": 6}, part_rules=(Pairs(by="score", min_gap=2.0),)).report.fingerprint != base
    assert make({"x": 6}, order="parts").report.fingerprint != base


def test_a_broken_cache_is_built_again(make, tmp_path):
    first = make({"x": 6})
    (arrow,) = (tmp_path / "cache").glob("mixture-*/train.arrow")
    arrow.write_bytes(arrow.read_bytes()[:-8])
    again = make({"x": 6})
    assert not again.was_cached
    assert list(again.sets["train"]) == list(first.sets["train"])


def test_an_empty_part_is_an_error_that_says_where_its_groups_went(make):
    with pytest.raises(DataError, match="part x: no group passed its rules; 6 groups: pairs by=other: no rating other"):
        make({"x": 6}, part_rules=(Pairs(by="other"),))
    with pytest.raises(
        DataError, match="no group passed the rules of all parts; 6 groups: pairs choose=given by=score min_gap=9"
    ):
        make({"x": 6}, rules=(Pairs(choose="given", by="score", min_gap=9.0),))


def test_parts_have_names_of_their_own():
    part = MixturePart(name="x", files=(DataFile(path="a.jsonl"),))
    with pytest.raises(pydantic.ValidationError, match="two parts are named 'x'"):
        MixtureConfig(name="m", parts=(part, part))


def test_a_built_set_is_read_again_as_it_was(make, tmp_path):
    train = make({"x": 5}, draw=ByWeight(groups=12, repeat=True)).sets["train"]
    write_groups(tmp_path / "built.jsonl", train)
    again = read_groups(tmp_path / "built.jsonl", cache_dir=tmp_path / "cache")
    assert list(again) == list(train)
    assert again.fingerprint == train.fingerprint


@settings(max_examples=200, deadline=None)
@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=8), total=st.integers(0, 1000))
def test_shares_sum_up_and_keep_within_one_of_their_quota(weights, total):
    shares = allotted(weights, total)
    assert sum(shares) == total
    assert all(abs(share - weight / sum(weights) * total) < 1 for share, weight in zip(shares, weights, strict=True))


def test_a_small_part_stands_in_the_middle_of_a_large_one():
    # places 1/6, 1/2, 5/6 and 1/2: of the two at one half the earlier part comes first
    assert interleaved([3, 1]).tolist() == [0, 1, 3, 2]


def test_the_seed_decides_which_groups_are_drawn(make):
    drawn = [{g.id for g in make({"x": 40}, draw=ByWeight(groups=10), seed=seed).sets["train"]} for seed in (0, 1)]
    assert drawn[0] != drawn[1]


def test_equal_remainders_favour_the_earlier_part():
    assert allotted([1, 1, 1], 10) == [4, 3, 3]
    assert allotted([0.1, 0.2], 3) == [1, 2]


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 20), share=st.integers(0, 70), seed=st.integers(0, 3))
def test_repetition_is_as_even_as_can_be(size, share, seed):
    positions, copies = repeated(size, share, np.arange(size, dtype=np.uint64), seed)
    counts = np.bincount(positions, minlength=size)
    assert counts.sum() == share
    assert counts.max() - counts.min() <= 1
    assert len(set(zip(positions.tolist(), copies.tolist(), strict=True))) == share


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_every_prefix_of_an_interleaving_holds_each_part_in_proportion(counts):
    order = interleaved(counts)
    part = np.repeat(np.arange(len(counts)), counts)[order]
    assert sorted(order.tolist()) == list(range(sum(counts)))
    for end in range(1, len(part) + 1):
        for number, count in enumerate(counts):
            assert abs((part[:end] == number).sum() - count * end / len(part)) < len(counts)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    most=st.integers(1, 3),
    seed=st.integers(0, 3),
)
def test_the_counts_of_any_mixture_equal_the_closed_form(sizes, most, seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    parts = []
    for number, size in enumerate(sizes):
        path = folder / f"p{number}.jsonl"
        rows = [
            {"prompt": f"q{n}", "responses": ["a", "b", "c", "d"], "ratings": {"s": [0, 1, 2, n % 3]}}
            for n in range(size)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        parts.append(MixturePart(name=f"p{number}", files=(DataFile(path=str(path)),), rules=(Pairs(by="s"),)))
    config = MixtureConfig(name="m", parts=tuple(parts), rules=(PerPrompt(max_pairs=most), Distinct()), seed=seed)
    mixture = build_mixture(config, cache_dir=folder / "cache")
    # four ratings of which exactly two are equal: five pairs per group
    assert [part.pairs for part in mixture.report.parts] == [5 * size for size in sizes]
    prompts = Counter(n for size in sizes for n in range(size))
    assert mixture.report.rules[0].pairs_out == sum(min(most, 5 * count) for count in prompts.values())


@pytest.fixture
def two_sides(tmp_path):
    """Return a function that builds a mixture of 40 prompts that both parts have and 10 that only one has."""
    for name, first in (("policy", 0), ("data", 10)):
        rows = [
            {"prompt": f"q{n}", "chosen": f"{name} good", "rejected": f"{name} bad"} for n in range(first, first + 50)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    parts = tuple(
        MixturePart(name=name, files=(DataFile(path=str(tmp_path / f"{name}.jsonl")),)) for name in ("policy", "data")
    )

    def build(**fields):
        return build_mixture(MixtureConfig(name="m", parts=parts, **fields), cache_dir=tmp_path / "cache")

    return build


@pytest.mark.parametrize(("fraction", "on_policy"), [(0.0, 0), (0.25, 10), (1.0, 40)])
def test_on_and_off_policy_groups_share_no_prompt(two_sides, fraction, on_policy):
    mixture = two_sides(draw=ByPolicy(on_policy="policy", fraction_on_policy=fraction))
    train = list(mixture.sets["train"])
    assert parts_of(train) == Counter({"policy": on_policy, "data": 40 - on_policy})
    assert len({group.prompt_key for group in train}) == 40
    assert [draw.available for draw in mixture.report.draws] == [50, 50]


def test_a_policy_mix_names_one_of_its_parts():
    parts = tuple(MixturePart(name=name, files=(DataFile(path="a"),)) for name in ("x", "y"))
    with pytest.raises(pydantic.ValidationError, match=r"draw\.on_policy is 'z'; it must be one of several parts"):
        MixtureConfig(name="m", parts=parts, draw=ByPolicy(on_policy="z", fraction_on_policy=0.5))


def test_near_duplicate_prompts_stay_on_one_side(tmp_path):
    words = [f"w{n}" for n in range(400)]
    rows = [
        {"prompt": " ".join([*words[20 * n : 20 * n + 20], ending]), "chosen": "a", "rejected": "b"}
        for n in range(20)
        for ending in ("please", "now", "thanks")
    ]
    path = tmp_path / "near.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    part = MixturePart(name="x", files=(DataFile(path=str(path)),))
    split = HeldOutClusters(share=0.4, threshold=0.7)
    sets = build_mixture(MixtureConfig(name="m", parts=(part,), split=split), cache_dir=tmp_path / "cache").sets
    beginnings = [{group.prompt[0].content.split()[0] for group in sets[name]} for name in ("train", "held_out")]
    assert not beginnings[0] & beginnings[1]
    assert len(sets["train"]) % 3 == len(sets["held_out"]) % 3 == 0


def test_the_teacher_split_keeps_three_sets_of_prompts_apart(two_sides, tmp_path):
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"prompt": "q12", "chosen": "x", "rejected": "y"}) + "\n", encoding="utf-8")
    mixture = two_sides(split=TeacherPrompts(test=(DataFile(path=str(test)),)))
    prompts = {name: {group.prompt_key for group in groups} for name, groups in mixture.sets.items()}
    assert prompts.keys() == {"train", "policy_gradient", "held_out"}
    assert not prompts["train"] & prompts["policy_gradient"]
    assert not (prompts["train"] | prompts["policy_gradient"]) & prompts["held_out"]
    # 60 prompts, one of them in the test set; 80 % within five standard deviations
    assert len(prompts["train"] | prompts["policy_gradient"]) == 59
    assert abs(len(prompts["train"]) - 47.2) < 5 * (59 * 0.16) ** 0.5


def test_augmented_groups_are_in_train_alone_and_counted(two_sides):
    mixture = two_sides(split=HeldOutPrompts(share=0.2), augment=(Counterfactual(), Shuffle()))
    made = [group.id for group in mixture.sets["train"] if "#counterfactual" in group.id]
    assert len(made) == mixture.report.augmented[0].groups_added > 0
    assert all("#" not in group.id for group in mixture.sets["held_out"])
    held_out = {text for group in mixture.sets["held_out"] for text in [group.prompt_key]}
    assert not held_out & {group.prompt_key for group in mixture.sets["train"]}
    assert mixture.report.augmented[1].groups_in == len(mixture.sets["train"])


def test_a_part_that_was_thinned_out_is_spread_over_the_shuffled_order(make):
    train = make({"x": 300, "y": 300}, draw=ByWeight(groups=300), weights={"x": 1.0, "y": 9.0}).sets["train"]
    places = [place for place, group in enumerate(train) if group.id.startswith("x/")]
    # the mean place of k of n groups in a random order: n/2 ± n / sqrt(12 k)
    deviation = len(train) / (12 * len(places)) ** 0.5
    assert abs(np.mean(places) - len(train) / 2) < 4 * deviation


def test_a_part_that_was_sampled_is_sampled_again_like_the_others(make, tmp_path):
    make({"x": 400, "y": 400})
    parts = [
        MixturePart(name=name, files=(DataFile(path=str(tmp_path / "data" / f"{name}.jsonl")),), rules=rules)
        for name, rules in (("x", (Sample(fraction=0.25),)), ("y", ()))
    ]
    config = MixtureConfig(name="m", parts=tuple(parts), rules=(Sample(fraction=0.5),))
    found = parts_of(build_mixture(config, cache_dir=tmp_path / "cache").sets["train"])
    # 250 of 500 groups: 50 of the 100 of x, hypergeometric deviation sqrt(100 · ½ · ½ · 400/499) = 4.5
    assert abs(found["x"] - 50) < 4.5 * 4


def test_what_is_held_out_of_a_policy_mix_is_of_both_sides(tmp_path):
    for name in ("on", "off"):
        rows = [{"prompt": f"q{n}", "chosen": f"{name} good", "rejected": f"{name} bad"} for n in range(400)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    parts = tuple(MixturePart(name=n, files=(DataFile(path=str(tmp_path / f"{n}.jsonl")),)) for n in ("on", "off"))
    config = MixtureConfig(
        name="m",
        parts=parts,
        draw=ByPolicy(on_policy="on", fraction_on_policy=0.5),
        split=HeldOutPrompts(share=0.25),
    )
    held_out = build_mixture(config, cache_dir=tmp_path / "cache").sets["held_out"]
    count = parts_of(held_out)["on"]
    assert abs(count - len(held_out) / 2) < 4 * (len(held_out) * 0.25) ** 0.5


def test_a_changed_test_set_is_another_mixture_and_a_moved_one_is_not(two_sides, tmp_path):
    def built(prompts, name):
        rows = [{"prompt": prompt, "chosen": "x", "rejected": "y", "id": prompt} for prompt in prompts]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return two_sides(split=TeacherPrompts(test=(DataFile(path=str(path)),)))

    first = built(["q12"], "test.jsonl")
    changed = built(["q12", "q13"], "test.jsonl")
    assert (len(first.sets["held_out"]), len(changed.sets["held_out"])) == (1, 2)
    assert changed.report.fingerprint != first.report.fingerprint
    assert built(["q12"], "moved/test.jsonl").report.fingerprint == first.report.fingerprint


def test_groups_left_out_by_the_split_are_counted(two_sides, tmp_path):
    test = tmp_path / "test.jsonl"
    test.write_text(json.dumps({"prompt": "q12", "chosen": "x", "rejected": "y"}) + "\n", encoding="utf-8")
    report = two_sides(split=TeacherPrompts(test=(DataFile(path=str(test)),))).report
    assert report.left_out == {"the test has its prompt": 2}
    assert [(read.rows, read.groups) for read in report.test] == [(1, 1)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"draw": ByWeight(groups=30), "split": HeldOutPrompts(share=0.3)},
        {"draw": ByWeight(groups=240, repeat=True), "split": HeldOutPrompts(share=0.3)},
        {"split": HeldOutPrompts(share=0.3), "augment": (Counterfactual(),)},
        {"split": TeacherPrompts(reward_share=0.6), "rules": (Sample(fraction=0.8),)},
    ],
)
def test_rows_and_what_was_added_are_the_groups_and_what_was_left_out(make, fields):
    mixture = make({"x": 40, "y": 30}, **fields)
    repetitions = sum(max(draw.drawn - draw.available, 0) for draw in mixture.report.draws)
    augmented = sum(rule.groups_added for rule in mixture.report.augmented)
    for name, groups in mixture.sets.items():
        read = groups.report
        added = repetitions + (augmented if name == "train" else 0)
        assert read.groups == len(groups)
        assert read.rows == 70
        assert read.rows + added == read.groups + read.joined + sum(read.dropped.values())


def test_files_of_one_name_in_one_part_give_ids_of_their_own(tmp_path):
    files = []
    for folder in ("helpful", "harmless"):
        path = tmp_path / folder / "train.jsonl"
        path.parent.mkdir()
        rows = [{"prompt": f"{folder} {n}", "chosen": "a", "rejected": "b"} for n in range(3)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files.append(DataFile(path=str(path)))
    config = MixtureConfig(name="m", parts=(MixturePart(name="hh", files=tuple(files)),), order="parts")
    train = build_mixture(config, cache_dir=tmp_path / "cache").sets["train"]
    assert [group.id for group in train] == [f"hh/{file}/train:{line}" for file in (1, 2) for line in (1, 2, 3)]
    write_groups(tmp_path / "built.jsonl", train)
    assert len(read_groups(tmp_path / "built.jsonl", cache_dir=tmp_path / "cache")) == 6


def test_an_id_that_a_repetition_would_take_again_is_an_error(tmp_path):
    rows = [{"prompt": name, "chosen": "a", "rejected": "b", "id": name} for name in ("g", "g#2")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    part = MixturePart(name="x", files=(DataFile(path=str(tmp_path / "a.jsonl")),))
    config = MixtureConfig(name="m", parts=(part,), draw=ByWeight(groups=4, repeat=True))
    with pytest.raises(DataError, match="mixture m: two groups of train have the id 'x/g#2'; ids must be unique"):
        build_mixture(config, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["whole", "augmented", "numbered.arrow", "test", "work", "train"])
def test_a_part_may_have_any_name(make, name):
    fields = {"rules": (Pairs(by="score"),), "augment": (Shuffle(),), "split": TeacherPrompts(reward_share=0.5)}
    mixture = make({name: 20, "y": 20}, draw=ByWeight(groups=60, repeat=True), **fields)
    assert sum(len(groups) for groups in mixture.sets.values()) == 60


def test_huge_weights_and_temperatures_share_out_like_small_ones():
    assert allotted([1e308, 1e308], 10) == [5, 5]
    assert allotted([1e-300, 3e-300], 8) == [2, 6]
    assert allotted(temperature_weights([16, 4], 1e-9), 20) == [20, 0]
    assert allotted(temperature_weights([16, 4], 1e9), 20) == [10, 10]
