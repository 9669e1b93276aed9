"""Checks that files and functions stay small and that no module has a name without a meaning."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def complaints(root: Path) -> list[str]:
    """Return one line for each file, function or module name under ``root`` that breaks a rule."""
    found = []
    for path in sorted(root.rglob("*.py")):
        where = path.relative_to(root)
        if EMPTY_NAMES & {part.removesuffix(".py") for part in where.parts}:
            found.append(f"{where}: a module is named after what it holds, never {', '.join(sorted(EMPTY_NAMES))}")
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MAX_FILE_LINES:
            found.append(f"{where}: {lines} lines; at most {MAX_FILE_LINES}")
        for node in ast.walk(ast.parse(text, filename=str(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    found.append(f"{where}:{node.lineno}: {node.name} has {length} lines; at most {MAX_FUNCTION_LINES}")
    return found


if __name__ == "__main__":
    lines = complaints(Path(__file__).resolve().parents[1] / "src")
    print("\n".join(lines) if lines else "sizes: every file and function is small enough")
    sys.exit(bool(lines))
