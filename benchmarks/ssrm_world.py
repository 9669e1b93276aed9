"""Run the recipe ssrm_world with several seeds and put what was measured beside its config.

    OMP_NUM_THREADS=1 python benchmarks/ssrm_world.py runs/ssrm_world_seeds

For each seed: the world of that seed, every round of the recipe, and the same training on all groups with their true
labels, which is what the pseudo-labels can at best be worth. What is finished is not done again. Writes
``recipes/ssrm_world/result.json`` and the table of its README.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from plaudit.config import load_config
from plaudit.data.reading.read import read_groups
from plaudit.evaluation.run import evaluate
from plaudit.labeling.config import SemiSupervisedConfig
from plaudit.labeling.semi_supervised import SemiSupervisedRecord, round_folder, run_record, train_semi_supervised
from plaudit.opening import open_scorer
from plaudit.provenance import git_state, package_versions
from plaudit.records import write_json, write_text
from plaudit.statistics.intervals import wilson_interval
from plaudit.training.config import TrainConfig
from plaudit.training.run import train

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "ssrm_world"
SEEDS = (0, 1, 2)


def run_seed(folder: Path, seed: int) -> dict[str, Any]:
    """Return what one seed found."""
    runpy.run_path(str(RECIPE / "make_data.py"))["write_data"](folder / "data", seed=seed)
    paths = {name: folder / "data" / f"{name}.jsonl" for name in ("labelled", "unlabelled", "held_out")}
    changes = [
        f"train.data.train.0.path={paths['labelled']}",
        f"train.data.held_out.0.path={paths['held_out']}",
        f"unlabelled.0.path={paths['unlabelled']}",
        f"train.step.seed={seed}",
    ]
    config = load_config(SemiSupervisedConfig, RECIPE / "config.yaml", changes)
    run, began = folder / "run", time.process_time()
    record = train_semi_supervised(config, run_dir=run, resume=(run / "config.yaml").exists())
    spent = time.process_time() - began
    return {
        "seed": seed,
        "status": record.status,
        "cpu_seconds": round(spent),
        "rounds": rounds_of(record),
        "all_labels": all_labels(config.train, paths, folder / "all_labels"),
        "longer_response": baseline(round_folder(run, 0)),
    }


def rounds_of(record: SemiSupervisedRecord) -> list[dict[str, Any]]:
    """Return each round in short: figures with intervals, and the counts of its pseudo-labels."""
    found = []
    for done in record.rounds:
        assert done.accuracy is not None
        each: dict[str, Any] = {"number": done.number, "accuracy": done.accuracy.model_dump()}
        if done.pseudo is not None:
            counts = ("groups_kept", "pairs", "kept", "below", "ties", "unscored", "accuracy", "accuracy_kept")
            each["pseudo"] = done.pseudo.model_dump(include=set(counts))
        found.append(each)
    return found


def all_labels(config: TrainConfig, paths: dict[str, Path], run: Path) -> dict[str, Any]:
    """Return the held-out accuracy of the same training on the true labels of all groups."""
    files = [{"path": str(paths[name]), "format": "groups"} for name in ("labelled", "unlabelled")]
    data = config.data.model_validate(config.data.model_dump() | {"train": files})
    if not (run / "model" / "plaudit.json").exists():
        train(config.model_copy(update={"data": data}), run_dir=run, resume=(run / "config.yaml").exists())
    groups = read_groups(paths["held_out"], format="groups", cache_dir=run / "data")
    result = evaluate(
        open_scorer(str(run)), groups, name="held_out", model="all_labels", output_dir=run / "eval" / "held_out"
    )
    assert result.preference is not None
    return result.preference.metrics["accuracy"].model_dump()


def baseline(run: Path) -> dict[str, Any]:
    """Return how often the longer response is the better one, as the evaluation of a round says."""
    result = json.loads((run / "eval" / "held_out" / "result.json").read_text(encoding="utf-8"))
    return result["measures"][0]["baselines"]["accuracy"]["longer_response"]


def pooled(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a share over all seeds, whose held-out prompts are drawn anew for each, with Wilson's interval."""
    right, n = sum(each["value"] * each["n"] for each in figures), sum(each["n"] for each in figures)
    found = wilson_interval(min(right, n), n)
    assert found is not None
    return found.model_dump()


def result_of(seeds: list[dict[str, Any]], first_run: Path) -> dict[str, Any]:
    """Return what stands in ``result.json``."""
    made = run_record(round_folder(first_run, 0))
    commit, dirty = git_state()
    accuracy = [pooled([seed["rounds"][t]["accuracy"] for seed in seeds]) for t in range(len(seeds[0]["rounds"]))]
    labels = SemiSupervisedRecord.model_validate_json((first_run / "ssrm.json").read_bytes()).data
    return {
        "recipe": "ssrm_world",
        "date": made.created[:10],
        "commit": commit,
        "dirty": dirty,
        "device": made.device,
        "seconds": max(seed["cpu_seconds"] for seed in seeds),
        "versions": package_versions(),
        "model": made.model,
        "data": {name: {"groups": described["groups"]} for name, described in labels.items()},
        "held_out": {
            "n": accuracy[-1]["n"],
            "measures": [
                {
                    "kind": "preference",
                    "attribute": None,
                    "primary": "accuracy",
                    "counts": {},
                    "metrics": {"accuracy": accuracy[-1]},
                    "baselines": {
                        "accuracy": {
                            "longer_response": pooled([seed["longer_response"] for seed in seeds]),
                            "labelled_groups_alone": accuracy[0],
                            "true_labels_for_all": pooled([seed["all_labels"] for seed in seeds]),
                        }
                    },
                    "slices": {},
                }
            ],
        },
        "rounds": accuracy,
        "seeds": seeds,
    }


def table(result: dict[str, Any]) -> str:
    """Return the table of the README: every round of every seed."""
    rows = [
        "| seed | round | pairs kept | of them right | held-out accuracy (95 % interval) |",
        "|--:|--:|--:|--:|---|",
    ]
    for seed in result["seeds"]:
        for done in seed["rounds"]:
            pseudo = done.get("pseudo")
            kept = f"{pseudo['kept']} of {pseudo['pairs']}" if pseudo else ""
            right = f"{pseudo['accuracy_kept']['value']:.3f}" if pseudo else ""
            rows.append(f"| {seed['seed']} | {done['number']} | {kept} | {right} | {shown(done['accuracy'])} |")
        rows.append(f"| {seed['seed']} | true labels for all | | | {shown(seed['all_labels'])} |")
    for number, each in enumerate(result["rounds"]):
        rows.append(f"| all | {number} | | | **{shown(each)}** |")
    (held_out,) = result["held_out"]["measures"]
    true_labels = held_out["baselines"]["accuracy"]["true_labels_for_all"]
    rows.append(f"| all | true labels for all | | | {shown(true_labels)} |")
    return "\n".join(rows)


def shown(found: dict[str, Any]) -> str:
    """Return a figure with its interval."""
    return f"{found['value']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def filled(readme: str, result: dict[str, Any]) -> str:
    """Return the README with its table made anew."""
    pattern = re.compile(r"(<!-- rounds -->\n).*?(<!-- /rounds -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{table(result)}\n{match[2]}", readme)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    root = Path(sys.argv[1])
    seeds = []
    for seed in SEEDS:
        kept = root / f"seed-{seed}" / "found.json"
        if not kept.exists():
            write_json(kept, run_seed(kept.parent, seed))
        seeds.append(json.loads(kept.read_text(encoding="utf-8")))
    result = result_of(seeds, root / f"seed-{SEEDS[0]}" / "run")
    write_json(RECIPE / "result.json", result)
    readme = RECIPE / "README.md"
    write_text(readme, filled(readme.read_text(encoding="utf-8"), result))
