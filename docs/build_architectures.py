"""Writes docs/reference/architectures.md from benchmarks/results/architectures.json.

``python benchmarks/architectures.py --out benchmarks/results/architectures.json`` makes the results anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "architectures.md"
RESULT = ROOT / "benchmarks" / "results" / "architectures.json"
HEADER = """# Architectures

What plaudit does with the model types of transformers {transformers}, tried on {date} with tiny random models in
float32 on a CPU: a base model was saved, a reward model made on it, saved and loaded again. The columns `padded`,
`packed` and `shared prefix` hold the largest deviation of a reward from that of its conversation alone, relative to the
spread of the rewards; a layout with a deviation is one that plaudit takes, `–` one that it refuses. `reloaded` is the
deviation after saving and loading. A class in *italics* is one of plaudit's own, since transformers has none: plaudit
loads it, the AutoModel classes of transformers and TRL do not. A tiny model shows what the code does, not what the
weights of a published model are worth.

This page is made by `python docs/build_architectures.py`.

"""
REFUSED = """
## Not readable

| model type | head | reason |
|---|---|---|
"""
NO_CONFIG = """
## Not tried: no tiny config

Of these no small random model could be made within the limits of time and memory: their configs take sizes that the
benchmark does not know, or parts that are not installed. That says nothing about the models.

"""
NOT_REACHED = """
## Not tried: not reached

"""
UNREACHED = "not reached"


def render(result: dict[str, Any]) -> str:
    """Return the page."""
    machine, rows = result["machine"], result["architectures"]
    known = set(result["classes"])
    tried = [(row["type"], head, row[head]) for row in rows for head in ("sequence", "language_model") if head in row]
    good = [each for each in tried if "reloaded" in each[2]]
    bad = [each for each in tried if "reloaded" not in each[2]]
    lines = [HEADER.format(transformers=machine["versions"]["transformers"], date=machine["date"])]
    lines.append("| model type | class | padded | packed | shared prefix | reloaded | taken by `auto` |\n")
    lines.append("|---|---|--:|--:|--:|--:|---|\n")
    lines += [_row(name, found, known) for name, _, found in good]
    lines.append(REFUSED)
    lines += [f"| {name} | {head.replace('_', ' ')} | {_reason(found)} |\n" for name, head, found in bad]
    for title, is_reached in ((NO_CONFIG, True), (NOT_REACHED, False)):
        names = [
            f"`{row['type']}`" for row in rows if "not made" in row and (row["not made"] != UNREACHED) == is_reached
        ]
        lines += [title, ", ".join(names) + ".\n"] if names else []
    return "".join(lines)


def _row(name: str, found: dict[str, Any], known: set[str]) -> str:
    kind = found["class"] if found["class"] in known else f"*{found['class']}*"
    proofs = {"padded": "exact", "packed": found["packed proof"], "shared_prefix": found["shared_prefix proof"]}
    cells = [_number(found[layout]) if proof == "exact" else "–" for layout, proof in proofs.items()]
    return f"| {name} | {kind} | {' | '.join(cells)} | {_number(found['reloaded'])} | {found['auto']} |\n"


def _number(value: object) -> str:
    return f"{value:.0e}" if isinstance(value, float) else "–"


def _reason(found: dict[str, Any]) -> str:
    words = str(found.get("refused") or found.get("crashed") or "").strip()
    return words.replace("|", "/").replace("/base", "it").replace("\n", " ")[:240]


if __name__ == "__main__":
    PAGE.write_text(render(json.loads(RESULT.read_text(encoding="utf-8"))), encoding="utf-8")
