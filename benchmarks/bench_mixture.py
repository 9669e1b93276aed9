"""Rated groups through a whole mixture: reading, rules, near duplicates, split and fingerprint; beside ``datasets``.

    python benchmarks/bench_mixture.py --groups 250000 500000 1000000

Each size runs in a process of its own. The peer maps a plain Python function (the mean of two ratings) over the same
JSON file with ``datasets`` and writes Arrow, as a mixing script would. Prints one JSON object: seconds of each stage,
groups per second, the resident memory, and the time per group at each size beside that of the smallest (1 is linear).
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
from machine import describe

PART_RULES: tuple[dict[str, Any], ...] = (
    {"type": "mean_rating", "of": ["helpfulness", "correctness"], "into": "mean"},
    {"type": "pairs", "choose": "all", "by": "mean", "min_gap": 0.5},
    {"type": "keep", "max_characters": 20_000},
)
RULES: tuple[dict[str, Any], ...] = ({"type": "per_prompt", "max_pairs": 3}, {"type": "distinct", "of": "prompt"})


def write_rated(path: Path, count: int) -> None:
    """Write ``count`` prompts of two rated responses; one in a hundred prompts is that of an earlier row."""
    rng = np.random.default_rng(0)
    words = np.asarray([f"word{number}" for number in range(5000)])
    with path.open("w", encoding="utf-8") as file:
        prompts: list[str] = []
        for first in range(0, count, 10_000):
            size = min(10_000, count - first)
            drawn = words[rng.integers(0, len(words), size=(size, 40))]
            ratings = rng.integers(0, 5, size=(size, 4)).tolist()
            for texts, numbers in zip(drawn.tolist(), ratings, strict=True):
                is_repeated = prompts and rng.random() < 0.01
                prompt = prompts[int(rng.integers(len(prompts)))] if is_repeated else " ".join(texts[:20])
                if len(prompts) < 10_000:
                    prompts.append(prompt)
                row = {
                    "prompt": prompt,
                    "responses": [" ".join(texts[20:30]), " ".join(texts[30:])],
                    "ratings": {"helpfulness": numbers[:2], "correctness": numbers[2:]},
                }
                file.write(json.dumps(row) + "\n")


def stages(path: Path, folder: Path) -> dict[str, Any]:
    """Return seconds and groups per second of each stage, and the peak of the resident memory."""
    from plaudit.config import Config
    from plaudit.data.audit.duplicates import similar_prompts
    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.mixing.mixture import build_mixture
    from plaudit.data.reading.read import read_groups

    done: dict[str, Any] = {}

    def timed(stage: str, work: Any) -> Any:
        began = time.perf_counter()
        result = work()
        done[stage] = round(time.perf_counter() - began, 2)
        return result

    cache = folder / "cache"
    groups = timed("read", lambda: read_groups(path, cache_dir=cache))
    part = {"name": "part", "files": [{"path": str(path)}], "rules": PART_RULES}
    said = {"name": "bench", "parts": [part], "rules": RULES, "split": {"type": "prompts", "share": 0.05}}
    config: Config = MixtureConfig.model_validate(said)
    mixture = timed("rules, draw, split, fingerprint", lambda: build_mixture(config, cache_dir=cache))
    timed("a second building (cache hit)", lambda: build_mixture(config, cache_dir=cache))
    timed("near duplicates", lambda: similar_prompts(mixture.sets["train"]))
    done["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    done["groups"], done["kept"] = len(groups), sum(split.groups for split in mixture.report.splits)
    done["fingerprint"] = mixture.report.fingerprint
    return done


def peer(path: Path, folder: Path) -> dict[str, Any]:
    """Return the seconds that ``datasets`` takes to read the file and to map one plain function over it."""
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    def with_mean(row: dict[str, Any]) -> dict[str, Any]:
        ratings = row["ratings"]
        pairs = zip(ratings["helpfulness"], ratings["correctness"], strict=True)
        return {"mean": [(first + second) / 2 for first, second in pairs]}

    disable_progress_bar()
    began = time.perf_counter()
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "peer"))
    read = time.perf_counter() - began
    rows.map(with_mean)
    seconds = time.perf_counter() - began
    return {
        "read": round(read, 2),
        "map": round(seconds - read, 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def measured(count: int) -> dict[str, Any]:
    """Return what a fresh process measured for each side at one size."""
    found: dict[str, Any] = {"groups": count}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rated.jsonl"
        write_rated(path, count)
        found["file_mb"] = path.stat().st_size // 2**20
        for side in ("plaudit", "datasets"):
            command = [sys.executable, __file__, "--side", side, str(path), name]
            finished = subprocess.run(command, capture_output=True, text=True, check=True)
            found[side] = json.loads(finished.stdout.splitlines()[-1])
    ours = found["plaudit"]
    spent = [ours["read"], ours["rules, draw, split, fingerprint"], ours["near duplicates"]]
    found["groups_per_second"] = round(count / sum(spent))
    found["peer_groups_per_second"] = round(count / (found["datasets"]["read"] + found["datasets"]["map"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        side, path, folder = args.side
        print(json.dumps((stages if side == "plaudit" else peer)(Path(path), Path(folder))))
        return
    sizes = [measured(count) for count in args.groups]
    for each in sizes:
        each["time_per_group_beside_smallest"] = round(sizes[0]["groups_per_second"] / each["groups_per_second"], 2)
    text = json.dumps({"benchmark": "mixture", "sizes": sizes} | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
