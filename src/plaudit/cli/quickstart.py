"""``plaudit quickstart``: the whole story on a built-in world, offline, on a CPU."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import console, interrupt_keeps
from plaudit.journal import locked
from plaudit.outputs import MARKER, check_folder, remove_contents
from plaudit.records import write_text

if TYPE_CHECKING:
    from plaudit.evaluation.metrics.best_of_n import BestOfN
    from plaudit.records import Result

GROUPS: dict[Literal["train", "held_out"], int] = {"train": 7500, "held_out": 1000}
RESPONSES: dict[Literal["train", "held_out"], int] = {"train": 4, "held_out": 2}
CANDIDATES = 8
CANDIDATE_PROMPTS = 150
_KIND = "a quickstart"
_DATA = (*(f"{split}.jsonl" for split in GROUPS), ".*")
_RUN = (
    *("config.yaml", "run.json", "run.json.lock", "metrics.jsonl", "report.html", "story.md", "best_of_n.json", ".*"),
    *("model", "checkpoints", "data", "tensorboard", "eval"),
)
"""Names in the folders of a quickstart; a leading dot has what a killed process left half-written."""


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder to write; an earlier quickstart in it is replaced.")] = Path(
        "runs/quickstart"
    ),
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the world, and so of everything.")] = 0,
) -> None:
    """Train, test and explain a small reward model on a built-in world: offline, on a CPU, in minutes."""
    began = time.perf_counter()
    check_quickstart(out)
    with (
        locked(out / MARKER, what=out),
        interrupt_keeps(f"what was finished is in {out}; the same command starts over"),
    ):
        remove_contents(out, but=(MARKER, f"{MARKER}.lock"))
        write_text(out / MARKER, "quickstart\n")
        files = write_world(out / "data", seed=seed)
        run = _train(files, out / "run", seed=seed)
        result, table = _evaluate(files["held_out"], run, seed=seed)
        story = tell(result, table)

        from plaudit.model_card import write_model_card
        from plaudit.reports.page import write_report

        write_text(run / "story.md", story + "\n")
        write_model_card(run)
        page = write_report([run], out / "report.html")
    console().print()
    typer.echo(story)
    typer.echo(f"\n{time.perf_counter() - began:.0f} s in all. The report: {page}")
    typer.echo(f"Score your own text: plaudit score {run} YOUR_FILE.jsonl -o rewards.jsonl")


def check_quickstart(out: Path) -> None:
    """Raise OutputError where ``out`` is there and holds anything but an earlier quickstart, which is replaced."""
    check_folder(out, marker=MARKER, names=(MARKER, f"{MARKER}.lock", "data", "run", "report.html"), kind=_KIND)
    from plaudit.models.checkpoint.files import MODEL_FILES

    inside = {
        "data": _DATA,
        "run": _RUN,
        "run/model": (*MODEL_FILES, ".*"),
        "run/checkpoints": ("checkpoint-[0-9]*", ".*"),
        "run/data": ("tokens-*", "[0-9a-f]" * 32, "held_out.jsonl", ".*"),
        "run/eval": ("held_out", ".*"),
        "run/eval/held_out": ("items*.jsonl*", "result.json", "scoring.json", "confident_errors.json", ".*"),
    }
    for name, names in inside.items():
        if (out / name).exists():
            check_folder(out / name, marker=None, names=names, kind=_KIND)


def write_world(folder: Path, *, seed: int) -> dict[Literal["train", "held_out"], Path]:
    """Return the files of the built-in world, written to ``folder``: one for each split.

    The training preferences are noisy, drawn by Bradley–Terry from the gold reward; the held-out ones say which
    response has the higher gold reward.
    """
    from plaudit.data.reading.write import write_groups
    from plaudit.worlds.world import World

    worlds = {"train": World(seed=seed), "held_out": World(seed=seed, temperature=0.0)}
    files = {split: folder / f"{split}.jsonl" for split in GROUPS}
    for split, count in GROUPS.items():
        written = write_groups(files[split], worlds[split].groups(count, responses=RESPONSES[split], split=split))
        typer.echo(f"wrote {files[split]}: {written} groups of the built-in world")
    return files


def _train(files: dict[Literal["train", "held_out"], Path], run: Path, *, seed: int) -> Path:
    from plaudit.cli.recipes import recipes_folder
    from plaudit.config import load_config
    from plaudit.training.config import TrainConfig
    from plaudit.training.run import train

    overrides = [
        f"data.train.0.path={json.dumps(str(files['train']))}",
        f"data.held_out.0.path={json.dumps(str(files['held_out']))}",
        f"step.seed={seed}",
    ]
    config = load_config(TrainConfig, recipes_folder() / "quickstart" / "config.yaml", overrides)
    typer.echo("training a small transformer from random weights; every prompt is encoded once per group")
    return train(config, run_dir=run)


def _evaluate(held_out: Path, run: Path, *, seed: int) -> tuple[Result, BestOfN]:
    """Return the held-out result and the best-of-n table, and write both into the run."""
    from plaudit.api import held_out_result
    from plaudit.data.schema.group import Group
    from plaudit.evaluation.metrics.best_of_n import best_of_n
    from plaudit.opening import load
    from plaudit.records import write_record
    from plaudit.worlds.world import World

    scorer = load(run)
    typer.echo("scoring the held-out prompts, and 8 responses to each of 150 new ones")
    result = held_out_result(scorer, held_out, run, "quickstart")
    world = World(seed=seed)
    prompts = world.prompts(CANDIDATE_PROMPTS, split="held_out")
    candidates = [
        Group(prompt, tuple(world.sample_responses(prompt, CANDIDATES, seed=seed + number)), id=str(number))
        for number, prompt in enumerate(prompts)
    ]
    table = best_of_n(
        scorer,
        candidates,
        lambda group: [world.gold_reward(group.prompt, response) for response in group.responses],
        name="held_out",
        model="quickstart",
        gold_name="gold reward of the built-in world",
        counts=(1, 2, 4, CANDIDATES),
    )
    write_record(run / "best_of_n.json", table)
    return result, table


def tell(result: Result, table: BestOfN) -> str:
    """Return the summary of the run, in plain words."""
    found = result.preference
    assert found is not None  # every group of the world has preferences
    accuracy, longer = found.metrics["accuracy"], found.baselines["accuracy"]["longer_response"]
    best = table.rows[-1]
    gained = (best.chosen.value - best.mean.value) / (best.oracle.value - best.mean.value)
    return "\n".join(
        [
            f"A reward model learned from {GROUPS['train']} noisy preferences which of two plans suits a family "
            "better.",
            f"On {accuracy.n} pairs with prompts it never saw it agrees with the gold reward on {accuracy.value:.1%} "
            f"(95 % interval {accuracy.low:.1%} to {accuracy.high:.1%}; {found.details['ties']} ties).",
            f"Always taking the longer plan would agree on {longer.value:.1%} "
            f"({longer.low:.1%} to {longer.high:.1%}): length is no shortcut here.",
            f"Choosing the best of {best.n} plans by its reward gives a gold reward of {best.chosen.value:.2f}; "
            f"a random plan has {best.mean.value:.2f}, and choosing by the gold reward itself would give "
            f"{best.oracle.value:.2f}. It gains {gained:.0%} of what could be gained.",
        ]
    )
