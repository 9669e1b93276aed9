"""Semi-supervised training: train on the labelled groups, label the others with that model, train again.

Source: He et al. (2024), Semi-Supervised Reward Modeling via Iterative Self-Training, arXiv 2409.06903. With D_l the
labelled groups and D_u the unlabelled ones: model 0 is trained on D_l. In round t model t − 1 labels all of D_u anew,
the pairs that it is sure of are kept, and model t is trained on D_l and the kept ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np

from plaudit.config import dump_config, load_config
from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import load_files, read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError, ModelError
from plaudit.evaluation.run import evaluate
from plaudit.journal import Header, Journal, locked, partial_path
from plaudit.labeling.config import SemiSupervisedConfig
from plaudit.labeling.pseudo_label import (
    PseudoLabels,
    read_pseudo_labels,
    unit_of,
    write_pseudo_labels,
)
from plaudit.models.checkpoint.recipe import RECIPE_FILE
from plaudit.opening import load
from plaudit.provenance import made_now
from plaudit.records import Interval, MadeRecord, Record, first_problem, write_record, write_text
from plaudit.scoring.files import check_rewards_of, parse_rewards, rewards_line
from plaudit.scoring.scorer import GroupRewards, Scorer, ScorerInfo, info_of
from plaudit.training.config import DataSection, ModelSection, PretrainedInit, ScratchInit, TrainConfig
from plaudit.training.prepare import label_kind, prepare_groups, trained_head
from plaudit.training.run import train
from plaudit.training.run_folder import MODEL_FOLDER, is_finished, run_record

CONFIG_FILE = "config.yaml"
RECORD_FILE = "ssrm.json"
DATA_FOLDER = "data"


class Round(Record):
    """A round that is done."""

    number: int
    """0 for the labelled groups alone."""
    pseudo: PseudoLabels | None
    """Record of the pseudo-labels of this round; null for round 0."""
    groups: int
    """Groups trained on: those of the labelled and the pseudo-labelled data that carry a preference as tokens."""
    preferences: int
    """Preferences trained on."""
    accuracy: Interval | None
    """Accuracy of this round's model on the held-out groups; null where there are none, or none is scored."""
    seconds: float
    """Wall time of labelling, training and evaluation, as far as the last command did them."""


class SemiSupervisedRecord(MadeRecord):
    """Record of a semi-supervised run: its inputs, settings and rounds."""

    name: str
    """The run's name, from its config."""
    status: Literal["running", "finished", "nothing_kept"]
    """State: more rounds follow, all are done, or one of them found no pseudo-label to keep."""
    message: str | None = None
    """Reason for an early end, with the remedy."""
    data: dict[str, dict[str, Any]]
    """For ``labelled``, ``held_out`` and ``unlabelled``: fingerprint, groups, and counts of those left out."""
    rounds: tuple[Round, ...] = ()
    """The rounds that are done."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Inputs of every round: the number of labelled groups, those to label, and the record's description of all."""

    labelled_groups: int
    unlabelled: GroupSet
    described: dict[str, dict[str, Any]]


def train_semi_supervised(config: SemiSupervisedConfig, *, run_dir: Path, resume: bool = False) -> SemiSupervisedRecord:
    """Run every round of ``config`` and return the record, which stands in ``run_dir/ssrm.json``.

    ``round_<t>/`` is the training run of round t, with its model and its held-out evaluation, and
    ``pseudo/round_<t>.jsonl`` holds the pseudo-labels it was trained on. With ``resume`` finished rounds are kept as
    they are, and the round that was cut goes on: responses that were scored are not scored again, training goes on from
    its last checkpoint. One process at a time may write the folder.

    The held-out groups are split off once, before anything is labelled, and unlabelled groups with one of their
    prompts are left out and counted. A round in which nothing is kept ends the run: status ``nothing_kept``.

    Raises:
        ConfigError: for an objective that does not learn from preferences, several processes, or a folder that holds
            another run, or none to resume.
        DataError, ModelError, LayoutError, TrainingError, OutputError: see ``plaudit.training.run.train``.
    """
    _check_config(config)
    with locked(run_dir / RECORD_FILE):
        _check_folder(config, run_dir, resume=resume)
        inputs = _prepare(config, run_dir)
        record = _begun(run_dir, inputs) or SemiSupervisedRecord(
            **made_now(), name=config.train.name, status="running", data=inputs.described
        )
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
    if not is_finished(folder):
        settings = round_config(config, run_dir, number, labelled_groups=inputs.labelled_groups)
        train(settings, run_dir=folder, resume=(folder / CONFIG_FILE).exists())
    trained = run_record(folder).data["train"]
    done = Round(
        number=number,
        pseudo=pseudo,
        groups=trained["groups"] - trained["without_labels"],
        preferences=trained["preferences"],
        accuracy=held_out_accuracy(
            run_dir, number, name=config.train.name, trust_remote_code=config.train.model.trusts_code
        ),
        seconds=time.perf_counter() - began,
    )
    is_last = number == config.rounds
    return record.model_copy(update={"rounds": (*record.rounds, done), "status": "finished" if is_last else "running"})


def _check_config(config: SemiSupervisedConfig) -> None:
    kind = label_kind(config.train.objective, trained_head(config.train).form)
    if kind != "preferences":
        raise ConfigError(
            f"train.objective is {config.train.objective.type}, which learns from {kind}; pseudo-labels are "
            "preferences, as for bradley_terry"
        )
    if config.temperature is None and config.train.objective.reward_scale == "order":
        raise ConfigError(
            f"train.objective {config.train.objective.type} with these settings makes rewards of which only the order "
            "counts, so no difference of them is a log-odds; set temperature to the one that fits their differences"
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
    """Return the inputs of every round; the labelled and held-out groups are written for all of them."""
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
    return _Inputs(len(labelled), unlabelled, described)


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


def _label(config: SemiSupervisedConfig, run_dir: Path, inputs: _Inputs, number: int) -> PseudoLabels:
    """Return the record of this round's pseudo-labels; whole ones of the same model are kept, others are resumed."""
    path, teacher = pseudo_file(run_dir, number), round_folder(run_dir, number - 1)
    model = model_hash(teacher)
    earlier = read_pseudo_labels(path)
    if earlier is not None and earlier.model == model:
        return earlier
    opened = load(teacher, trust_remote_code=config.train.model.trusts_code)
    with resumable(opened, path, model=model, data=inputs.unlabelled.fingerprint) as scorer:
        return write_pseudo_labels(
            path,
            scorer,
            inputs.unlabelled,
            model=model,
            data_fingerprint=inputs.unlabelled.fingerprint,
            **config.model_dump(include={"threshold", "pairs", "soft", "temperature"}),
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
        reasons = ", ".join(f"{count} groups: {reason}" for reason, count in pseudo.reasons.items())
        return f"round {number}: none of {pseudo.pairs} pairs could be scored ({reasons}); {last}"
    if pseudo.below == 0:
        return f"round {number}: all {pseudo.ties} scored pairs of {pseudo.pairs} are ties; {last}"
    return (
        f"round {number}: none of {pseudo.pairs} pairs reached a confidence of {pseudo.threshold:g} (the largest "
        f"{pseudo.largest_confidence:.3g}); {last}. Lower threshold, or label more groups"
    )


# ------------------------------------------------------------------------------------------------ one round


def round_folder(run_dir: Path, number: int) -> Path:
    """Return the folder of a round's training run."""
    return run_dir / f"round_{number}"


def pseudo_file(run_dir: Path, number: int) -> Path:
    """Return the file of the pseudo-labels that a round is trained on."""
    return run_dir / "pseudo" / f"round_{number}.jsonl"


def round_config(config: SemiSupervisedConfig, run_dir: Path, number: int, *, labelled_groups: int) -> TrainConfig:
    """Return the training config of a round, whose files stand in ``run_dir``.

    All is as in ``config.train`` but the data and, with ``start: previous``, the weights. A tokenizer made from the
    training texts is made from the labelled ones in every round: they come first, and it reads no further.
    """
    files = [labelled_file(run_dir), *([pseudo_file(run_dir, number)] if number else [])]
    held_out = held_out_file(run_dir)
    data = DataSection(
        train=tuple(DataFile(path=str(path), format="groups") for path in files),
        held_out=(DataFile(path=str(held_out), format="groups"),) if held_out.exists() else (),
        held_out_share=0,
    )
    model = config.train.model
    match config.start:
        case "previous" if number > 0:
            model = model.model_copy(update={"init": _continued(model, round_folder(run_dir, number - 1))})
        case "initial" | "previous":
            if isinstance(model.init, ScratchInit):
                read = min(model.init.tokenizer_groups, labelled_groups)
                model = model.model_copy(update={"init": model.init.model_copy(update={"tokenizer_groups": read})})
        case _:
            assert_never(config.start)
    name = f"{config.train.name}-round-{number}"
    return config.train.model_copy(update={"name": name, "data": data, "model": model})


def _continued(model: ModelSection, folder: Path) -> PretrainedInit:
    """Return the start from the model of the run in ``folder``."""
    path = str(folder / MODEL_FOLDER)
    match model.init:
        case PretrainedInit() as init:
            return init.model_copy(update={"path": path})
        case ScratchInit():
            return PretrainedInit(path=path)
        case _:
            assert_never(model.init)


def labelled_file(run_dir: Path) -> Path:
    """Return the file of the labelled groups that every round is trained on."""
    return run_dir / DATA_FOLDER / "labelled.jsonl"


def held_out_file(run_dir: Path) -> Path:
    """Return the file of the held-out groups; it is there where there are any."""
    return run_dir / DATA_FOLDER / "held_out.jsonl"


@contextlib.contextmanager
def resumable(scorer: Scorer, output: Path, *, model: str, data: str) -> Generator[Scorer]:
    """Give ``scorer`` with a memory beside ``output``: answers that an unfinished run had are not asked for again.

    The memory goes at the end of the block, where nothing stops it.
    """
    info = info_of(scorer)
    identity = {"model": model, "rewards": "in log-odds"}
    header = Header(journal="pseudo-labels", identity=identity, settings=dict(info.settings), data=data)
    with Journal(partial_path(output), header, window=info.window) as journal:
        journal.resume(discard=lambda found: True)
        yield _Resumable(scorer, journal)
        journal.remove()


class _Resumable:
    """A scorer of one pass over groups, that takes rewards on file before it scores; strengths are its rewards."""

    def __init__(self, scorer: Scorer, journal: Journal) -> None:
        self._scorer = scorer
        self._journal = journal

    @property
    def info(self) -> ScorerInfo:
        info = info_of(self._scorer)
        return replace(info, scale=unit_of(info), strengths=None)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        remaining = iter(groups)
        for group, rewards, place in self._journal.matched(remaining, parse_rewards):
            check_rewards_of(group, rewards, place)
            yield rewards
        for rewards in self._scorer.score_groups(remaining):
            found = rewards.in_log_odds()
            self._journal.append(rewards_line(found))
            yield found


def model_hash(folder: Path) -> str:
    """Return a short hash of the weights and the scoring recipe of the model that the run in ``folder`` trained.

    Raises:
        ModelError: when there are none.
    """
    model = folder / MODEL_FOLDER
    files = [*sorted(model.glob("*.safetensors")), model / RECIPE_FILE]
    if len(files) == 1 or not files[-1].exists():
        raise ModelError(f"{model} holds no whole model; remove {folder} to train that round again")
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(2**24):
                digest.update(block)
    return digest.hexdigest()


def held_out_accuracy(run_dir: Path, number: int, *, name: str, trust_remote_code: bool = False) -> Interval | None:
    """Return the accuracy of a round's model on the held-out groups, and leave the evaluation in its run.

    None where there are no held-out groups, or none of them can be scored.
    """
    folder, held_out = round_folder(run_dir, number), held_out_file(run_dir)
    if not held_out.exists():
        return None
    groups = read_groups(held_out, format="groups", cache_dir=held_out.parent)
    result = evaluate(
        load(folder, trust_remote_code=trust_remote_code),
        groups,
        name="held_out",
        model=name,
        output_dir=folder / "eval" / "held_out",
        recipe_hash=run_record(folder).model["recipe_hash"],
        weights_hash=model_hash(folder),
        data_fingerprint=groups.fingerprint,
    )
    return None if result.preference is None else result.preference.metrics.get("accuracy")
