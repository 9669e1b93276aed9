"""Write the tables of measured figures into README.md from the result files, so that no number is typed.

    python docs/build_figures.py

Sources: ``benchmarks/results/*.json`` (speed) and ``recipes/*/result.json`` (accuracy). The text between the markers
``<!-- figures:NAME -->`` and ``<!-- /figures:NAME -->`` is replaced.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TASKS = {
    "hh": "pairs with the lengths of hh-rlhf",
    "k4": "K = 4 responses, all six pairs",
    "long": "best of 16, prompts of 400 tokens",
    "short": "best of 16, prompts of 25 tokens",
}


def results(kind: str) -> list[dict[str, Any]]:
    """Return the speed results of a kind, in the order of their file names."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "benchmarks/results").glob("*.json"))
    ]
    return [each for each in found if each["benchmark"] == kind]


def training_table() -> str:
    """Return training speed beside TRL."""
    rows = [
        "| task | model | precision | plaudit, pairs/s | TRL, pairs/s | ratio | time ÷ bound |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for each in results("training"):
        median = each["median_pairs_per_second"]
        ratio = each["ratio_to_trl"]["shared_prefix"]
        rows.append(
            f"| {TASKS[each['task']]} | {each['shape']} | {each['precision']} | {median['shared_prefix']:.1f} "
            f"| {median['trl']:.1f} | **{ratio:.1f}×** | {each['seconds_over_bound']:.2f} |"
        )
    return "\n".join(rows)


def scoring_table() -> str:
    """Return scoring speed beside transformers."""
    rows = [
        "| task | model | plaudit, s | sorted, s | pipeline, s | ratio to sorted | to pipeline | time ÷ bound |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for each in results("scoring"):
        median = each["median_seconds"]
        rows.append(
            f"| {TASKS[each['task']]} | {each['shape']} | {median['plaudit']:.2f} | {median['padded_sorted']:.2f} "
            f"| {median['pipeline']:.2f} | **{each['ratio_to_padded_sorted']:.1f}×** "
            f"| {each['ratio_to_pipeline']:.1f}× | {each['seconds_over_bound']:.2f} |"
        )
    return "\n".join(rows)


def scale_table() -> str:
    """Return the stages of the scale benchmark."""
    rows = ["| stage | rows/s | resident memory, MB |", "|---|--:|--:|"]
    for each in results("scale"):
        rows += [
            f"| {stage['stage']} ({each['pairs']:,} pairs) | {stage['rows_per_second']:,} | {stage['rss_mb']:,} |"
            for stage in each["stages"]
        ]
    return "\n".join(rows)


def tree_table() -> str:
    """Return what the tree saves on samples of one policy."""
    rows = ["| layout | tokens | seconds | tree is faster by |", "|---|--:|--:|--:|"]
    names = {"tree": "prefix tree", "one_trunk": "one trunk", "separate": "separate sequences"}
    for each in results("tree"):
        median = each["median_seconds"]
        rows += [
            f"| {words} | {each['tokens'][name]:,} | {median[name]:.2f} | {median[name] / median['tree']:.2f}× |"
            for name, words in names.items()
        ]
    return "\n".join(rows)


def accuracy_table() -> str:
    """Return held-out accuracy of every recipe with a result, overall and by source."""
    rows = ["| recipe | held-out pairs | accuracy (95 % interval) | longer response wins |", "|---|--:|---|---|"]
    for path in sorted(ROOT.glob("recipes/*/result.json")):
        found = json.loads(path.read_text(encoding="utf-8"))["held_out"]
        name = path.parent.name
        cells = _cells(found["figures"], found["baselines"])
        rows.append(f"| [{name}](recipes/{name}) | {found['figures']['accuracy']['n']} | {cells} |")
        if len(found["slices"]) > 1:
            rows += [
                f"| · {source} | {figures['accuracy']['n']} | {_cells(figures, figures)} |"
                for source, figures in found["slices"].items()
            ]
    return "\n".join(rows)


def _cells(figures: dict[str, Any], baselines: dict[str, Any]) -> str:
    return f"{_interval(figures['accuracy'])} | {_interval(baselines['longer_response'])}"


def _interval(found: dict[str, Any]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def fill(text: str) -> str:
    """Return ``text`` with every table between its markers made anew."""
    tables = {
        "training": training_table,
        "scoring": scoring_table,
        "scale": scale_table,
        "tree": tree_table,
        "accuracy": accuracy_table,
    }
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- figures:{name} -->\n).*?(<!-- /figures:{name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, table=table: f"{match[1]}{table()}\n{match[2]}", text)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(fill(readme.read_text(encoding="utf-8")), encoding="utf-8")
