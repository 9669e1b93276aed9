"""Reads generated preference pairs in a fresh process and prints rows per second and peak memory as JSON.

Run: python benchmarks/data_scale.py [--rows 1000000] [--num-proc 1]
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
from pathlib import Path

_READER = """
import json, resource, sys, time
from pathlib import Path
from plaudit.data.reading.read import read_groups

def main():
    path, cache, num_proc = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    started = time.perf_counter()
    groups = read_groups(path, cache_dir=cache, num_proc=num_proc)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    fingerprint = groups.fingerprint
    fingerprint_seconds = time.perf_counter() - started
    started = time.perf_counter()
    streamed = sum(1 for _ in groups)
    stream_seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({
        "rows": groups.report.rows, "groups": streamed, "seconds": seconds, "peak_rss_bytes": peak,
        "fingerprint": fingerprint, "fingerprint_seconds": fingerprint_seconds,
        "stream_seconds": stream_seconds,
    }))

if __name__ == "__main__":
    main()
"""


def write_pairs(path: Path, rows: int, seed: int) -> None:
    """Write ``rows`` short explicit preference pairs of random words, with distinct sides."""
    draw = random.Random(seed)
    words = [start + end for start in ("ba", "ko", "li", "mu", "te") for end in ("n", "ra", "sto", "vi")]
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            prompt, chosen, rejected = (" ".join(draw.choices(words, k=draw.randint(5, most))) for most in (20, 30, 30))
            row = {"prompt": f"{prompt} {number}?", "chosen": f"{chosen}.", "rejected": f"{rejected}!"}
            file.write(json.dumps(row) + "\n")


def read_in_fresh_process(path: Path, cache: Path, num_proc: int) -> dict[str, float | int | str]:
    """Return what a new interpreter measured when it read ``path`` with the cache ``cache``."""
    script = cache.parent / "reader.py"
    script.write_text(_READER, encoding="utf-8")
    command = [sys.executable, str(script), str(path), str(cache), str(num_proc)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(rows: int, num_proc: int, folder: Path, seed: int = 0) -> dict[str, object]:
    """Return the figures of a first reading and of a second one that finds the cache."""
    path, cache = folder / f"pairs_{rows}.jsonl", folder / "cache"
    cache.mkdir(parents=True)
    write_pairs(path, rows, seed)
    first = read_in_fresh_process(path, cache, num_proc)
    second = read_in_fresh_process(path, cache, num_proc)
    if first["fingerprint"] != second["fingerprint"]:
        raise RuntimeError("the cached reading differs from the first one")
    return {
        "rows": rows,
        "groups": first["groups"],
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "num_proc": num_proc,
        "rows_per_second": round(rows / float(first["seconds"])),
        "peak_rss_mb": round(float(first["peak_rss_bytes"]) / 1e6),
        "cache_hit_seconds": round(float(second["seconds"]), 3),
        "cache_hit_peak_rss_mb": round(float(second["peak_rss_bytes"]) / 1e6),
        "fingerprint_seconds": round(float(first["fingerprint_seconds"]), 4),
        "groups_streamed_per_second": round(rows / float(first["stream_seconds"])),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--num-proc", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments.rows, arguments.num_proc, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
