"""Writes the table of docs/how_to/other_tools.md, one reward by every door: ``python docs/build_doors.py``.

It trains a tiny decoder and a tiny encoder, asks each door of ``tests/invariance/doors.py`` for the same rewards, and
takes about a minute. ``tests/invariance/test_one_number.py`` holds every difference to 1e-5, and the page to the doors.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "how_to" / "other_tools.md"
VLLM = ROOT / "benchmarks" / "results" / "vllm_parity.json"
BEGIN, END = "<!-- doors: begin -->\n", "<!-- doors: end -->\n"


def table() -> str:
    """Return the table: doors by kinds of model, the largest difference of a reward from that in Python."""
    sys.path.insert(0, str(ROOT))
    from tests.invariance.doors import KINDS, differences, trained

    with tempfile.TemporaryDirectory() as folder:
        found = {kind: differences(trained(kind, Path(folder) / kind)) for kind in KINDS}
    lines = [f"| door | {' | '.join(KINDS)} |", f"|---|{'--:|' * len(KINDS)}"]
    for door in found[KINDS[0]]:
        lines.append(f"| {door} | {' | '.join(f'{found[kind][door]:.0e}' for kind in KINDS)} |")
    server = json.loads(VLLM.read_text(encoding="utf-8"))
    largest = [f"{max(server[kind]['largest'].values()):.0e}" for kind in KINDS]
    version = server[KINDS[0]]["vllm"]
    lines.append(
        f"| vLLM {version}, messages and rendered texts (`benchmarks/vllm_parity.py`) | {' | '.join(largest)} |"
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table between its marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
