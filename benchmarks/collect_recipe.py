"""Put the measured result of a recipe beside its config.

    python benchmarks/collect_recipe.py RUN_DIR recipes/NAME

Reads the run's record and its held-out evaluation, and writes ``recipes/NAME/result.json``: what was trained on (with
every dropped row counted by reason), what came out (with intervals and baselines), on what and in how long. Paths and
rows of the data stay out of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from plaudit.records import write_json

_COUNTS = ("n", "scored", "unscored", "failed")


def collect(run: Path) -> dict[str, Any]:
    """Return the result of a finished run."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    if record["status"] != "finished":
        raise SystemExit(f"{run} is {record['status']}, not finished")
    result = json.loads((run / "eval" / "held_out" / "result.json").read_text(encoding="utf-8"))
    return {
        "recipe": record["name"],
        "date": record["created"][:10],
        "commit": record["commit"],
        "device": record["device"],
        "seconds": round(record["seconds"]),
        "versions": record["versions"],
        "model": record["model"],
        "data": {name: _counts(data) for name, data in record["data"].items()},
        "held_out": {
            **{name: result[name] for name in (*_COUNTS, "tie_rule")},
            "measures": [
                {name: value for name, value in measure.items() if name not in ("absent", "rules", "curves")}
                if measure["kind"] == "preference"
                else measure
                for measure in result["measures"]
            ],
        },
    }


def _counts(data: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in data.items() if name not in ("read", "encoded")}
    read, encoded = data["read"], data["encoded"]
    return kept | {
        "rows": read["rows"],
        "rows_dropped": read["dropped"],
        "groups_dropped": encoded["dropped"],
        "groups_changed": encoded["changed"],
    }


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    write_json(Path(sys.argv[2]) / "result.json", collect(Path(sys.argv[1])))
