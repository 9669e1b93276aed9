"""The base of every config, and its loader: YAML, ``key=value`` overrides, one validation, clear errors."""

from __future__ import annotations

import copy
import functools
import importlib
import re
import reprlib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pydantic
import yaml
from pydantic_core import ErrorDetails, to_jsonable_python

from plaudit.errors import ConfigError, closest_or_all

_SHOWN_CHARACTERS = 80
_MOST_DIGITS = 400


class Config(pydantic.BaseModel):
    """Base of every config: frozen, unknown keys refused, defaults checked, described by docstrings."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )


C = TypeVar("C", bound=Config)


def load_config(cls: type[C], path: Path | None, overrides: Sequence[str] = ()) -> C:
    """Return the config of class ``cls`` in the YAML file ``path``, changed by ``overrides``.

    An override is ``key=value``: a dotted key as the file shows it (``optim.lr=3e-6``,
    ``data.train.0.limit=5``) and a YAML value (``null`` clears). An override of a ``type`` comes first,
    wherever it stands, and clears the fields of the variant it replaces. Setting one field of a section that
    the file leaves out keeps the section's other defaults. ``path=None`` starts from the defaults of ``cls``.

    Raises:
        ConfigError: naming the file or the override, the key, the value found and the values allowed.
    """
    data: dict[Any, Any] = {} if path is None else _read(path)
    original = copy.deepcopy(data)
    parsed = [_parse_override(text) for text in overrides]
    types_first = [each for each in parsed if each.keys[-1] == "type"]
    types_first.sort(key=lambda each: len(each.keys))
    for override in [*types_first, *(each for each in parsed if each.keys[-1] != "type")]:
        _apply(cls, data, override)
    try:
        return cls.model_validate(data)
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(cls, data, error, path, original, parsed)) from None


def dump_config(config: Config) -> str:
    """Return ``config`` as YAML with every default written out; ``load_config`` reads it back unchanged."""
    data = config.model_dump(mode="json")
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def import_object(path: str, *, key: str) -> Any:
    """Return the object that ``module:name`` names; ``key`` is where the path stands, for the errors.

    Raises:
        ConfigError: when there is no such module or name.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name or module.startswith("."):
        raise ConfigError(f"{key} is {path!r}; it must have the form my_package.my_module:name")
    try:
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key} is {path!r}, which cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{key} is {path!r}, which fails on import: {type(error).__name__}: {error}") from error


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: ``1e-5`` is a number; ``off``, ``1:30`` and dates are text. No key comes twice."""


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1, YAML 1.2 or ``_Loader`` would not read back as text."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
        seen.add(str(key.value))
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if len(text) > _MOST_DIGITS:
        problem = f"a whole number of {len(text):,} digits; at most {_MOST_DIGITS} are read"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return int(text, 0) if text.lower().startswith(("0x", "0o")) else int(text)


_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
setattr(_Loader, "yaml_implicit_resolvers", dict[str, Any]())  # noqa: B010 - the stubs declare it on instances
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^([tT]rue|TRUE|[fF]alse|FALSE)$"), [*"tTfF"])
_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"^(~|[nN]ull|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"^<<$"), ["<"])
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(f"{_TAG}int", _INT, [*"-+0123456789"])
    _class.add_implicit_resolver(f"{_TAG}float", _FLOAT, [*"-+.0123456789"])
_Loader.add_constructor(f"{_TAG}int", _construct_int)
_Loader.add_constructor(f"{_TAG}map", _construct_mapping)


@dataclass(frozen=True)
class _Override:
    text: str
    keys: tuple[str, ...]
    value: Any


def _parse_override(text: str) -> _Override:
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[^\s.=]+(\.[^\s.=]+)*", key):
        raise ConfigError(f"override {text!r} must have the form key=value, like optim.lr=3e-6")
    if not value.strip():
        raise ConfigError(f"override {text!r} has no value; to clear a field write {key}=null")
    try:
        return _Override(text, tuple(key.split(".")), _load_yaml(value))
    except RecursionError:
        raise ConfigError(f"override {_show(text)}: the value is nested too deeply") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"override {_show(text)}: the value is not YAML: {_yaml_problem(error)}") from None


def _read(path: Path) -> dict[Any, Any]:
    try:
        data = _load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ConfigError(f"{path}: YAML is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{path}{f':{mark.line + 1}' if mark else ''}: {_yaml_problem(error)}") from None
    if data is not None and not isinstance(data, dict):
        raise ConfigError(f"{path}: found {_show(data)}; a config is a mapping of keys to values")
    return data or {}


_MAX_VALUES = 100_000
"""Values of a config with every alias written out: a few lines of aliases of aliases can stand for billions."""


def _load_yaml(text: str) -> Any:
    """Return what YAML text says.

    Raises:
        yaml.YAMLError: for text that is not YAML, an alias inside itself, or more than ``_MAX_VALUES`` values.
        RecursionError: where it is nested too deeply.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _num_values(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _num_values(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return the number of values below ``node``, those of an alias as often as it stands there."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise yaml.composer.ComposerError(None, None, "an alias stands inside itself", node.start_mark)
        return found
    known[id(node)] = None
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [each for pair in node.value for each in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    count = 1 + sum(_num_values(each, known) for each in children)
    if count > _MAX_VALUES:
        problem = f"aliases stand for more than {_MAX_VALUES:,} values; write out what is meant"
        raise yaml.composer.ComposerError(None, None, problem, node.start_mark)
    known[id(node)] = count
    return count


def _yaml_problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _apply(cls: type[Config], data: Any, override: _Override) -> None:
    """Set the override's value in ``data``, opening the sections on the way from their defaults."""
    node: Any = data
    annotation: Any = cls
    for depth, key in enumerate(override.keys[:-1]):
        slot = _slot(node, override, depth)
        if slot == key and key not in node:
            node[key] = _default(annotation, node, key)
        if node[slot] is None:
            node[slot] = dict[str, Any]()
        annotation, node = _child(annotation, node, key), node[slot]
    slot = _slot(node, override, len(override.keys) - 1)
    if slot == "type" and node.get("type") != override.value:
        node.clear()
    node[slot] = override.value


def _slot(node: Any, override: _Override, depth: int) -> int | str:
    """Return the key at ``depth`` as ``node`` takes it: an index of a list, or a key of a section."""
    where, key = ".".join(override.keys[:depth]), override.keys[depth]
    if isinstance(node, dict):
        return key
    if not isinstance(node, list):
        raise ConfigError(f"override {override.text!r}: {where} is {_show(node)}, which has no keys below it")
    if key.isdecimal() and int(key) < len(node):
        return int(key)
    allowed = f"an index from 0 to {len(node) - 1}" if node else "none, for the list is empty"
    raise ConfigError(f"override {override.text!r}: {where} is a list; found {key!r}, allowed: {allowed}")


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, None left out; any other annotation is its own only member."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return [] if annotation in (None, types.NoneType) else [annotation]


def _model(annotation: Any, value: Any) -> type[pydantic.BaseModel] | None:
    """Return the config class that ``value`` is read as: in a union, that whose ``type`` it names, or keys it has."""
    classes = [each for each in _members(annotation) if isinstance(each, type)]
    models = [each for each in classes if issubclass(each, pydantic.BaseModel)]
    if len(models) > 1:
        tagged = [each for each in models if "type" in each.model_fields]
        if isinstance(value, Mapping) and "type" not in value:
            # A section may leave its type to the keys that it has; the variant that has the most of them is meant.
            shared = {each: len(value.keys() & each.model_fields.keys()) for each in tagged}
            return max(shared, key=shared.__getitem__, default=None)
        tag = value.get("type") if isinstance(value, Mapping) else None
        models = [each for each in tagged if tag in get_args(each.model_fields["type"].annotation)]
    return models[0] if models else None


def _child(annotation: Any, value: Any, key: str | int) -> Any:
    """Return the annotation of the child at ``key`` of a ``value`` with ``annotation``; None if unknown."""
    model = _model(annotation, value)
    if model is not None:
        field = model.model_fields.get(str(key))
        return None if field is None else field.annotation
    arguments = [get_args(each) for each in _members(annotation) if get_args(each)]
    return None if not arguments else arguments[0][-1 if isinstance(value, Mapping) else 0]


def _default(annotation: Any, value: Any, key: str) -> Any:
    model = _model(annotation, value)
    field = None if model is None else model.model_fields.get(key)
    if field is None or field.is_required():
        return None
    return to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))


def _explain(
    cls: type[Config],
    data: Any,
    error: pydantic.ValidationError,
    path: Path | None,
    original: Any,
    overrides: Sequence[_Override],
) -> str:
    """Return one line for each wrong key: where it was written, the key, the value found, the values allowed."""
    problems: dict[str, list[str]] = {}
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and _is_about_an_item(detail, details):
            continue
        keys, section = _locate(cls, data, detail)
        found, allowed = _problem(detail, section)
        origin = _origin(keys, path, original, overrides)
        what = ": ".join(part for part in (origin, ".".join(keys), found) if part)
        problems.setdefault(what, []).append(allowed)
    lines = [f"{what}; {' or '.join(dict.fromkeys(allowed))}" for what, allowed in problems.items()]
    return lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems in the config:", *lines])


def _is_about_an_item(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Return whether a list is too short only because a wrong item, which has a line of its own, was left out."""
    depth = len(detail["loc"])
    return any(each["loc"][:depth] == detail["loc"] and len(each["loc"]) > depth for each in details)


def _locate(cls: type[Config], data: Any, detail: ErrorDetails) -> tuple[list[str], type[pydantic.BaseModel] | None]:
    """Return the keys as the file shows them (pydantic adds names of union members) and the section."""
    annotation: Any = cls
    value = data
    section = _model(annotation, value)
    keys: list[str] = []
    parts = list(detail["loc"])
    while parts:
        if len(_members(annotation)) > 1:
            parts.pop(0)
            if not parts:
                break
        key = parts.pop(0)
        section = _model(annotation, value)
        annotation = _child(annotation, value, key)
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key] if key < len(value) else None
        keys.append(str(key))
    if detail["type"].startswith("union_tag"):
        keys.append("type")
    return keys, section


def _origin(keys: Sequence[str], path: Path | None, original: Any, overrides: Sequence[_Override]) -> str:
    """Return the override that set the value at ``keys``, or opened a section there; else the file."""
    for override in reversed(overrides):
        shared = min(len(keys), len(override.keys))
        is_below = shared == len(override.keys)
        if tuple(keys[:shared]) == override.keys[:shared] and (is_below or not _holds(original, keys)):
            return f"override {override.text!r}"
    return "" if path is None else str(path)


def _holds(data: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        children = {str(index): child for index, child in enumerate(data)} if isinstance(data, list) else data
        if not isinstance(children, dict) or key not in children:
            return False
        data = children[key]
    return True


def _problem(detail: ErrorDetails, section: type[pydantic.BaseModel] | None) -> tuple[str, str]:
    """Return the fault, and its correction."""
    context: Mapping[str, Any] = detail.get("ctx", {})
    found = f"found {_show(detail['input'])}"
    message = re.sub(r"^\w+ should ", "it must ", detail["msg"]).removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            allowed = section.model_fields if section else ()
            return "unknown key", closest_or_all(str(detail["loc"][-1]), allowed)
        case "missing":
            field = None if section is None else section.model_fields.get(str(detail["loc"][-1]))
            about = "" if field is None or field.description is None else f" ({field.description})"
            return "missing", f"it must be given{about}"
        case "union_tag_invalid":
            names = re.findall(r"'([^']*)'", str(context["expected_tags"]))
            return f"found {_show(context['tag'])}", closest_or_all(str(context["tag"]), names)
        case "union_tag_not_found":
            return "missing", "it must name the variant"
        case "literal_error":
            names = re.findall(r"'([^']*)'", str(context["expected"]))
            return found, closest_or_all(str(detail["input"]), names) if names else message
        case "string_type" if isinstance(detail["input"], int | float):
            return found, f"{message}: put it in quotes"
        case "model_type" | "model_attributes_type":
            return found, "it must be a section of keys and values"
        case "tuple_type" | "list_type":
            return found, "it must be a list"
        case "invalid_key":
            return found, "a key must be text: put it in quotes"
        case _:
            return found, message


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 4 * _SHOWN_CHARACTERS
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict = 4, 12, 12
"""Bounded, so that a few lines of YAML aliases cannot fill the memory when they are shown."""


def _show(value: Any) -> str:
    """Return ``value`` as YAML would show it, cut short."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    text = _REPR.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
