"""One million pairs through reading, validation, tokenising, planning and the first steps, in one process.

    python benchmarks/bench_scale.py --pairs 1000000

Prints one JSON object: rows per second of each stage and the resident memory after it. The pairs are short (about 45
tokens), so that the counts and not the texts decide.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from machine import describe


def write_pairs(path: Path, count: int) -> None:
    """Write ``count`` generated preference rows in TRL's explicit-prompt format."""
    rng = np.random.default_rng(0)
    words = np.asarray([f"word{number}" for number in range(500)])
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, count, 10_000):
            drawn = words[rng.integers(0, len(words), size=(min(10_000, count - first), 24))]
            for number, row in enumerate(drawn, start=first):
                texts = row.tolist()
                record = {
                    "prompt": f"question {number} " + " ".join(texts[:8]),
                    "chosen": " ".join(texts[8:16]),
                    "rejected": " ".join(texts[16:]),
                }
                file.write(json.dumps(record) + "\n")


def stages(path: Path, folder: Path) -> list[dict[str, Any]]:
    """Return seconds and memory of each stage."""
    from plaudit.batching.planner import epoch_order, num_steps, plan_step, step_rows
    from plaudit.batching.token_set import encode_to_file
    from plaudit.data.mixing.splits import split_by_prompt
    from plaudit.data.reading.read import read_groups
    from plaudit.models.create import build_decoder, build_tokenizer
    from plaudit.objectives.config import BradleyTerry
    from plaudit.training.trainer import StepCollator

    done: list[dict[str, Any]] = []
    began = time.perf_counter()

    def mark(stage: str, rows: int) -> None:
        nonlocal began
        seconds = time.perf_counter() - began
        memory = psutil.Process().memory_info()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        done.append(
            {
                "stage": stage,
                "seconds": round(seconds, 2),
                "rows_per_second": round(rows / seconds),
                "rss_mb": memory.rss // 2**20,
                "peak_rss_mb": peak // 2**20,
            }
        )
        began = time.perf_counter()

    groups = read_groups(path, cache_dir=folder / "cache")
    mark("read and validate", len(groups))
    train, _ = split_by_prompt(groups, held_out=0.01, seed=0)
    mark("split by prompt", len(groups))
    texts = (group.responses[0] for group in groups.select(range(2000)))
    model = build_decoder(
        build_tokenizer(texts, vocabulary=1000), hidden_size=64, num_layers=2, num_heads=2, max_length=256, seed=0
    )
    model.use_layout("shared_prefix")
    tokens = encode_to_file(train, model.recipe.encoder(model.tokenizer), folder / "tokens.arrow")
    mark("render, tokenise, build trees", len(tokens))
    order = epoch_order(len(tokens), seed=0, epoch=0)
    for step in range(num_steps(len(tokens), 64)):
        plan_step(step_rows(order, step, 64), tokens.sizes, layout="shared_prefix", max_tokens=8192, num_ranks=2)
    mark("plan a whole epoch for two ranks", len(tokens))
    collator = StepCollator(tokens, "shared_prefix", 8192, model.recipe.pad_token, 0, 1)
    objective = BradleyTerry()
    for step in range(10):
        for batch in collator(step_rows(order, step, 64).tolist()).batches:
            objective(model(batch), batch.labels).losses.sum().backward()
    mark("first ten steps of 64 groups", 640)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--stages", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stages:
        print(json.dumps(stages(*args.stages)))
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pairs.jsonl"
        write_pairs(path, args.pairs)
        command = [sys.executable, __file__, "--stages", str(path), name]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        size = path.stat().st_size // 2**20
    found = json.loads(finished.stdout.splitlines()[-1])
    text = json.dumps(
        {"benchmark": "scale", "pairs": args.pairs, "file_mb": size, "stages": found} | describe(), indent=2
    )
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
