"""Scoring a long file streams: resident memory while 100,000 groups go through ``plaudit score``.

    python benchmarks/bench_stream.py --groups 100000

Prints one JSON object: groups per second, and the resident memory after each tenth of the file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import psutil
from bench_scale import write_pairs
from machine import describe

from plaudit.data.reading.read import read_groups
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.create import build_decoder, build_tokenizer
from plaudit.opening import load
from plaudit.scoring.files import score_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    memory: list[int] = []

    def progress(done: int, total: int) -> None:
        if done * 10 // total > len(memory):
            memory.append(psutil.Process().memory_info().rss // 2**20)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder / "pairs.jsonl", args.groups)
        words = (f"word{number}" for number in range(500))
        tokenizer = build_tokenizer(words, vocabulary=1000)
        model = build_decoder(tokenizer, hidden_size=32, num_layers=1, num_heads=2, max_length=256, seed=0)
        save_reward_model(model, folder / "model")
        began = time.perf_counter()
        groups = read_groups(folder / "pairs.jsonl")
        report = score_file(load(folder / "model"), groups, folder / "out.jsonl", model="model", progress=progress)
        seconds = time.perf_counter() - began
        lines = sum(1 for _ in (folder / "out.jsonl").open(encoding="utf-8"))
    assert lines == report.scored == args.groups
    result = {
        "benchmark": "stream",
        "groups": args.groups,
        "groups_per_second": round(args.groups / seconds),
        "rss_mb_after_each_tenth": memory,
        "growth_mb_from_second_to_last_tenth": memory[-1] - memory[1],
    }
    text = json.dumps(result | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
