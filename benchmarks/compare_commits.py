"""Speed of one checkout of plaudit beside another: training, scoring, and RM-Bench with RMB, alternating in one run.

    python benchmarks/compare_commits.py BEFORE AFTER --out benchmarks/results/commits.json

BEFORE and AFTER are folders of two checkouts. Each has a process of its own, with one thread, that imports plaudit and
the workloads of ``bench_training``, ``bench_scoring`` and ``bench_benchmarks`` from its checkout; both read one
checkpoint. In each round both do the same work, one after the other, and change who begins. Only the work is timed, not
imports or preparation. Reported for each task: the seconds of every round, the geometric mean of the ratios before ÷
after (above 1: the second is faster), and its one-sided lower bound at 95 %, Student's on the logarithms.

``PLAUDIT_DATA`` is the folder that holds benchmarks/rm_bench and benchmarks/rmb. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS = ("training", "scoring", "benchmarks")
SHAPE = "256x6"


class Checkout:
    """A process that runs the workloads of one checkout on request."""

    def __init__(self, root: Path, folder: Path, every: int) -> None:
        """Start the process; it prepares its workloads before it answers the first request."""
        environment = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", str(root), str(folder)]
        self._process = subprocess.Popen(
            [*command, "--every", str(every)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(self, task: str) -> float:
        """Return the seconds of one run of ``task``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(task, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"the process of {self._process.args} ended with {self._process.wait()}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def work(root: Path, folder: Path, every: int) -> None:
    """Answer each task on standard input with the seconds that it took."""
    sys.path[0] = str(root / "benchmarks")
    import torch
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    torch.set_num_threads(1)
    disable_progress_bar()
    set_verbosity_error()
    ways = {"training": training(folder), "scoring": scoring(), "benchmarks": evaluation(folder, every)}
    for line in sys.stdin:
        began = time.perf_counter()
        inside = ways[line.strip()]()
        print("seconds", time.perf_counter() - began if inside is None else inside, flush=True)


def training(folder: Path) -> Callable[[], float | None]:
    """Return a run of twelve steps on pairs with the lengths of hh-rlhf, which times the steps alone."""
    import bench_training
    import numpy as np
    from workloads import hh_pairs, llama, tokenizer_for, words

    args = argparse.Namespace(shape=SHAPE, precision="float32", steps=12, groups_per_step=8, max_tokens=4096)
    rng = np.random.default_rng(0)
    vocabulary = words(rng, 6000)
    tokenizer = tokenizer_for(vocabulary, rng)
    groups = hh_pairs(args.groups_per_step * (bench_training.WARM_UP + args.steps), vocabulary, rng)
    recipe = llama(SHAPE, tokenizer).recipe.model_copy(update={"max_length": bench_training.MAX_LENGTH})
    own = Path(tempfile.mkdtemp(dir=folder))
    tokens = bench_training.encode_to_file(groups, recipe.encoder(tokenizer), own / "tokens.arrow")
    return lambda: bench_training.run_plaudit(args, tokens, tokenizer, "shared_prefix", own)["seconds"]


def scoring() -> Callable[[], float | None]:
    """Return the scoring of 16 responses to each of eight prompts, from conversations to rewards."""
    import bench_scoring
    import numpy as np
    from workloads import k_responses, llama, tokenizer_for, words

    rng = np.random.default_rng(0)
    vocabulary = words(rng, 6000)
    tokenizer = tokenizer_for(vocabulary, rng)
    groups = k_responses(8, 16, *bench_scoring.TASKS["long"], vocabulary, rng)
    model = llama(SHAPE, tokenizer).eval()

    def run() -> None:
        bench_scoring.score_plaudit(model, groups, "shared_prefix", 16_384)

    return run


def evaluation(folder: Path, every: int) -> Callable[[], float | None]:
    """Return RM-Bench and RMB, one prompt in ``every``, from the official files to the result files."""
    import bench_benchmarks
    from workloads import VOCABULARY, llama

    import plaudit

    data, checkpoint = folder / "data", folder / "checkpoint"
    if not checkpoint.exists():  # the process of the first checkout makes both, the other reads them
        loaded = [bench_benchmarks.benchmark_named(each) for each in bench_benchmarks.NAMES]
        sets = [each.load(str(bench_benchmarks.DATA / each.name)) for each in loaded]
        texts = [text for each in sets for text in bench_benchmarks.texts_of(each)]
        tokenizer = bench_benchmarks.build_tokenizer(texts, vocabulary=VOCABULARY)
        for name in bench_benchmarks.NAMES:
            bench_benchmarks.write_fitting(name, folder / "whole" / name, tokenizer)
            bench_benchmarks.write_sample(name, folder / "whole" / name, data / name, every)
        model = llama(SHAPE, tokenizer, max_length=bench_benchmarks.MAX_LENGTH)
        bench_benchmarks.save_reward_model(model, checkpoint)
    scorer: Any = plaudit.load(checkpoint)

    def run() -> None:
        out = Path(tempfile.mkdtemp(dir=folder))
        for name in bench_benchmarks.NAMES:
            bench_benchmarks.run_plaudit(scorer, name, data / name, out / name)

    return run


def ratios(before: list[float], after: list[float]) -> dict[str, Any]:
    """Return the seconds of both, the geometric mean of the ratios and its lower bound."""
    import numpy as np
    from scipy import stats

    logs = np.log(np.asarray(before) / np.asarray(after))
    spread = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    bound = float(logs.mean()) - float(stats.t.ppf(0.95, len(logs) - 1)) * spread
    return {
        "seconds": {"before": [round(each, 3) for each in before], "after": [round(each, 3) for each in after]},
        "ratio": math.exp(float(logs.mean())),
        "lower_bound": math.exp(bound),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", nargs=2, metavar=("ROOT", "FOLDER"), type=Path, help=argparse.SUPPRESS)
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="BEFORE AFTER")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated")
    parser.add_argument("--every", type=int, default=48, help="take one prompt in so many of each benchmark file")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    if args.worker:
        work(*args.worker, args.every)
        return
    before, after = (each.resolve() for each in args.checkouts)
    tasks = args.tasks.split(",")
    seconds: dict[str, tuple[list[float], list[float]]] = {task: ([], []) for task in tasks}
    with tempfile.TemporaryDirectory() as name:
        sides = []
        for root in (before, after):
            sides.append(Checkout(root, Path(name), args.every))
            for task in tasks:
                sides[-1].seconds(task)  # warm-up, and the first side's preparation before the second begins
        for number in range(args.rounds):
            for task in tasks:
                for side in (0, 1) if number % 2 == 0 else (1, 0):
                    seconds[task][side].append(sides[side].seconds(task))
                print(f"# {task} {number}: {[each[-1] for each in seconds[task]]}", file=sys.stderr, flush=True)
        for side in sides:
            side.close()
    commits = [
        subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
        for root in (before, after)
    ]
    from machine import describe

    result = {
        "benchmark": "commits",
        "before": commits[0],
        "after": commits[1],
        "shape": SHAPE,
        "rounds": args.rounds,
        "tasks": {task: ratios(*seconds[task]) for task in tasks},
    }
    text = json.dumps(result | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
