"""Kill every resumable verb at many moments, resume it, and compare the end with that of an unbroken run.

    python benchmarks/kills.py [--moments 30] [--only VERB,…,damaged] [-o benchmarks/results/kills.json]

One kill in ten comes before there is unfinished work; the moments of the others are spread evenly over the time that an
unbroken run takes from its first line or checkpoint to its end. SIGKILL, SIGTERM and SIGINT take turns. After a kill
the same command (``train`` and ``ssrm`` with ``--resume`` once their folder is a run) has to end with exit code 0, with
the same rewards, items, metrics and weights to the last digit, and without a lock, a half-written file or an unfinished
one. Then: two processes on one output, damaged checkpoints, and ``average`` and ``data build`` killed while they
replace an older output. ``ssrm``, which trains twice, is killed a third as often.

Torch is imported once. Each command runs in a fork of that process, which has not loaded a model or run an operation,
with the signal handlers of a new interpreter; the import itself is the only thing that is not killed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import machine
import matplotlib.pyplot
import peft
import transformers.models.llama.modeling_llama
from safetensors.torch import load_file, save_file

import plaudit.labeling.semi_supervised
import plaudit.opening
import plaudit.reports.page
import plaudit.training.run
from plaudit.cli.main import app
from plaudit.records import write_json

_WARM = (matplotlib.pyplot, peft, transformers, plaudit.labeling, plaudit.opening, plaudit.reports, plaudit.training)
"""Modules that commands import, loaded once for all forks."""
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LEFT_OVER = re.compile(r"\.(new|old)\..+|.+\.(lock|partial|unfinished)|.+\.partial\.jsonl|\..+\.[a-z0-9_]{8}")
WORK = ("*.partial", "*.partial.jsonl", "complete.json")
PYTORCH = {"format": "pt"}
TIMED = ("train/tokens_per_second", "train/groups_per_second", "seconds")
DATED = ("created", "finished", "seconds", "commit", "dirty", "versions", "resumed")
TRAIN = """
name: small
model: {init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}, max_length: 128}
data: {train: [{path: pairs.jsonl}], held_out_share: 0.2}
step: {groups_per_step: 4, epochs: 2, threads: 1, log_every: 3, save_every: 2, trackers: []}
"""
SSRM = """
train:
  name: rounds
  model: {init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}, max_length: 128}
  data: {train: [{path: pairs.jsonl}], held_out_share: 0.2}
  step: {groups_per_step: 8, max_steps: 6, threads: 1, save_every: 2, trackers: []}
unlabelled: [{path: more.jsonl}]
rounds: 1
threshold: 0.5
"""
MIXTURE = (
    "name: mix\nparts: [{name: a, files: [{path: pairs.jsonl}]}]\nsplit: {type: prompts, share: 0.2}\nseed: SEED\n"
)


@dataclass(frozen=True)
class Verb:
    """A resumable command, and what it leaves."""

    command: tuple[str, ...]
    output: str
    again: tuple[str, ...] = ()
    """Arguments with which the command goes on with a folder that is a run."""

    def resuming_in(self, folder: Path) -> tuple[str, ...]:
        """Return the command that goes on in the working folder."""
        return (*self.command, *(self.again if (folder / self.output / "config.yaml").exists() else ()))


VERBS = {
    "score": Verb(("score", "model", "many.jsonl", "-o", "out.jsonl"), "out.jsonl"),
    "evaluate": Verb(("evaluate", "model", "many.jsonl", "-o", "results"), "results"),
    "data relabel": Verb(("data", "relabel", "model", "many.jsonl", "-o", "labelled.jsonl"), "labelled.jsonl"),
    "train": Verb(("train", "train.yaml", "--run-dir", "run"), "run", ("--resume",)),
    "stress": Verb(("stress", "model", "pairs.jsonl", "-o", "stressed"), "stressed"),
    "ssrm": Verb(("ssrm", "ssrm.yaml", "--run-dir", "rounds"), "rounds", ("--resume",)),
}


@dataclass
class Fork:
    """A command that runs in a process of its own."""

    pid: int
    log: Path
    began: float = field(default_factory=time.perf_counter)

    def wait(self) -> int:
        """Return the exit code, of a killed process minus the signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def is_over(self) -> bool:
        """Return whether the process has ended, which is left to ``wait`` to find."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def said(self) -> str:
        """Return what it printed."""
        return self.log.read_text(errors="replace")


def start(folder: Path, command: Sequence[str]) -> Fork:
    """Run a command of plaudit in ``folder``, in a fork of this process."""
    log = folder.parent / f"{folder.name}.log"
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Fork(pid, log)
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.chdir(folder)
        code = _run(command)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _run(command: Sequence[str]) -> int:
    datasets.config.HF_DATASETS_CACHE = Path.cwd() / "cache"
    try:
        app(list(command), prog_name="plaudit")
    except SystemExit as ended:
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return 130
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


def whole(folder: Path, command: Sequence[str]) -> float:
    """Run a command to its end, and return its seconds."""
    process = start(folder, command)
    code = process.wait()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}:\n{process.said()}")
    return time.perf_counter() - process.began


def prepare(folder: Path, groups: int) -> None:
    """Write data, configs and two small models to ``folder``."""
    from plaudit.data.reading.write import write_groups
    from plaudit.worlds.world import World

    folder.mkdir()
    world = World(seed=0)
    write_groups(folder / "pairs.jsonl", world.groups(40, responses=2, split="train"))
    write_groups(folder / "many.jsonl", world.groups(groups, responses=2, split="held_out"))
    write_groups(folder / "more.jsonl", world.groups(60, responses=2, split="held_out"))
    (folder / "train.yaml").write_text(TRAIN)
    (folder / "ssrm.yaml").write_text(SSRM)
    for seed in (0, 1):
        (folder / f"mix{seed}.yaml").write_text(MIXTURE.replace("SEED", str(seed)))
    whole(folder, ("train", "train.yaml", "step.save_every=100", "--run-dir", "made"))
    shutil.move(folder / "made" / "model", folder / "model")
    shutil.rmtree(folder / "made")
    model = load_file(folder / "model" / "model.safetensors")
    shutil.copytree(folder / "model", folder / "model2")
    save_file({name: 2 * weight for name, weight in model.items()}, folder / "model2" / "model.safetensors", PYTORCH)
    shutil.rmtree(folder / "cache", ignore_errors=True)


def outcome(path: Path) -> dict[str, str]:
    """Return a hash of each file of an output, without what tells of time; not of checkpoints, tokens and pages."""
    if path.is_file():
        return {path.name: _hash(path)} | {
            each.name: _hash(each) for each in path.parent.glob(f"{path.name.partition('.')[0]}.record.json")
        }
    found = {}
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        name = str(file.relative_to(path))
        if not re.search(r"(^|/)(checkpoints/|data/|report\.html|model/README\.md|tensorboard/)", name):
            found[name] = _hash(file)
    return found


def _hash(file: Path) -> str:
    content = file.read_bytes()
    if file.name == "metrics.jsonl":
        rows = [json.loads(line) for line in content.splitlines()]
        content = json.dumps([_without(row, TIMED) for row in rows]).encode()
    elif file.suffix == ".json":
        content = json.dumps(_without(json.loads(content), (*DATED, *TIMED))).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _without(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(each, names) for name, each in value.items() if name not in names}
    return [_without(each, names) for each in value] if isinstance(value, list) else value


def left_over(folder: Path) -> list[str]:
    """Return the names of locks, half-written and unfinished files below ``folder``."""
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if LEFT_OVER.fullmatch(each.name))


def fresh(place: Path, original: Path) -> Path:
    """Return a new copy of the working folder."""
    folder = place / "here"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    return folder


def kill_verb(place: Path, original: Path, verb: Verb, moments: int) -> dict[str, Any]:
    """Kill a verb at ``moments`` moments and resume it each time; return the counts and every failure."""
    folder = fresh(place, original)
    process = start(folder, verb.command)
    begun = _wait_for_work(folder, verb, process)
    if code := process.wait():
        raise SystemExit(f"{' '.join(verb.command)} ended with {code}:\n{process.said()}")
    seconds = time.perf_counter() - process.began
    wanted = outcome(folder / verb.output)
    failures, ends, kept, early = [], Counter[str](), 0, moments // 10
    for number in range(moments):
        how, late = SIGNALS[number % len(SIGNALS)], number - early
        folder = fresh(place, original)
        process = start(folder, verb.command)
        if late < 0:
            share = (number + 0.5) / early * begun / seconds
            until = share * seconds
        else:
            share = (begun + (late + 0.5) / (moments - early) * (seconds - begun)) / seconds
            until = _wait_for_work(folder, verb, process) + share * seconds - begun
        while time.perf_counter() - process.began < until and not process.is_over():
            time.sleep(0.001)
        was_over = process.is_over()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, how)
        code = process.wait()
        ends["before the kill" if was_over else {0: "finished", 130: "stopped"}.get(code, f"code {code}")] += 1
        kept += not was_over and code != 0 and _has_unfinished_work(folder, verb)
        problems = _resumed(folder, verb, wanted)
        if not was_over and code not in (-signal.SIGKILL, 130, 0):
            problems.append(f"the killed command ended with {code}: {process.said()[-500:]}")
        failures += [{"signal": how.name, "at": round(share, 3), "problem": each} for each in problems]
    return {
        "seconds": round(seconds, 2),
        "seconds_before_the_first_work": round(begun, 2),
        "moments": moments,
        "ended": dict(ends),
        "met_unfinished_work": kept,
        "resumed_digit_for_digit": moments - len({(each["signal"], each["at"]) for each in failures}),
        "failures": failures,
    }


def _has_unfinished_work(folder: Path, verb: Verb) -> bool:
    """Return whether lines or a complete checkpoint are there to go on from."""
    output = folder / verb.output
    return any(next(each, None) for each in (folder.glob("*.partial"), *map(output.rglob, WORK)))


def _wait_for_work(folder: Path, verb: Verb, process: Fork) -> float:
    """Return the seconds from the start of the process to its first line or checkpoint, or to its end."""
    while not process.is_over() and not _has_unfinished_work(folder, verb):
        time.sleep(0.002)
    return time.perf_counter() - process.began


def _resumed(folder: Path, verb: Verb, wanted: dict[str, str]) -> list[str]:
    """Return what is wrong with the output after the command that goes on."""
    command = verb.resuming_in(folder)
    if (folder / verb.output).is_file():
        command = (*command, "--overwrite")  # it had been finished
    process = start(folder, command)
    code = process.wait()
    if code:
        return [f"{' '.join(command)} ended with {code}: {process.said()[-500:]}"]
    found, problems = outcome(folder / verb.output), []
    different = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    if different:
        problems.append(f"not the same: {', '.join(different)}")
    if left := left_over(folder):
        problems.append(f"left over: {', '.join(left)}")
    return problems


def refuse_seconds(place: Path, original: Path, verb: Verb) -> dict[str, Any]:
    """Stop a command in the middle of its work, start a second one, let the first go on; return how both ended."""
    folder = fresh(place, original)
    whole(folder, verb.command)
    wanted = outcome(folder / verb.output)
    folder = fresh(place, original)
    first = start(folder, verb.command)
    while not first.is_over():
        # a lock of the output itself, not one of the cache of data
        if list(folder.glob(f"{verb.output}*.lock")) or list((folder / verb.output).rglob("*.lock")):
            break
        time.sleep(0.0005)
    os.kill(first.pid, signal.SIGSTOP)
    # the second logs to the same file, so what it says is read before the first goes on
    second = start(folder, verb.resuming_in(folder))
    code, said = second.wait(), second.said()
    took = time.perf_counter() - second.began
    os.kill(first.pid, signal.SIGCONT)
    first_code, found = first.wait(), outcome(folder / verb.output)
    different = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return {
        "first_won": first_code == 0 and not different,
        "first_ended": {"code": first_code, "different": different, "said": first.said()[-500:] if first_code else ""},
        "second_refused": code == 2 and "is writing it" in said and said.strip().count("\n") == 0,
        "refused_after_seconds": round(took, 2),
        "left_over": left_over(folder),
    }


def damage_checkpoints(place: Path, original: Path) -> dict[str, Any]:
    """Damage each file of the last checkpoint of a run in three ways; return which are refused in one line."""
    folder = fresh(place, original)
    whole(folder, VERBS["train"].command)
    run = folder / "run"
    wanted = outcome(run)
    record = run / "run.json"
    record.write_text(record.read_text().replace('"finished",', '"running",'))
    shutil.rmtree(run / "model")
    newest = max((run / "checkpoints").glob("checkpoint-*"), key=lambda each: int(each.name.partition("-")[2]))
    shutil.copytree(run, place / "undamaged", dirs_exist_ok=True)
    found: dict[str, str] = {}
    for file in sorted(each.name for each in newest.iterdir()):
        for kind, change in DAMAGES.items():
            shutil.rmtree(run)
            shutil.copytree(place / "undamaged", run)
            change(newest / file)
            process = start(folder, VERBS["train"].resuming_in(folder))
            code, said = process.wait(), process.said().strip()
            refused = code == 2 and said.splitlines()[-1].startswith("error: ") and "Traceback" not in said
            same = code == 0 and outcome(run) == wanted
            found[f"{file} {kind}"] = "refused" if refused else "resumed before it, the same end" if same else "taken"
    return {"files": dict(Counter(found.values())), "not_refused": {k: v for k, v in found.items() if v != "refused"}}


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "one bit flipped": _flip,
}


def kill_replacing(
    place: Path, original: Path, first: Sequence[str], second: Sequence[str], output: str, moments: int
) -> dict[str, Any]:
    """Kill a command while it replaces an older output; after the kill the old or the new has to be there, whole."""
    folder = fresh(place, original)
    whole(folder, first)
    old = outcome(folder / output)
    shutil.copytree(folder, place / "replaced", dirs_exist_ok=True)
    seconds = whole(folder, second)
    new = outcome(folder / output)
    assert old != new
    found, failures = Counter[str](), []
    for number in range(moments):
        how, share = SIGNALS[number % len(SIGNALS)], (number + 0.5) / moments
        folder = fresh(place, place / "replaced")
        process = start(folder, second)
        while time.perf_counter() - process.began < share * seconds and not process.is_over():
            time.sleep(0.001)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, how)
        process.wait()
        after = {name: each for name, each in outcome(folder / output).items() if not LEFT_OVER.fullmatch(name)}
        found["old" if after == old else "new" if after == new else "neither"] += 1
        again = start(folder, second)
        if again.wait() or outcome(folder / output) != new or left_over(folder):
            failures.append(f"{how.name} at {share:.2f}: {again.said()[-300:]} {left_over(folder)}")
    shutil.rmtree(place / "replaced")
    return {"seconds": round(seconds, 2), "moments": moments, "after_the_kill": dict(found), "failures": failures}


def main() -> None:
    """Run the matrix, print it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=30)
    parser.add_argument("--groups", type=int, default=700)
    parser.add_argument("--only", default="")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

    found: dict[str, Any] = {"machine": machine.describe(), "killed": {}, "two_processes": {}}

    def note(study: str, name: str, result: dict[str, Any]) -> None:
        found.setdefault(study, {})[name] = result
        print(study, name, json.dumps(result), flush=True)
        if options.output is not None:
            write_json(options.output, found)

    with tempfile.TemporaryDirectory() as folder:
        place, original = Path(folder), Path(folder) / "original"
        prepare(original, options.groups)
        verbs = {name: verb for name, verb in VERBS.items() if not only or name in only}
        for name, verb in verbs.items():
            note("two_processes", name, refuse_seconds(place, original, verb))
            moments = options.moments if name != "ssrm" else options.moments // 3
            note("killed", name, kill_verb(place, original, verb, moments))
        if not only or "damaged" in only:
            note("damaged", "checkpoint", damage_checkpoints(place, original))
        average = ("average", "mean", "model", "model2")
        builds = [("data", "build", f"mix{seed}.yaml", "-o", "built") for seed in (0, 1)]
        replacing = {
            "average": ((*average, "--weights", "1,0"), (*average, "--weights", "1,1", "--overwrite"), "mean"),
            "data build": (*builds, "built"),
        }
        for name, (first, second, output) in replacing.items():
            if not only or name in only:
                note("replacing", name, kill_replacing(place, original, first, second, output, options.moments))
    failed = [each for study in ("killed", "replacing") for each in found.get(study, {}).values() if each["failures"]]
    both = [each for each in found["two_processes"].values() if not (each["first_won"] and each["second_refused"])]
    sys.exit(1 if failed or both else 0)


if __name__ == "__main__":
    main()
