"""What plaudit computes, frozen: every figure of many evaluations as one flat mapping from a key to numbers.

::

    python tests/golden/frozen.py --moved   # writes what is another figure now to moved_figures.json
    python tests/golden/frozen.py           # makes frozen_figures.json again (--fast: without the slow cases)

``frozen_figures.json`` holds what commit 2e2a4c7 computed, before plaudit was rearranged. Each line is a case; a figure
is its value, or [value, n], or [value, low, high, n].

A key is ``case/scorer/kind/metric``; behind the metric may stand ``baseline:RULE``, and before it ``slice:SOURCE``,
``best_of_n:N`` and the like. A ``/`` inside a name is written ``|``. A metric that has no value is there as null.

The scorers are pure functions of the texts, or of texts and labels; no model is needed but in ``quickstart`` and
``recipe_*``, which train in float32 and are compared at ``TOLERANCES``.

**Everything that knows plaudit is in the section "adapter".** Where the product is rearranged, that section alone may
change: the cases, scorers and keys below it are what makes the frozen figures mean the same before and after.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

if __package__:
    from . import frozen_rows as made_up
else:
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import frozen_rows as made_up

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("PLAUDIT_DATA") or ROOT.parent / "shared" / "data")
FIXTURE = Path(__file__).resolve().with_name("frozen_figures.json")
MOVED = FIXTURE.with_name("moved_figures.json")
"""Figures that are others now than in the fixture, or that it does not have."""
POINT, END = 1e-12, 1e-9
"""Tolerances of points and of ends of intervals, relative or absolute; those of trained models are in the cases."""
FIELDS = {1: ("value",), 2: ("value", "n"), 4: ("value", "low", "high", "n")}
"""Length of a figure in a file → what its numbers are."""
Figures = dict[str, dict[str, float | int | None]]

# ---------------------------------------------------------------------------------------------------------- adapter
# The only part that may change when plaudit is rearranged. It imports plaudit, runs it, and turns records into figures.


def read_file(place: Place, path: Path, **options: Any) -> list[Any]:
    """Return the groups of a file."""
    from plaudit.data.reading.read import read_groups

    return list(read_groups(path, cache_dir=place.folder / "cache", **options))


def world_groups(count: int, **options: Any) -> list[Any]:
    """Return groups of the built-in world."""
    from plaudit.worlds.world import World

    settings = {name: options.pop(name) for name in ("seed", "temperature") if name in options}
    return list(World(**settings).groups(count, split="held_out", **options))


def make_group(prompt: Any, responses: Sequence[str], preferences: Sequence[tuple[Any, ...]], **fields: Any) -> Any:
    """Return a group; a preference is (chosen, rejected), with a probability and a margin behind where it has them."""
    from plaudit.data.schema.group import Group, Preference, conversation

    pairs = []
    for chosen, rejected, *soft in preferences:
        probability, margin = (*soft, None, None)[:2]
        pairs.append(Preference(chosen, rejected, probability=probability, margin=margin))
    return Group(conversation(prompt), tuple(responses), tuple(pairs), **fields)


def with_preferences(group: Any, preferences: Sequence[tuple[Any, ...]]) -> Any:
    """Return ``group`` with other preferences and no other label."""
    return make_group(group.prompt, group.responses, preferences, id=group.id, source=group.source)


def prompt_text(group: Any) -> str:
    """Return the prompt of a group as one text."""
    return "\x1e".join(f"{message.role}:{message.content}" for message in group.prompt)


def preferences_of(group: Any) -> list[tuple[int, int, float]]:
    """Return (chosen, rejected, probability) of each preference."""
    return [(each.chosen, each.rejected, 1.0 if each.probability is None else each.probability)
            for each in group.preferences]  # fmt: skip


def labels_of_steps(group: Any) -> list[list[tuple[str, float | None]] | None] | None:
    """Return (text, label) of each step of each response; None where the responses have no steps."""
    if group.steps is None:
        return None
    found: list[list[tuple[str, float | None]] | None] = []
    for response, steps in zip(group.responses, group.steps, strict=True):
        if steps is None:
            found.append(None)
            continue
        starts = [0, *(step.end for step in steps)]
        found.append([(response[a : step.end], step.label) for a, step in zip(starts, steps, strict=False)])
    return found


class FixedScorer:
    """A scorer of plaudit that gives ``score(group)``: rewards, attributes and steps."""

    def __init__(self, score: Callable[[Any], Given]) -> None:
        self._score = score

    def score_groups(self, groups: Any) -> Iterator[Any]:
        from plaudit.scoring.scorer import GroupRewards

        for group in groups:
            given = self._score(group)
            missing = None in given.rewards
            yield GroupRewards(
                group.id,
                tuple(given.rewards),
                attributes={name: tuple(values) for name, values in given.attributes.items()},
                steps=None if given.steps is None else tuple(None if each is None else tuple(each)
                                                             for each in given.steps),
                reason="left out by the scorer" if missing else None,
            )  # fmt: skip


class ComparingScorer:
    """A scorer that compares responses in both orders, by ``score(group)``, with 0.4 of log-odds for the first."""

    def __init__(self, score: Callable[[Any], Given]) -> None:
        from plaudit.scoring.scorer import ScorerInfo

        self._score = score
        self.info = ScorerInfo(relative=True)

    def score_groups(self, groups: Any) -> Iterator[Any]:
        import numpy as np

        from plaudit.scoring.scorer import GroupRewards
        from plaudit.statistics.position_bias import pairs_in_both_orders

        for group in groups:
            values = np.array(self._score(group).rewards, dtype=float)
            table = values[:, None] - values[None, :] + 0.4
            np.fill_diagonal(table, math.nan)
            rewards = tuple((values - values.mean()).tolist())
            yield GroupRewards(group.id, rewards, comparisons=pairs_in_both_orders(table))


def run_evaluation(scorer: Any, groups: Any, folder: Path, *, model: str, **options: Any) -> Any:
    """Return the result of a scorer on groups, written to ``folder`` as ``plaudit evaluate`` does."""
    from plaudit.evaluation.run import evaluate

    return evaluate(scorer, groups, name="data", model=model, output_dir=folder, **options)


def run_benchmark(scorer: Any, name: str, loaded: Any, folder: Path, *, model: str, **options: Any) -> Any:
    """Return the result of a scorer on what was loaded of a benchmark."""
    from plaudit.evaluation.official.catalog import benchmark_named
    from plaudit.evaluation.run import evaluate_benchmark

    return evaluate_benchmark(scorer, benchmark_named(name), loaded, model=model, output_dir=folder, **options)


def benchmark_names() -> list[str]:
    """Return the names of the catalogue."""
    from plaudit.evaluation.official.catalog import CATALOG

    return sorted(CATALOG)


def load_benchmark(name: str, path: str, *, every: int = 1) -> Any:
    """Return what official files hold: each ``every``-th group."""
    from plaudit.evaluation.official.catalog import benchmark_named

    loaded = benchmark_named(name).load(path)
    return replace(loaded, groups=loaded.groups[::every])


def loaded_counts(loaded: Any) -> dict[str, int]:
    """Return how many groups and rows were loaded."""
    return {
        "groups": len(loaded.groups),
        "refused": len(loaded.refused),
        "repeated": loaded.repeated,
        "rows": sum(loaded.found.values()),
        "subsets_missing": len(loaded.missing),
    }


def run_published(name: str, path: str, data: str | None = None) -> Any:
    """Return the result of published per-item results."""
    from plaudit.evaluation.store.published import recorded_result

    return recorded_result(path, name, data=data, model="published")


def run_units(folder: Path, unit: str | None, *, relative: bool) -> Any:
    """Return the result of the items in ``folder`` once more, their rewards said to be of ``unit``."""
    from plaudit.evaluation.result import assemble_result
    from plaudit.records import read_items

    scale = "log_odds_differences" if unit == "log_odds" else unit
    items = [each.model_copy(update={"reward_scale": scale}) for each in read_items(folder / "items.jsonl")]
    return assemble_result(items, name="data", model="m", relative=relative)


def run_compare(first: Path, second: Path, **options: Any) -> Figures:
    """Return the figures of the comparison of two folders of results."""
    from plaudit.evaluation.compare.models import compare, read_scored

    options = {"tie_rule": "loss"} | options
    found = compare(read_scored(first), read_scored(second), **options)
    figures: Figures = {}
    for name, count in found.items.items():
        figures[f"count:items_{name}"] = {"value": count}
    for name, count in found.left_out.items():
        figures[f"{plain(name)}/count:left_out"] = {"value": count}
    numbers = ("first", "second", "p_value", "p_holm", "p_false_discovery")
    for row in (*found.overall, *found.slices):
        key = plain(row.kind) if row.slice is None else f"{plain(row.kind)}/slice:{plain(row.slice)}"
        _put_tested(figures, key, row, (*numbers, "sign_p_value", "detectable"))
        for name in ("n", "prompts", "wins", "losses", "draws"):
            figures[f"{key}/count:{name}"] = {"value": getattr(row, name)}
    for row in found.metrics:
        family = "headline" if row.family == "primary" else row.family  # its name when the figures were frozen
        key = f"{row.measure}/{family}/{plain(row.name)}"
        _put_tested(figures, key, row, numbers)
        for name in ("n", "n_second", "prompts"):
            figures[f"{key}/count:{name}"] = {"value": getattr(row, name)}
    for row in found.not_tested:
        for name in ("first", "second"):
            figures[f"{row.measure}/not_tested/{plain(row.name)}/{name}"] = {"value": getattr(row, name)}
    return figures


def _put_tested(figures: Figures, key: str, row: Any, numbers: Sequence[str]) -> None:
    figures[f"{key}/difference"] = interval(row.difference)
    for name in numbers:
        figures[f"{key}/{name}"] = {"value": getattr(row, name)}
    figures[f"{key}/count:left_out"] = {"value": row.left_out.total}


def run_leaderboards(folders: Mapping[str, Path], benchmark: str | None = None) -> Figures:
    """Return the places, scores and groups of models that cannot be told apart."""
    from plaudit.evaluation.compare.leaderboard import leaderboards, official_leaderboard
    from plaudit.evaluation.official.catalog import benchmark_named
    from plaudit.records import read_items

    models = {name: read_items(folder / "items.jsonl") for name, folder in folders.items()}
    boards = leaderboards(models, tie_rule="loss")
    official = None if benchmark is None else official_leaderboard(models, benchmark_named(benchmark))
    figures: Figures = {}
    for board in [*boards, *([] if official is None else [official])]:
        kind = plain(board.kind)
        for name in ("items", "left_out", "unjudged"):
            figures[f"{kind}/count:{name}"] = {"value": getattr(board, name)}
        for place, one in enumerate(board.standings, start=1):
            figures[f"{kind}/{one.name}/score"] = interval(one.score)
            figures[f"{kind}/{one.name}/place"] = {"value": place}
            for other in board.standings[place:]:
                shared = bool(set(one.letters.split()) & set(other.letters.split()))
                pair = "~".join(sorted((one.name, other.name)))
                figures[f"{kind}/{pair}/not_told_apart"] = {"value": int(shared)}
    return figures


def run_probe(scorer: Any, groups: Sequence[Any], folder: Path) -> Figures:
    """Return the figures of the stress test."""
    from plaudit.evaluation.stress.run import stress

    found = stress(scorer, groups, name="data", model="m", output_dir=folder)
    figures: Figures = {"groups": {"value": found.groups}, "spread": {"value": found.spread}}
    figures["count:failures"] = {"value": sum(found.failures.values())}
    kinds = {
        "transform": (found.transforms, ("before", "after", "difference", "flipped"),
                      ("groups", "changed", "failed", "ties_before", "ties_after")),
        "style": (found.styles, ("difference", "in_spreads", "raised"), ("responses", "changed", "failed")),
    }  # fmt: skip
    for kind, (effects, intervals, counts) in kinds.items():
        for each in effects:
            key = f"{kind}:{plain(each.name)}"
            left_out = each.left_out if isinstance(each.left_out, int) else sum(each.left_out.values())
            figures[f"{key}/count:left_out"] = {"value": left_out}
            figures[f"{key}/p_value"] = {"value": each.p_value}
            figures[f"{key}/found"] = {"value": int(each.verdict == "found")}
            figures |= {f"{key}/{name}": interval(getattr(each, name)) for name in intervals}
            figures |= {f"{key}/count:{name}": {"value": getattr(each, name)} for name in counts}
    if found.position is not None:
        figures |= _position(found.position)
    return figures


def run_quickstart(folder: Path, *, groups: Mapping[str, int] | None, prompts: int | None) -> Figures:
    """Return the figures of ``plaudit quickstart``; with other numbers of groups and prompts where they are given."""
    from plaudit.cli import quickstart
    from plaudit.evaluation.metrics.best_of_n import BestOfN
    from plaudit.records import Result

    before = quickstart.GROUPS, quickstart.CANDIDATE_PROMPTS
    quickstart.GROUPS, quickstart.CANDIDATE_PROMPTS = dict(groups or before[0]), prompts or before[1]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            quickstart.quickstart(out=folder / "quickstart", seed=0)
    finally:
        quickstart.GROUPS, quickstart.CANDIDATE_PROMPTS = before
    run = folder / "quickstart" / "run"
    figures = flatten(Result.model_validate_json((run / "eval" / "held_out" / "result.json").read_bytes()))
    table = BestOfN.model_validate_json((run / "best_of_n.json").read_bytes())
    figures["best_of_n/count:groups"] = {"value": table.groups}
    figures["best_of_n/count:left_out"] = {"value": table.left_out}
    for row in table.rows:
        figures |= {f"best_of_n/{row.n}/{name}": interval(getattr(row, name)) for name in ("chosen", "oracle", "mean")}
    return figures | _training(run)


def run_recipe(place: Place, name: str, changes: Sequence[str]) -> Figures:
    """Return the figures of a recipe: its last training losses, and its model on its held-out groups."""
    from plaudit.config import load_config
    from plaudit.data.reading.read import read_groups
    from plaudit.opening import load
    from plaudit.training.config import TrainConfig
    from plaudit.training.run import train

    config = load_config(TrainConfig, ROOT / "recipes" / name / "config.yaml", changes)
    run = train(config, run_dir=place.folder / "recipes" / name)
    held_out = read_groups(run / "data" / "held_out.jsonl", format="groups", cache_dir=place.folder / "cache")
    result = run_evaluation(load(run), held_out, run / "eval", model=name)
    return flatten(result) | _training(run)


def _training(run: Path) -> Figures:
    """Return the last losses of the log of a run, and all numbers of its last rows of training and evaluation."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    figures: Figures = {"training/count:rows": {"value": len(rows)}}
    trained = [row for row in rows if "train/rm/loss" in row]
    for row in trained[-4:]:
        figures[f"training/step:{row['step']}/loss"] = {"value": row["train/rm/loss"]}
    for row in (trained[-1], [row for row in rows if "eval/rm/loss" in row][-1]):
        numbers = {name: value for name, value in row.items() if not name.endswith("_per_second")}
        figures |= {f"training/last:{plain(name)}": {"value": value} for name, value in numbers.items() if "/" in name}
    return figures


PAIR_COUNTS = {
    "ties": "count:ties",
    "pairs": "count:detail:pairs",
    "pairs_of_equal_length": "count:detail:pairs_of_equal_length",
}
"""Details of preferences → their keys, where these counts stood before preferences were a measure."""


def flatten(result: Any) -> Figures:
    """Return every figure of a result; pairs and ties are 0 where no item carries a preference."""
    figures: Figures = {}
    for name in ("n", "scored", "unscored", "failed"):
        figures[f"count:{name}"] = {"value": getattr(result, name)}
    figures |= {f"count:detail:{plain(name)}": {"value": count} for name, count in result.details.items()}
    figures["count:without_reward"] = {"value": sum(result.reasons.values())}
    figures["count:left_out"] = {"value": sum(result.left_out.values())}
    for measure in result.measures:
        figures |= _measure(measure)
    for name, key in PAIR_COUNTS.items():
        figures[key] = figures.pop(f"preference/count:detail:{name}", {"value": 0})
    if result.position is not None:
        figures |= _position(result.position)
    return figures


def _measure(measure: Any) -> Figures:
    kind = plain(measure.name)
    figures: Figures = {f"{kind}/{plain(name)}": interval(each) for name, each in measure.metrics.items()}
    figures |= {f"{kind}/{plain(name)}": interval(None) for name in measure.absent}
    for name in ("n", "scored", "unscored", "failed"):
        figures[f"{kind}/count:{name}"] = {"value": getattr(measure.counts, name)}
    figures |= {f"{kind}/count:detail:{plain(name)}": {"value": count} for name, count in measure.details.items()}
    for name, rules in measure.baselines.items():
        figures |= {f"{kind}/{plain(name)}/baseline:{rule}": interval(each) for rule, each in rules.items()}
    for source, found in measure.slices.items():
        figures |= {f"{kind}/slice:{plain(source)}/{plain(name)}": interval(each) for name, each in found.items()}
    if measure.kind == "benchmark":
        figures[f"{kind}/count:subsets_missing"] = {"value": len(measure.missing)}
        figures[f"{kind}/headline"] = dict(figures[f"{kind}/{plain(measure.primary)}"])
    for name, rows in measure.curves.items():
        for column in sorted({key for row in rows for key in row}):
            # A curve as one number per column that changes when any of its numbers, or their order, does.
            value = math.fsum((place + 1) * row.get(column, 0.0) for place, row in enumerate(rows))
            figures[f"{kind}/curve:{name}/{column}"] = {"value": value, "n": len(rows)}
    if measure.best_of_n is not None:
        curve = measure.best_of_n
        figures[f"{kind}/best_of_n/random"] = interval(curve.random)
        figures[f"{kind}/best_of_n/fall"] = interval(curve.fall)
        for name in ("peak", "groups", "left_out", "largest_k"):
            figures[f"{kind}/best_of_n/count:{name}"] = {"value": getattr(curve, name)}
        for point in curve.points:
            key = f"{kind}/best_of_n:{point.n}"
            figures[f"{key}/divergence"] = {"value": point.divergence}
            for name in ("gold", "oracle", "regret", "recovered", "proxy"):
                figures[f"{key}/{name}"] = interval(getattr(point, name))
    return figures


def _position(effect: Any) -> Figures:
    return {
        "position/count:pairs": {"value": effect.pairs},
        "position/first": interval(effect.first),
        "position/inconsistent": interval(effect.inconsistent),
    }


def interval(found: Any) -> dict[str, float | int | None]:
    """Return an estimate as numbers; all null where there is none."""
    if found is None:
        return dict.fromkeys(("value", "low", "high", "n"))
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


@contextlib.contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """Keep what plaudit caches of data in ``folder``, so that nothing of an earlier version is read."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = folder / "cache"
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = before


# ---------------------------------------------------------------------------------------------------------- scorers
# Below this line nothing imports plaudit.


@dataclass
class Given:
    """What a scorer says of one group."""

    rewards: list[float | None]
    attributes: dict[str, list[float | None]] = field(default_factory=dict)
    steps: list[list[float] | None] | None = None


def normal(*names: object) -> float:
    """Return a draw of the standard normal distribution that depends on ``names`` alone, to 4 decimals."""
    return round(NormalDist().inv_cdf(min(max(made_up.chance(*names), 1e-9), 1 - 1e-9)), 4)


def by_hash(group: Any) -> Given:
    """Rewards that know nothing: a hash of prompt and response; attributes and steps likewise."""
    prompt = prompt_text(group)
    given = Given([normal("hash", prompt, response) for response in group.responses])
    for name in group.ratings:
        given.attributes[name] = [normal("hash", name, prompt, response) for response in group.responses]
    steps = labels_of_steps(group)
    if steps is not None:
        given.steps = [
            None if each is None else [round(made_up.chance("hash", prompt, k, text), 4)
                                       for k, (text, _) in enumerate(each)]
            for each in steps
        ]  # fmt: skip
        given.rewards = [min(each) if each else reward
                         for each, reward in zip(given.steps, given.rewards, strict=True)]  # fmt: skip
    return given


def by_length(group: Any) -> Given:
    """Rewards of the length alone, so coarse that many are equal; a step of a usual length is at exactly ½."""
    given = Given([round(2 * math.log(1 + len(response))) / 2 for response in group.responses])
    steps = labels_of_steps(group)
    if steps is not None:
        given.steps = [
            None if each is None else [min(max(round(1.1 - len(text) / 120, 1), 0.0), 1.0) for text, _ in each]
            for each in steps
        ]
        given.rewards = [min(each) if each else reward
                         for each, reward in zip(given.steps, given.rewards, strict=True)]  # fmt: skip
    return given


def by_gold(group: Any, *, gives_steps: bool = True, misses: float = 0.03) -> Given:
    """Rewards that follow the labels with noise; some are missing, of steps too."""
    prompt = prompt_text(group)
    worth = _worth(group)
    given = Given([])
    for k, response in enumerate(group.responses):
        missing = made_up.chance("missing", prompt, response) < misses
        given.rewards.append(None if missing else round(0.6 * worth[k] + normal("gold", prompt, response), 3))
    for name, ratings in group.ratings.items():
        given.attributes[name] = [
            None if made_up.chance("missing", name, prompt, response) < misses
            else round((rating or 0.0) + normal("gold", name, prompt, response), 3)
            for rating, response in zip(ratings, group.responses, strict=True)
        ]  # fmt: skip
    steps = labels_of_steps(group) if gives_steps else None
    if steps is not None:
        given.steps = []
        for k, each in enumerate(steps):
            rewards = None if each is None or given.rewards[k] is None else [
                _step_reward(prompt, k, place, text, label, misses) for place, (text, label) in enumerate(each)
            ]  # fmt: skip
            given.steps.append(rewards)
            if rewards is not None:
                whole = bool(rewards) and not any(map(math.isnan, rewards))
                given.rewards[k] = min(rewards) if whole else None
    return given


def _step_reward(prompt: str, k: int, place: int, text: str, label: float | None, misses: float) -> float:
    if made_up.chance("missing step", prompt, k, place, text) < misses / 4:
        return math.nan
    pull = 0.0 if label is None else 0.3 if label > 0.5 else -0.3 if label < 0.5 else 0.0
    return round(min(max(0.5 + pull + 0.25 * normal("gold step", prompt, k, place, text), 0.0), 1.0), 3)


def _worth(group: Any) -> list[float]:
    """Return how good the labels say that each response is, around 0."""
    count = len(group.responses)
    pairs = preferences_of(group)
    if pairs:
        worth = [0.0] * count
        for chosen, rejected, probability in pairs:
            worth[chosen] += (2 * probability - 1) / len(pairs) * count / 2
            worth[rejected] -= (2 * probability - 1) / len(pairs) * count / 2
        return worth
    values: list[float | None] = [None] * count
    steps = labels_of_steps(group)
    if group.ranks is not None:
        values = [None if rank is None else -float(rank) for rank in group.ranks]
    elif group.ratings:
        values = list(group.ratings[sorted(group.ratings)[0]])
    elif group.outcomes is not None:
        values = [None if outcome is None else 2.0 * outcome - 1.0 for outcome in group.outcomes]
    elif steps is not None:
        for k, each in enumerate(steps):
            known = [label for _, label in each or () if label is not None]
            values[k] = 2.0 * min(known) - 1.0 if known else None
    there = [value for value in values if value is not None]
    middle = math.fsum(there) / len(there) if len(there) > 1 else 0.0
    return [0.0 if value is None else value - middle for value in values]


SCORERS: dict[str, Callable[[Any], Given]] = {"hash": by_hash, "length": by_length, "gold": by_gold}
WHOLE = {"gold_whole": partial(by_gold, gives_steps=False)}
"""As ``gold``, of a model that gives no reward of a step."""


# ------------------------------------------------------------------------------------------------------------- cases


@dataclass
class Place:
    """A folder to work in, and what was evaluated there already."""

    folder: Path
    evaluated: dict[tuple[str, str], Path] = field(default_factory=dict)


class Absent(Exception):
    """The data of a case are not here."""


@dataclass(frozen=True)
class Case:
    """One thing to freeze: ``make`` gives the figures under the keys below its name."""

    make: Callable[[Place], Figures]
    slow: bool = False
    tolerance: float | None = None


def plain(name: str) -> str:
    """Return a name as a part of a key."""
    return str(name).replace("/", "|")


def below(key: str, figures: Figures) -> Figures:
    """Return ``figures`` with keys that begin with ``key``."""
    return {f"{key}/{name}": each for name, each in figures.items()}


def shared(name: str) -> Path:
    """Return a file or folder of the shared data.

    Raises:
        Absent: where it is not there.
    """
    path = DATA / name
    if not path.exists():
        raise Absent(f"{name} is not here; set PLAUDIT_DATA to the folder that holds it")
    return path


Groups = Callable[[Place], list[Any]]


def of_file(*names: str, **options: Any) -> Groups:
    """Return what reads the groups of shared files, one after another."""
    return lambda place: [group for name in names for group in read_file(place, shared(name), **options)]


def soft_pairs(place: Place) -> list[Any]:
    """Preferences with probabilities and margins, of the ratings of neighbours in one group; some say nothing."""
    made = []
    for group in of_file("arena_bench/rated.jsonl", limit=50)(place):
        ratings = group.ratings["gpt4"]
        pairs = []
        for k in range(0, min(len(ratings), 8) - 1):
            if ratings[k] is None or ratings[k + 1] is None:
                continue
            better, other = (k, k + 1) if ratings[k] >= ratings[k + 1] else (k + 1, k)
            gap = ratings[better] - ratings[other]
            pairs.append((better, other, round(1 / (1 + math.exp(-gap / 2)), 4), gap))
        made.append(with_preferences(group, pairs))
    return made


def verdicts(place: Place) -> list[Any]:
    """Pairwise verdicts with ties, which are labels of probability ½."""
    path, made = shared("pandalm/judge.jsonl"), []
    for line in path.read_text(encoding="utf-8").splitlines()[:120]:
        row = json.loads(line)
        pair = {"A": [(0, 1)], "B": [(1, 0)]}.get(row["verdict"], [(0, 1, 0.5)])
        if row["a"].strip() and row["b"].strip() and row["a"] != row["b"]:
            made.append(make_group(row["prompt"], (row["a"], row["b"]), pair, id=row["id"], source=row["source"]))
    return made


EVERY_LABEL = ("preferences", "ranks", "ratings", "outcomes", "steps")
HH = ("hh_rlhf/harmless-base.jsonl", "hh_rlhf/helpful-online.jsonl")

LABELLED: dict[str, Groups] = {
    "world": lambda place: world_groups(40, seed=3, responses=4, labels=EVERY_LABEL),
    "world_pairs": lambda place: world_groups(60, seed=4, responses=3),
    "hh": of_file(*HH, limit=75),
    "soft_pairs": soft_pairs,
    "verdicts": verdicts,
    "arena_bench": of_file("arena_bench/rated.jsonl", ranks_from="gpt4", limit=50),
    "finegrained": of_file("finegrained_rlhf/ranked.jsonl", limit=70),
    "finegrained_all_pairs": of_file("finegrained_rlhf/ranked.jsonl", pairs="all", limit=70),
    "unieval_ranked": of_file("unieval/ranked.jsonl"),
    "unieval_rated": of_file("unieval/rated.jsonl", limit=80),
    "just_eval": of_file("just_eval/rated.jsonl", limit=80),
    "alce": of_file("alce/rated.jsonl", limit=80),
    "gsm8k": of_file("gsm8k_solutions/outcome.jsonl", group_by_prompt=True, limit=100),
    "qa_eval": of_file("qa_eval/outcome.jsonl", limit=150),
    "big_bench_mistake_steps": of_file("big_bench_mistake/steps.jsonl", limit=100),
    "prm800k": of_file("prm_formats/openr_samples_prm800k.jsonl"),
    "math_shepherd": of_file("prm_formats/openr_samples_math-shepherd.jsonl"),
    "math_aps": of_file("prm_formats/openr_samples_math-aps.jsonl"),
    "math_aps_tree": of_file("prm_formats/openr_samples_math-aps-tree.jsonl"),
}
"""Case → groups that are evaluated for every label that they carry."""

STEPPED = ("world", "big_bench_mistake_steps", "prm800k")
"""Cases whose steps a model without rewards of steps judges too."""

OFFICIAL_FILES: dict[str, tuple[str, int]] = {
    "rm_bench": ("benchmarks/rm_bench", 5),
    "rmb": ("benchmarks/rmb", 6),
    "judgebench": ("benchmarks/judgebench", 3),
    "llmbar": ("benchmarks/llmbar", 2),
    "processbench": ("benchmarks/processbench", 3),
    "prmbench": ("benchmarks/prmbench", 5),
    "big_bench_mistake": ("big_bench_mistake", 15),
}
"""Benchmark → its official files in the shared data, and each how many-th group is taken."""

WHOLE_FILES: dict[str, Groups] = {
    "whole_hh": of_file(*HH, "hh_rlhf/helpful-base.jsonl", "hh_rlhf/helpful-rejection-sampled.jsonl"),
    "whole_arena_bench": of_file("arena_bench/rated.jsonl", ranks_from="gpt4"),
    "whole_gsm8k": of_file("gsm8k_solutions/outcome.jsonl", group_by_prompt=True),
    "whole_big_bench_mistake_steps": of_file("big_bench_mistake/steps.jsonl"),
}
"""Slow cases, of one scorer: groups of whole files."""

OUTPUTS = "benchmarks/judgebench/outputs/dataset=judgebench,response_model=gpt-4o-2024-05-13,judge_name="
PUBLISHED: dict[str, tuple[str, str]] = {
    "judgebench_reward_model": (
        "judgebench",
        OUTPUTS + "reward_model,judge_model=Skywork_Skywork-Reward-Llama-3.1-8B.jsonl",
    ),
    "judgebench_judge": ("judgebench", OUTPUTS + "arena_hard,judge_model=o1-mini-2024-09-12.jsonl"),
    "rewardmath_reward_model": ("rewardmath", "benchmarks/rewardmath/results/ArmoRM_reward.json"),
    "rewardmath_process_model": ("rewardmath", "benchmarks/rewardmath/results/Math_Shepherd_reward.json"),
    "rewardmath_judge": ("rewardmath", "benchmarks/rewardmath/results/gpt4o_pairwise_reward.json"),
}
"""Case → benchmark and shared file of published per-item results."""


def folder_of(place: Place, source: str, scorer: str) -> Path:
    """Return the folder in which the groups or benchmark ``source`` were evaluated; it is done now where it was not."""
    if (source, scorer) not in place.evaluated:
        evaluated(place, source, scorer)
    return place.evaluated[source, scorer]


def evaluated(place: Place, source: str, scorer: str, **options: Any) -> Figures:
    """Return the figures of one scorer on ``source``.

    That is a name of ``LABELLED`` or ``WHOLE_FILES``, or of a benchmark behind ``official:``, ``whole:``, ``made_up:``.
    """
    made = FixedScorer((SCORERS | WHOLE)[scorer])
    folder = place.folder / plain(source).replace(":", "_") / "_".join([scorer, *map(str, options.values())])
    kind, _, name = source.rpartition(":")
    counts: Figures = {}
    if kind:
        loaded = loaded_benchmark(place, kind, name)
        counts = {f"count:loaded_{key}": {"value": count} for key, count in loaded_counts(loaded).items()}
        result = run_benchmark(made, name, loaded, folder, model=scorer, **options)
    else:
        result = run_evaluation(made, (LABELLED | WHOLE_FILES)[name](place), folder, model=scorer, **options)
    if not options:
        place.evaluated[source, scorer] = folder
    return flatten(result) | counts


def loaded_benchmark(place: Place, kind: str, name: str) -> Any:
    """Return the official files of a benchmark among the shared data, or made-up ones."""
    if kind in ("official", "whole"):
        path, every = OFFICIAL_FILES[name]
        return load_benchmark(name, str(shared(path)), every=1 if kind == "whole" else every)
    return load_benchmark(name, made_up.OFFICIAL[name](place.folder / "made_up" / name))


def one_scorer(place: Place, source: str, scorer: str) -> Figures:
    return below(scorer, evaluated(place, source, scorer))


def all_scorers(place: Place, source: str, extra: Sequence[str] = ()) -> Figures:
    found: Figures = {}
    for scorer in (*SCORERS, *extra):
        found |= below(scorer, evaluated(place, source, scorer))
    return found


def published_made_up(place: Place, name: str) -> Figures:
    """Published results in the layout of a benchmark's official code, made up."""
    path, data = made_up.RESULTS[name](place.folder / "results" / name)
    return flatten(run_published(name, path, data))


def tie_rules(place: Place) -> Figures:
    """The same pairs with ties counted in each way, and another seed."""
    found: Figures = {}
    for rule in ("half", "exclude"):
        found |= below(f"length/{rule}", evaluated(place, "world_pairs", "length", tie_rule=rule))
    return found | below("gold/seed_7", evaluated(place, "world_pairs", "gold", seed=7))


def units(place: Place) -> Figures:
    """The same rewards, said to be log-odds, ratings, of a group …"""
    folder, pairs = (folder_of(place, source, "gold") for source in ("world", "world_pairs"))
    found: Figures = {}
    for unit in ("log_odds", "ratings", "order"):
        every = flatten(run_units(pairs, unit, relative=False))
        found |= below(f"gold/{unit}", {key: each for key, each in every.items() if key.startswith("preference/")})
    return found | below("gold/relative", flatten(run_units(folder, "log_odds", relative=True)))


def comparing(place: Place) -> Figures:
    """A model that compares responses in both orders."""
    scorer = ComparingScorer(partial(by_gold, misses=0.0))
    result = run_evaluation(scorer, LABELLED["world"](place), place.folder / "comparing", model="comparing")
    return below("comparing", flatten(result))


def compared(place: Place, source: str, first: str = "gold", second: str = "length", **options: Any) -> Figures:
    found = run_compare(folder_of(place, source, first), folder_of(place, source, second), **options)
    return below(f"{first}~{second}", found)


def standings(place: Place, source: str, benchmark: str | None = None) -> Figures:
    return run_leaderboards({scorer: folder_of(place, source, scorer) for scorer in SCORERS}, benchmark)


def probed(place: Place, source: str) -> Figures:
    groups, found = LABELLED[source](place)[:25], Figures()
    for scorer in ("length", "gold"):
        folder = place.folder / "probe" / source / scorer
        found |= below(scorer, run_probe(FixedScorer(SCORERS[scorer]), groups, folder))
    return found


SMALL_MODEL = (
    "model.init.type=scratch", "model.init.hidden_size=32", "model.init.num_layers=1", "model.init.num_heads=2",
    "model.init.vocabulary=400", "model.max_length=192", "step.groups_per_step=8", "step.max_steps=8",
    "step.log_every=2", "step.trackers=[]", "step.threads=1", "step.precision=float32",
)  # fmt: skip


def recipe(place: Place, name: str, *changes: str) -> Figures:
    """A recipe on its own data, cut short, with a small model of random weights in the place of its own."""
    shared("README.md")
    before = os.environ.get("PLAUDIT_DATA")
    os.environ["PLAUDIT_DATA"] = str(DATA)
    try:
        return run_recipe(place, name, [*SMALL_MODEL, *changes])
    finally:
        if before is None:
            del os.environ["PLAUDIT_DATA"]
        else:
            os.environ["PLAUDIT_DATA"] = before


HEAVY = {
    "arena_bench", "compare_arena_bench", "compare_hh", "compare_made_up_ppe_preference",
    "compare_made_up_processbench", "compare_made_up_reward_bench", "compare_made_up_rewardmath",
    "compare_made_up_rm_bench", "compare_made_up_rmb", "finegrained_all_pairs", "hh", "just_eval", "leaderboard_hh",
    "leaderboard_processbench", "leaderboard_rm_bench", "made_up_m_reward_bench", "made_up_ppe_preference",
    "made_up_reward_bench_2", "made_up_rewardmath", "made_up_rm_bench", "official_big_bench_mistake",
    "official_judgebench", "official_llmbar", "official_prmbench", "official_processbench", "official_rm_bench",
    "official_rmb", "probe_hh", "quickstart", "quickstart_whole", "recipe_bbm_process", "recipe_gsm8k_outcome",
    "recipe_hh_scratch", "reward_units", "unieval_ranked", "unieval_rated", "verdicts",
}  # fmt: skip
"""Slow cases, beside those of whole files and of published results."""

TRAINED = 1e-6
"""Tolerance, relative or absolute, of figures that rest on training in float32."""


def cases() -> dict[str, Case]:
    """Return every case by name."""
    found: dict[str, Case] = {}
    for name in LABELLED:
        extra = tuple(WHOLE) if name in STEPPED else ()
        found[name] = Case(partial(all_scorers, source=name, extra=extra))
    for name in made_up.OFFICIAL:
        found[f"made_up_{name}"] = Case(partial(all_scorers, source=f"made_up:{name}"))
    for name in OFFICIAL_FILES:
        found[f"official_{name}"] = Case(partial(all_scorers, source=f"official:{name}"))
        found[f"whole_{name}"] = Case(partial(one_scorer, source=f"whole:{name}", scorer="gold"), slow=True)
    for name in WHOLE_FILES:
        found[name] = Case(partial(one_scorer, source=name, scorer="gold"), slow=True)
    for name, (benchmark, file) in PUBLISHED.items():
        found[f"published_{name}"] = Case(
            lambda place, benchmark=benchmark, file=file: flatten(run_published(benchmark, str(shared(file)))),
            slow=True,
        )
    for name in made_up.RESULTS:
        found[f"published_made_up_{name}"] = Case(partial(published_made_up, name=name))
    found |= {"tie_rules": Case(tie_rules), "reward_units": Case(units), "both_orders": Case(comparing)}
    for name in ("world", "hh", "arena_bench", "gsm8k", "big_bench_mistake_steps"):
        found[f"compare_{name}"] = Case(partial(compared, source=name))
    for name in ("rm_bench", "rmb", "processbench", "ppe_preference", "reward_bench", "rewardmath"):
        found[f"compare_made_up_{name}"] = Case(partial(compared, source=f"made_up:{name}"))
    for name in ("rm_bench", "processbench"):
        found[f"compare_whole_{name}"] = Case(partial(compared, source=f"whole:{name}"), slow=True)
    found["compare_world_ties_half"] = Case(partial(compared, source="world", second="hash", tie_rule="half", seed=3))
    found["leaderboard_world"] = Case(partial(standings, source="world"))
    found["leaderboard_hh"] = Case(partial(standings, source="hh"))
    for name in ("processbench", "rm_bench"):
        found[f"leaderboard_{name}"] = Case(partial(standings, source=f"made_up:{name}", benchmark=name))
    found["probe_world"] = Case(partial(probed, source="world"))
    found["probe_hh"] = Case(partial(probed, source="hh"))
    small = {"train": 320, "held_out": 120}
    found["quickstart"] = Case(lambda place: run_quickstart(place.folder, groups=small, prompts=30), tolerance=TRAINED)
    found["quickstart_whole"] = Case(
        lambda place: run_quickstart(place.folder / "whole", groups=None, prompts=None), tolerance=TRAINED
    )
    limits = [f"data.train.{k}.limit=40" for k in range(4)]
    found["recipe_hh_scratch"] = Case(
        lambda place: recipe(place, "hh_scratch", *limits, "data.held_out_share=0.3"), tolerance=TRAINED
    )
    found["recipe_gsm8k_outcome"] = Case(
        lambda place: recipe(place, "gsm8k_outcome", "data.train.0.limit=160", "data.held_out_share=0.4"),
        tolerance=TRAINED,
    )
    found["recipe_bbm_process"] = Case(
        lambda place: recipe(place, "bbm_process", "data.train.0.limit=120", "data.held_out_share=0.4"),
        tolerance=TRAINED,
    )
    return found | {name: replace(found[name], slow=True) for name in HEAVY}


CASES = cases()
TOLERANCES = {name: case.tolerance for name, case in CASES.items() if case.tolerance is not None}


def figures_of(name: str, place: Place) -> Figures:
    """Return the figures of the case ``name``.

    Raises:
        Absent: where its data are not here.
    """
    with own_cache(place.folder):
        return below(name, CASES[name].make(place))


def read_figures(path: Path) -> Figures:
    """Return the figures of a file, the frozen ones or those that moved."""
    figures: Figures = {}
    for case, found in json.loads(path.read_text(encoding="utf-8")).items():
        for key, figure in found.items():
            numbers = figure if isinstance(figure, list) else [figure]
            figures[f"{case}/{key}"] = dict(zip(FIELDS[len(numbers)], numbers, strict=True))
    return figures


def write_figures(figures: Figures, path: Path) -> None:
    """Write the figures, a case each line, points to 15 digits and ends of intervals to 12."""
    digits = {"low": 12, "high": 12}
    cases: dict[str, dict[str, Any]] = {}
    for key, each in figures.items():
        kept = {
            name: value if value is None or isinstance(value, int) else float(f"{value:.{digits.get(name, 15)}g}")
            for name, value in each.items()
        }
        numbers = [None] if kept["value"] is None else [kept[name] for name in FIELDS[len(kept)]]
        case, _, rest = key.partition("/")
        cases.setdefault(case, {})[rest] = numbers[0] if len(numbers) == 1 else numbers
    lines = [
        f"{json.dumps(case)}:{json.dumps(found, ensure_ascii=False, sort_keys=True, separators=(',', ':'))}"
        for case, found in cases.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def close(frozen: float | None, now: float | None, tolerance: float) -> bool:
    """Return whether two numbers are the same, relatively or absolutely; null is the same as null alone."""
    if frozen is None or now is None:
        return frozen is now
    return abs(frozen - now) <= tolerance * max(1.0, abs(frozen))


def fields_that_differ(frozen: Mapping[str, Any], now: Mapping[str, Any], tolerance: float | None = None) -> list[str]:
    """Return which of value, low, high and n are not the same."""
    allowed = {"value": tolerance or POINT, "low": tolerance or END, "high": tolerance or END, "n": 0.0}
    return [name for name, most in allowed.items() if not close(frozen.get(name), now.get(name), most)]


def main() -> None:
    """Make the fixture again, or what moved since; figures of cases that are not made now stay as they were."""
    import time

    fast, moved = "--fast" in sys.argv, "--moved" in sys.argv
    named = [each for each in sys.argv[1:] if not each.startswith("--")]
    path = MOVED if moved else FIXTURE
    frozen = read_figures(FIXTURE) if FIXTURE.exists() else {}
    figures = read_figures(path) if path.exists() and (fast or named) else {}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for name, case in CASES.items():
            if (case.slow and fast) or (named and name not in named):
                continue
            began = time.perf_counter()
            made = figures_of(name, place)
            print(f"{name}: {len(made)} figures, {time.perf_counter() - began:.1f} s", flush=True)
            if moved:
                made = {
                    key: each
                    for key, each in made.items()
                    if key not in frozen or fields_that_differ(frozen[key], each, case.tolerance)
                }
            figures = {key: each for key, each in figures.items() if not key.startswith(f"{name}/")} | made
    order = {name: number for number, name in enumerate(CASES)}
    known = [each for each in figures.items() if each[0].partition("/")[0] in order]
    figures = dict(sorted(known, key=lambda each: order[each[0].partition("/")[0]]))
    write_figures(figures, path)
    print(f"{len(figures)} figures in {path.name}, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
