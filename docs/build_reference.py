"""Writes docs/reference/config.md from the config classes: ``python docs/build_reference.py``.

A field is documented once, by the string under it in the code. A test holds page and classes together. The list of
public data sets in docs/reference/data_formats.md is made from the catalogue in the same way.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from plaudit.data.reading.sources.formats import SOURCES
from plaudit.data.reading.sources.source import Source

PAGE = Path(__file__).resolve().parent / "reference" / "config.md"
SOURCES_PAGE = PAGE.with_name("data_formats.md")
SOURCES_MARK = "<!-- made by python docs/build_reference.py -->\n"
HEADER = """# Config

Every key of a training config, with its default. A key is required where no default is shown. On the command
line the same keys change a config, with their sections before them: `plaudit train c.yaml optim.lr=1e-6`. The
configs of other verbs stand at the end.

This page is made from the config classes by `python docs/build_reference.py`.
"""
NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", Any: "anything"}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤", "min_length": "length ≥", "max_length": "length ≤"}


def render(cls: type[BaseModel], **verbs: type[BaseModel]) -> str:
    """Return the page about ``cls``: a section for it and for every config class below it.

    The configs of further ``verbs`` follow; a class that has a section already gets no other.
    """
    shown: dict[type[BaseModel], list[str]] = {}
    for path, each in _classes("", cls):
        shown.setdefault(each, []).append(path.removesuffix("."))
    sections = [_section(found, each) for each, found in shown.items()]
    for verb, root in verbs.items():
        paths: dict[type[BaseModel], list[str]] = {}
        for path, each in _classes("", root):
            if each not in shown:
                paths.setdefault(each, []).append(path.removesuffix("."))
        sections += [_section(found, each, verb) for each, found in paths.items()]
        shown |= paths
    return "\n".join([HEADER, *sections])


def _classes(path: str, cls: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield ``cls`` and the classes below it, each with the dotted path of its keys."""
    yield path, cls
    for name, field in cls.model_fields.items():
        is_list, members = _members(field.annotation)
        for member in members:
            if _is_model(member):
                yield from _classes(f"{path}{name}{'.N' if is_list else ''}.", member)


def _section(paths: list[str], cls: type[BaseModel], verb: str | None = None) -> str:
    keys = ", ".join(f"`{path}`" for path in paths if path)
    tag = cls.model_fields.get("type")
    kind = get_args(tag.annotation) if tag is not None and get_origin(tag.annotation) is Literal else ()
    variant = f", `type: {kind[0]}`" if kind else ""
    top = f"{keys}{variant}" if keys else "Top level"
    lines = [
        f"## {top}" if verb is None else f"## `plaudit {verb}`: {top[0].lower()}{top[1:]}",
        "",
        inspect.cleandoc(cls.__doc__ or "").replace("``", "`"),
        "",
    ]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        about = " ".join((field.description or "").replace("``", "`").split())
        lines.append(f"| `{name}` | {_cell(_value(field))} | {_cell(_default(field))} | {_cell(about)} |")
    return "\n".join([*lines, ""])


def _members(annotation: Any) -> tuple[bool, list[Any]]:
    """Return whether the annotation is a list, and the members of its union."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        found = [_members(argument) for argument in get_args(annotation)]
        return any(is_list for is_list, _ in found), [member for _, members in found for member in members]
    if get_origin(annotation) in (tuple, list):
        return True, _members(get_args(annotation)[0])[1]
    if get_origin(annotation) is dict:
        return False, _members(get_args(annotation)[1])[1]
    return False, [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _value(field: FieldInfo) -> str:
    return ", ".join([_named(field.annotation), *_limits(tuple(field.metadata))])


def _named(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return ", ".join([_named(arguments[0]), *_limits(arguments[1:])])
    if origin in (Union, types.UnionType):
        names = list(dict.fromkeys(_named(argument) for argument in arguments))
        return " or ".join(sorted(names, key=lambda name: name == "null"))
    if origin is Literal:
        return ", ".join(f"`{argument}`" for argument in arguments)
    if origin in (tuple, list):
        return f"list of {_named(arguments[0])}".replace("of section", "of sections")
    if origin is dict:
        return f"{_named(arguments[0])}: {_named(arguments[1])}"
    if annotation in (None, types.NoneType):
        return "null"
    return "section" if _is_model(annotation) else NAMES[annotation]


def _limits(metadata: tuple[Any, ...]) -> list[str]:
    found: list[str] = []
    for bound in metadata:
        parts = bound.metadata if isinstance(bound, FieldInfo) else [bound]
        for part in parts:
            for name, sign in BOUNDS.items():
                limit = getattr(part, name, None)
                if limit is not None:
                    found.append(f"{sign} {limit}")
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, BaseModel):
        tag = getattr(default, "type", None)
        return "the defaults below" if tag is None else f"`type: {tag}`"
    return f"`{json.dumps(to_jsonable_python(default), ensure_ascii=False)}`"


def with_sources(page: str, sources: Sequence[Source]) -> str:
    """Return ``page`` with the table of public data sets after its mark."""
    lines = ["| name | on the hub | format | rows | licence |", "|---|---|---|---|---|"]
    for source in sources:
        place = "".join(f", `{part}`" for part in (source.subset, source.data_dir) if part)
        rows = ", ".join(f"{split} {'?' if count is None else f'{count:,}'}" for split, count in source.rows.items())
        cells = (f"`{source.name}`", f"[{source.hub}]({source.url}){place}", f"`{source.format}`", rows, source.licence)
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    notes = [f"- `{source.name}`: {_cell(source.note)}" for source in sources if source.note]
    citations = [f"- {', '.join(names)}: {citation}." for citation, names in _cited(sources).items()]
    parts = [*lines, "", "Notes", "", *notes, "", "Sources", "", *citations]
    return page.split(SOURCES_MARK)[0] + SOURCES_MARK + "\n" + "\n".join(parts) + "\n"


def _cited(sources: Sequence[Source]) -> dict[str, list[str]]:
    cited: dict[str, list[str]] = {}
    for source in sources:
        cited.setdefault(source.citation, []).append(f"`{source.name}`")
    return cited


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    from plaudit.labeling.config import SemiSupervisedConfig
    from plaudit.training.config import TrainConfig

    PAGE.write_text(render(TrainConfig, ssrm=SemiSupervisedConfig), encoding="utf-8")
    SOURCES_PAGE.write_text(
        with_sources(SOURCES_PAGE.read_text(encoding="utf-8"), tuple(SOURCES.values())), encoding="utf-8"
    )
