"""Near-duplicate prompts among up to a million groups, benchmark prompts planted in 200,000, and a whole audit.

    python benchmarks/bench_audit.py --out benchmarks/results/audit.json

Each measurement is a fresh process that reads a generated file through the cache, and times only the search. 5 % of the
prompts are copies of another with one word of sixty changed (Jaccard similarity 55 ÷ 61), 3 % are exact copies. Peak
memory is that of the whole process, the reading included; load is the machine's load average over the minute before.
Where other work shares the cores, ``cpu_seconds`` tells what the search itself took.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORDS = 60
NEAR, EXACT = 20, 33
"""Every 20th prompt is nearly one of the 100 before it, every 33rd is one."""
KINDS = ("duplicates", "contamination", "audit")


def write_groups(path: Path, rows: int, planted: dict[int, str]) -> dict[int, int]:
    """Write ``rows`` preference pairs; return, for each near copy, the row it is a copy of.

    A row in ``planted`` has that text in the middle of its prompt.
    """
    draw = random.Random(0)
    words = [start + middle + end for start in "bdfgklmnprst" for middle in "aeiou" for end in ("n", "ra", "sto", "vi")]
    recent: list[str] = []
    near: dict[int, int] = {}
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            texts = draw.choices(words, k=WORDS)
            other = row - 1 - draw.randrange(100)
            if row > 100 and row % NEAR == 0:
                texts = recent[other % 101].split(" ")
                texts[10 + draw.randrange(WORDS - 20)] = f"changed{row}"
                near[row] = other
            elif row > 100 and row % EXACT == 0:
                texts = recent[other % 101].split(" ")
            if len(recent) <= 100:
                recent.append(" ".join(texts))
            else:
                recent[row % 101] = " ".join(texts)
            if row in planted:
                texts[WORDS // 2 : WORDS // 2] = planted[row].split(" ")
            sides = (" ".join(draw.choices(words, k=draw.randint(5, 40))) for _ in range(2))
            record = {"prompt": " ".join(texts), **dict(zip(("chosen", "rejected"), sides, strict=True))}
            file.write(json.dumps(record) + "\n")
    return near


def benchmark_prompts(count: int) -> list[str]:
    """Return ``count`` prompts of 6 to 80 words that no other row holds."""
    draw = random.Random(1)
    return [" ".join(f"item{draw.randrange(5000)}" for _ in range(draw.randint(6, 80))) for _ in range(count)]


def measure(kind: str, rows: int, folder: Path) -> dict[str, Any]:
    """Return what one search over ``rows`` groups took and found."""
    from plaudit.data.audit.contamination import BenchmarkPrompt, find_contamination
    from plaudit.data.audit.duplicates import similar_prompts
    from plaudit.data.audit.run import audit_groups
    from plaudit.data.reading.read import read_groups

    texts = benchmark_prompts(1000)
    places = random.Random(2).sample(range(rows), 500)
    planted = dict(zip(places, texts[:500], strict=True)) if kind == "contamination" else {}
    path = folder / "pairs.jsonl"
    near = write_groups(path, rows, planted)
    groups = read_groups(path, cache_dir=folder / "cache")
    load = os.getloadavg()[0]
    began, worked = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    if kind == "duplicates":
        clusters = similar_prompts(groups)
        joined = sum(int(clusters.near[row] == clusters.near[other]) for row, other in near.items())
        found = {
            "near_planted": len(near),
            "near_found": joined,
            "clusters": int(clusters.near.max()) + 1,
            "uncompared": clusters.uncompared,
        }
    elif kind == "contamination":
        prompts = [BenchmarkPrompt("planted", str(number), text) for number, text in enumerate(texts)]
        matches = find_contamination(groups, prompts).matches
        expected = {(row, str(number)) for number, row in enumerate(places)}
        hits = {(match.row, match.place) for match in matches}
        found = {"planted": len(expected), "found": len(hits & expected), "others": len(hits - expected)}
    else:
        report = audit_groups(groups)
        found = {"findings": len(report.findings), "alarms": [finding.name for finding in report.of("alarm")]}
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "kind": kind,
        "groups": rows,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "groups_per_second": round(rows / seconds),
        "peak_rss_mb": peak // 2**20,
        "load": round(load, 2),
        **found,
    }


def in_fresh_process(kind: str, rows: int) -> dict[str, Any]:
    """Return the figures of ``measure`` in a new interpreter."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, __file__, "--child", kind, str(rows), name]
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[250_000, 500_000, 1_000_000])
    parser.add_argument("--contamination-rows", type=int, default=200_000)
    parser.add_argument("--audit-rows", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        kind, rows, folder = args.child
        print(json.dumps(measure(kind, int(rows), Path(folder))))
        return
    from machine import describe

    measured = [in_fresh_process("contamination", args.contamination_rows), in_fresh_process("audit", args.audit_rows)]
    measured += [in_fresh_process("duplicates", rows) for rows in args.rows]
    text = json.dumps({"benchmark": "audit", "cores": os.cpu_count(), "measured": measured} | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
