"""Small real models on real benchmarks, in one command: train them where they are not there, measure, report.

    PLAUDIT_DATA=… python benchmarks/real_run.py --out runs/real

Two models on the 22.7 M encoder of recipes/hh_minilm_*, at 512 tokens, the most it has positions for: a Bradley–Terry
model of hh-rlhf's helpful-base, and a process model of BIG-Bench-Mistake's traces. The first is measured on LLMBar,
RM-Bench, JudgeBench and RMB by one ``plaudit evaluate``, with responses that are too long cut at their ends, as padded
pipelines do, and counted; the second on ProcessBench, where a chain that is too long fails. One ``plaudit report``
draws it all. A second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import describe

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks/results/real_run.json"
LENGTH = 512
PAIRS = {"llmbar": "llmbar", "rm_bench": "rm_bench", "judgebench": "judgebench", "rmb": "rmb"}
"""Benchmark → folder below ``benchmarks`` of the data."""


def run(*arguments: str) -> None:
    """Run ``plaudit`` with ``arguments``.

    Raises:
        SystemExit: where it failed; its own message stands above.
    """
    print("plaudit", *arguments, flush=True)
    done = subprocess.run([sys.executable, "-m", "plaudit", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def trained(recipe: str, folder: Path, threads: int) -> Path:
    """Return the run of ``recipe`` at 512 tokens in ``folder``: trained now where it is not there, or gone on with."""
    record = folder / "run.json"
    if record.exists() and json.loads(record.read_text(encoding="utf-8"))["status"] == "finished":
        return folder
    again = ("--resume",) if folder.exists() else ()
    changes = (f"model.max_length={LENGTH}", f"step.threads={threads}")
    run("train", str(ROOT / "recipes" / recipe / "config.yaml"), *changes, "--run-dir", str(folder), *again)
    return folder


def figures_of(folder: Path) -> dict[str, Any]:
    """Return what the table shows of a result: the official figures with baselines, what was cut, what not scored."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    kept = ("n", "scored", "unscored", "failed", "tie_rule")
    found: dict[str, Any] = {key: result[key] for key in kept}
    found["cut"] = {name: count for name, count in result["details"].items() if "trunca" in name}
    measure = result["measures"][0]
    return found | {key: measure[key] for key in ("primary", "metrics", "baselines", "absent", "details", "rules")}


def main() -> None:
    """Train, measure, report, and write the result file where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the models, the results and the report")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    data = Path(os.environ.get("PLAUDIT_DATA") or ROOT.parent / "shared/data")
    if not data.is_dir():
        raise SystemExit(f"{data}: not a folder; set PLAUDIT_DATA to the folder of hh_rlhf, benchmarks, …")
    os.environ |= {"PLAUDIT_DATA": str(data), "OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    out = arguments.out
    pairs = trained("hh_minilm_helpful_base", out / "helpful_base", arguments.threads)
    steps = trained("bbm_process", out / "bbm_process", arguments.threads)
    targets = [f"{name}={data / 'benchmarks' / folder}" for name, folder in PAIRS.items()]
    cut = ("--truncation", "truncate_response")
    run("evaluate", str(pairs), *targets, *cut, "-o", str(out / "results/helpful_base"))
    process = f"processbench={data / 'benchmarks/processbench'}"
    run("evaluate", str(steps), process, "-o", str(out / "results/bbm_process"))
    folders = sorted(path.parent for path in (out / "results").rglob("result.json"))
    run("report", *map(str, folders), "-o", str(out / "report.html"))
    found = {
        "benchmark": "real_run",
        "max_length": LENGTH,
        "results": {folder.name: figures_of(folder) for folder in folders},
        **describe(),
    }
    if arguments.write:
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, each in found["results"].items():
        print(name, each["primary"], each["metrics"].get(each["primary"]), f"scored {each['scored']} of {each['n']}")


if __name__ == "__main__":
    main()
