"""Check that the house keeps its size: files, functions, shelves, class names, lines of code.

Raise a ceiling below only with its reason beside it.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_SHELF_FILES = 12
COLLECTIONS = {"sources", "benchmarks", "cli"}
"""Folders in which every file is one of a kind: a source, a benchmark, a verb."""
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
MAX_FILES = 280
MAX_CODE_LINES = 35_500
"""Lines of code of the package, without blanks, comments and docstrings: 32,634 in 336 files before the journal, jobs,
opening and the contract suites came, 30,006 when the house was mended. Since then: readers of users' own files 1,100,
training from a file, `best`, `push`, TRL's classes and the Python door 1,500, classes and proofs of architectures 700,
the browser of items 300, locks, markers and hashes of outputs 700, intervals and step classes 500, recipes 400."""
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    where: Path
    text: str
    tree: ast.Module

    @property
    def code_lines(self) -> int:
        """Return the number of lines that hold code: neither blank nor comment nor docstring."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in _NO_CODE:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            value = node.value if isinstance(node, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                lines.difference_update(range(value.lineno, (value.end_lineno or value.lineno) + 1))
        return len(lines)

    def complaints(self) -> Iterator[str]:
        """Yield what is too long or badly named in this file."""
        if EMPTY_NAMES & {part.removesuffix(".py") for part in self.where.parts}:
            names = ", ".join(sorted(EMPTY_NAMES))
            yield f"{self.where}: a module is named after what it holds, never {names}"
        lines = self.text.count("\n")
        if lines > MAX_FILE_LINES:
            yield f"{self.where}: {lines} lines; at most {MAX_FILE_LINES}"
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    yield f"{self.where}:{node.lineno}: {node.name} has {length} lines; at most {MAX_FUNCTION_LINES}"


def read_modules(root: Path) -> list[Module]:
    """Return every file under ``root``."""
    texts = {path.relative_to(root): path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}
    return [Module(where, text, ast.parse(text, filename=str(where))) for where, text in texts.items()]


def complaints(root: Path, *, max_files: int = MAX_FILES, max_code_lines: int = MAX_CODE_LINES) -> list[str]:
    """Return one line for each file, function, shelf or class name under ``root`` that breaks a rule."""
    modules = read_modules(root)
    found = [line for module in modules for line in module.complaints()]
    shelves = Counter(module.where.parent for module in modules if module.where.name != "__init__.py")
    found += [
        f"{shelf}: {count} files on one shelf; at most {MAX_SHELF_FILES}"
        for shelf, count in sorted(shelves.items())
        if count > MAX_SHELF_FILES and shelf.name not in COLLECTIONS
    ]
    classes = defaultdict(list)
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[node.name].append(str(module.where))
    found += [f"{name} is a public class of {' and '.join(files)}" for name, files in classes.items() if len(files) > 1]
    if len(modules) > max_files:
        found.append(f"{len(modules)} files; at most {max_files}")
    lines = sum(module.code_lines for module in modules)
    if lines > max_code_lines:
        found.append(f"{lines} lines of code; at most {max_code_lines}")
    return found


if __name__ == "__main__":
    source = Path(__file__).resolve().parents[1] / "src"
    broken = complaints(source)
    modules = read_modules(source)
    total = f"{sum(module.code_lines for module in modules):,} lines of code in {len(modules)} files"
    print("\n".join(broken) if broken else f"sizes: {total}, within their bounds")
    sys.exit(bool(broken))
