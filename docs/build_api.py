"""Writes docs/reference/api.md from the docstrings of ``plaudit.__all__``: ``python docs/build_api.py``.

A test holds page and code together.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import plaudit

PAGE = Path(__file__).resolve().parent / "reference" / "api.md"
HEADER = """# Python

Everything that `import plaudit` promises; other modules may change at any time. This page is made from the docstrings
by `python docs/build_api.py`.

*Data* is a path, several paths, a list of dicts or of `Group`s, a pandas DataFrame or a `datasets.Dataset`. *MODEL* is
a folder, a run, a hub id, `http://…`, `module:function`, `ensemble:RULE:MODEL,MODEL` or `dpo:POLICY,REFERENCE`.
"""
_SECTION = re.compile(r"^(Args|Raises|Returns|Yields):$", re.MULTILINE)


def render() -> str:
    """Return the page: functions, then classes, then errors, each by name."""
    found = {name: getattr(plaudit, name) for name in sorted(plaudit.__all__) if name != "__version__"}
    errors = {name: each for name, each in found.items() if inspect.isclass(each) and issubclass(each, Exception)}
    classes = {name: each for name, each in found.items() if inspect.isclass(each) and name not in errors}
    functions = {name: each for name, each in found.items() if not inspect.isclass(each)}
    lines = [HEADER]
    for title, part in (("Functions", functions), ("Classes", classes)):
        lines.append(f"## {title}\n")
        for name, each in part.items():
            lines += [*(_function(name, each) if title == "Functions" else _class(name, each)), ""]
    lines += [
        "## Errors\n",
        "Every error of plaudit is a `PlauditError` and one line.\n",
        "| error | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{name}` | {_summary(each)} |" for name, each in errors.items()]
    return "\n".join(lines) + "\n"


def _function(name: str, function: Any, level: str = "###") -> Iterator[str]:
    yield f"{level} `{name}`\n"
    yield f"```python\n{_signature(name, function)}\n```\n"
    yield _prose(inspect.getdoc(function) or "")


def _signature(name: str, function: Any) -> str:
    """Return the signature, one parameter on a line where it is long."""
    signature = inspect.signature(function)
    shown: list[str] = []
    for each in signature.parameters.values():
        if each.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        shown.append(_parameter(each))
    returned = signature.return_annotation
    ending = "" if returned is inspect.Signature.empty else f" -> {returned}"
    line = f"{name}({', '.join(shown)}){ending}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {each},\n" for each in shown) + f"){ending}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    kind = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}{kind}{default}"


def _prose(text: str) -> str:
    """Return a Google-style docstring as Markdown: sections in bold, their entries as a list."""
    parts = _SECTION.split(text)
    lines = [_code(parts[0].strip())]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        # An entry begins at the smallest indent; deeper lines go on with it.
        entries: list[str] = []
        for line in inspect.cleandoc("\n" + body.rstrip()).splitlines():
            if line.startswith(" ") and entries:
                entries[-1] += f" {line.strip()}"
            elif line.strip():
                entries.append(line.strip())
        named = (re.sub(r"^([\w, *]+): ", r"`\1`: ", _code(each)) for each in entries)
        lines += ["", f"**{title}**", "", *(f"- {each}" for each in named)]
    return "\n".join(lines)


def _code(text: str) -> str:
    return re.sub(r":math:`([^`]*)`", r"`\1`", text.replace("``", "`"))


def _summary(each: Any) -> str:
    return _code((inspect.getdoc(each) or "").split("\n\n")[0].replace("\n", " "))


def _class(name: str, cls: Any) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield _prose(inspect.getdoc(cls) or "")
    fields = list(_fields(cls))
    if any(about for _, _, about in fields):
        yield "\n| field | type | meaning |\n|---|---|---|"
        yield "\n".join(f"| `{field}` | `{kind}` | {about} |" for field, kind, about in fields)
    elif fields:
        yield "\n| field | type |\n|---|---|"
        yield "\n".join(f"| `{field}` | `{kind}` |" for field, kind, _ in fields)
    members = [(each, member) for each, member in vars(cls).items() if _is_public(each, member)]
    if members:
        yield "\n| member | returns |\n|---|---|"
    for each, member in members:
        inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        call = each if isinstance(member, property) else f"{each}({', '.join(_names(inner))})"
        yield f"| `{call}` | {_cell(_summary(inner))} |"


def _names(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def _is_public(name: str, member: Any) -> bool:
    if name.startswith("_") or name in ("model_config", "of_version_1"):
        return False
    is_method = inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
    inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    return is_method and bool(inspect.getdoc(inner))


def _fields(cls: Any) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and meaning of each field of a record, a config or a dataclass, as they stand in its source."""
    if not (issubclass(cls, BaseModel) or dataclasses.is_dataclass(cls)):
        return
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name) or node.target.id == "version":
            continue
        kind = ast.unparse(_Bare().visit(node.annotation))
        value = after.value if isinstance(after, ast.Expr) else None
        about = str(value.value) if isinstance(value, ast.Constant) else ""
        if not kind.startswith("ClassVar"):
            yield node.target.id, _cell(kind), _cell(_code(" ".join(about.split())))


class _Bare(ast.NodeTransformer):
    """Leaves of ``Annotated[X, …]`` the type X."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
