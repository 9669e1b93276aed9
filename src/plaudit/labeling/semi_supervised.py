"""Semi-supervised training: train on the labelled groups, label the others with that model, train again.

Source: He et al. (2024), Semi-Supervised Reward Modeling via Iterative Self-Training, arXiv 2409.06903. With D_l the
labelled groups and D_u the unlabelled ones: model 0 is trained on D_l. In round t model t − 1 labels all of D_u anew,
the pairs that it is sure of are kept, and model t is trained on D_l and the kept ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from plaudit.config import dump_config, load_config
from plaudit.data.reading.read import load_files
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError
from plaudit.labeling.config import SemiSupervisedConfig
from plaudit.labeling.pseudo_label import PseudoLabels, read_pseudo_labels, write_pseudo_labels
from plaudit.labeling.rounds import (
    DATA_FOLDER,
    held_out_accuracy,
    held_out_file,
    is_trained,
    labelled_file,
    model_hash,
    pseudo_file,
    round_config,
    round_folder,
    run_record,
)
from plaudit.provenance import git_state, package_versions
from plaudit.records import Interval, Record, first_problem, write_record, write_text
from plaudit.scoring.load import load
from plaudit.training.heads import head_of, label_kind
from plaudit.training.prepare import prepare_groups
from plaudit.training.run import train

CONFIG_FILE = "config.yaml"
RECORD_FILE = "ssrm.json"


class Round(Record):
    """A round that is done."""

    number: int
    """0 for the labelled groups alone."""
    pseudo: PseudoLabels | None
    """How the pseudo-labels of this round came out; null for round 0."""
    groups: int
    """Groups trained on: those of the labelled and the pseudo-labelled data that carry a preference as tokens."""
    preferences: int
    """Preferences trained on."""
    accuracy: Interval | None
    """Accuracy of this round's model on the held-out groups; null where there are none, or none is scored."""
    seconds: float
    """Wall time of labelling, training and evaluation, as far as the last command did them."""


class SemiSupervisedRecord(Record):
    """What a semi-supervised run was made of, and what each of its rounds found."""

    name: str
    """The run's name, from its config."""
    status: Literal["running", "finished", "nothing_kept"]
    """Whether more rounds follow, all are done, or one of them found no pseudo-label to keep."""
    message: str | None = None
    """Why it ended early, and what to do."""
    created: str
    """UTC time, ISO 8601."""
    commit: str | None
    """Commit of the working directory, or null outside a repository."""
    dirty: bool | None
    """Whether the working directory had uncommitted changes."""
    versions: dict[str, str]
    """Package versions."""
    data: dict[str, dict[str, Any]]
    """For ``labelled``, ``held_out`` and ``unlabelled``: fingerprint, groups, and what was left out."""
    rounds: tuple[Round, ...] = ()
    """The rounds that are done."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The same in every round: how many groups are labelled, those to label, and what the record says of all."""

    labelled_groups: int
    unlabelled: GroupSet
    described: dict[str, dict[str, Any]]


def train_semi_supervised(config: SemiSupervisedConfig, *, run_dir: Path, resume: bool = False) -> SemiSupervisedRecord:
    """Run every round of ``config`` and return the record, which stands in ``run_dir/ssrm.json``.

    ``round_<t>/`` is the training run of round t, with its model and its held-out evaluation, and
    ``pseudo/round_<t>.jsonl`` holds the pseudo-labels it was trained on. With ``resume`` finished rounds are kept as
    they are, and the round that was cut goes on: pseudo-labels that were written whole are not made again, training
    goes on from its last checkpoint.

    The held-out groups are split off once, before anything is labelled, and unlabelled groups with one of their
    prompts are left out and counted. A round in which nothing is kept ends the run: status ``nothing_kept``.

    Raises:
        ConfigError: for an objective that does not learn from preferences, several processes, or a folder that holds
            another run, or none to resume.
        DataError, ModelError, LayoutError, TrainingError, OutputError: see ``plaudit.training.run.train``.
    """
    _check_config(config)
    _check_folder(config, run_dir, resume=resume)
    inputs = _prepare(config, run_dir)
    record = _begun(run_dir, inputs) or _first_record(config, inputs)
    write_record(run_dir / RECORD_FILE, record)
    write_text(run_dir / CONFIG_FILE, dump_config(config))
    while record.status == "running":
        record = _next_round(config, run_dir, inputs, record)
        write_record(run_dir / RECORD_FILE, record)
    return record


def _next_round(
    config: SemiSupervisedConfig, run_dir: Path, inputs: _Inputs, record: SemiSupervisedRecord
) -> SemiSupervisedRecord:
    """Return the record with one more round, or with the reason why there is none."""
    number, began = len(record.rounds), time.perf_counter()
    pseudo = None
    if number > 0:
        pseudo = _label(config, run_dir, inputs, number)
        print(_about(pseudo, number))
        if pseudo.kept == 0:
            return record.model_copy(update={"status": "nothing_kept", "message": _nothing_kept(pseudo, number)})
    folder = round_folder(run_dir, number)
    if not is_trained(folder):
        settings = round_config(config, run_dir, number, labelled_groups=inputs.labelled_groups)
        train(settings, run_dir=folder, resume=(folder / CONFIG_FILE).exists())
    trained = run_record(folder).data["train"]
    done = Round(
        number=number,
        pseudo=pseudo,
        groups=trained["groups"] - trained["without_labels"],
        preferences=trained["preferences"],
        accuracy=held_out_accuracy(run_dir, number, name=config.train.name),
        seconds=time.perf_counter() - began,
    )
    is_last = number == config.rounds
    return record.model_copy(update={"rounds": (*record.rounds, done), "status": "finished" if is_last else "running"})


def _check_config(config: SemiSupervisedConfig) -> None:
    kind = label_kind(config.train.objective, head_of(config.train).form)
    if kind != "preferences":
        raise ConfigError(
            f"train.objective is {config.train.objective.type}, which learns from {kind}; pseudo-labels are "
            "preferences, as for bradley_terry"
        )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ConfigError(
            f"semi-supervised training runs in one process, found {processes}; train its rounds one by one with "
            "`plaudit train` to use several"
        )


def _check_folder(config: SemiSupervisedConfig, run_dir: Path, *, resume: bool) -> None:
    path = run_dir / CONFIG_FILE
    if not path.exists():
        if resume:
            raise ConfigError(
                f"{run_dir} holds no run to resume ({path.name} is missing); leave out --resume to start one"
            )
    elif not resume:
        raise ConfigError(f"{run_dir} holds a run already; add --resume to go on with it, or choose another --run-dir")
    elif load_config(SemiSupervisedConfig, path) != config:
        raise ConfigError(f"the config differs from {path}, the one this run was started with; resume with that one")


def _prepare(config: SemiSupervisedConfig, run_dir: Path) -> _Inputs:
    """Return what every round works with; the labelled and held-out groups are written for all of them."""
    cache = run_dir / DATA_FOLDER
    labelled, held_out = prepare_groups(config.train.data, cache_dir=cache)
    given = load_files(config.unlabelled, cache_dir=cache)
    prompts = given.prompt_hashes()
    is_held_out = np.isin(prompts, held_out.prompt_hashes())
    unlabelled = given.select(np.flatnonzero(~is_held_out))
    if len(unlabelled) == 0:
        raise DataError(
            f"no group is left to label: the prompts of all {len(given)} unlabelled groups are held out for evaluation"
        )
    if not any(len(group.responses) > 1 for group in unlabelled):
        raise DataError(
            f"none of the {len(unlabelled)} unlabelled groups has two responses, so there is no pair to label; where "
            "rows of one prompt stand one after the other, set group_by_prompt: true for their file"
        )
    write_groups(labelled_file(run_dir), labelled)
    if len(held_out):
        write_groups(held_out_file(run_dir), held_out)
    else:
        held_out_file(run_dir).unlink(missing_ok=True)
    described = {
        "labelled": _described(labelled),
        "held_out": _described(held_out),
        "unlabelled": _described(unlabelled)
        | {
            "left_out": {"groups whose prompt is held out": int(is_held_out.sum())},
            "prompts_also_labelled": int(np.isin(prompts[~is_held_out], labelled.prompt_hashes()).sum()),
        },
    }
    return _Inputs(
        labelled_groups=len(labelled),
        unlabelled=unlabelled,
        described=described,
    )


def _described(groups: GroupSet) -> dict[str, Any]:
    return {"fingerprint": groups.fingerprint, "groups": len(groups), "read": groups.report.model_dump(mode="json")}


def _begun(run_dir: Path, inputs: _Inputs) -> SemiSupervisedRecord | None:
    """Return the record of an earlier command in this folder, if there is one.

    Raises:
        ConfigError: when it cannot be read or was begun on other data.
    """
    path = run_dir / RECORD_FILE
    if not path.exists():
        return None
    try:
        record = SemiSupervisedRecord.model_validate_json(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read, so what was done is unknown: {first_problem(error)}") from None
    for name, found in inputs.described.items():
        before, now = record.data[name]["fingerprint"], found["fingerprint"]
        if before != now:
            raise ConfigError(
                f"{run_dir} cannot be resumed, because the {name} groups have changed (fingerprint {before}, now "
                f"{now}); restore them, or start another run"
            )
    return record


def _first_record(config: SemiSupervisedConfig, inputs: _Inputs) -> SemiSupervisedRecord:
    commit, dirty = git_state()
    return SemiSupervisedRecord(
        name=config.train.name,
        status="running",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        dirty=dirty,
        versions=package_versions(),
        data=inputs.described,
    )


def _label(config: SemiSupervisedConfig, run_dir: Path, inputs: _Inputs, number: int) -> PseudoLabels:
    """Return the record of this round's pseudo-labels; those that the same model has written whole are kept."""
    path, teacher = pseudo_file(run_dir, number), round_folder(run_dir, number - 1)
    model = model_hash(teacher)
    earlier = read_pseudo_labels(path)
    if earlier is not None and earlier.model == model:
        return earlier
    return write_pseudo_labels(
        path,
        load(teacher),
        inputs.unlabelled,
        model=model,
        threshold=config.threshold,
        pairs=config.pairs,
        soft=config.soft,
        temperature=config.temperature,
        data_fingerprint=inputs.unlabelled.fingerprint,
    )


def _about(pseudo: PseudoLabels, number: int) -> str:
    agreement = pseudo.accuracy_kept
    right = "" if agreement is None else f"; {agreement.value:.1%} of the kept ones agree with the data's preferences"
    return (
        f"round {number}: {pseudo.kept} of {pseudo.pairs} pairs kept ({pseudo.below} below {pseudo.threshold:g}, "
        f"{pseudo.ties} ties, {pseudo.unscored} unscored){right}"
    )


def _nothing_kept(pseudo: PseudoLabels, number: int) -> str:
    last = f"the model of round {number - 1} is the last one"
    if pseudo.largest_confidence is None:
        return f"round {number}: none of {pseudo.pairs} pairs could be scored ({_counted(pseudo.reasons)}); {last}"
    if pseudo.below == 0:
        return f"round {number}: all {pseudo.ties} scored pairs of {pseudo.pairs} are ties; {last}"
    return (
        f"round {number}: none of {pseudo.pairs} pairs reached a confidence of {pseudo.threshold:g} (the largest "
        f"{pseudo.largest_confidence:.3g}); {last}. Lower threshold, or label more groups"
    )


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} groups: {reason}" for reason, count in reasons.items())
