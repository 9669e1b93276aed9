"""From a URL to the scorer of the server behind it."""

from __future__ import annotations

import math
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from plaudit.errors import ConfigError, ModelError, closest_or_all
from plaudit.models.backbone import load_tokenizer
from plaudit.models.checkpoint.recipe import NAMED_TEMPLATES, resolve_template
from plaudit.scoring.remote.connection import API_KEY, Connection, Failure
from plaudit.scoring.remote.scorer import MESSAGES, RemoteScorer, Template
from plaudit.scoring.remote.shapes import PATHS, SHAPES, Shape, shape_of_path, shape_of_routes
from plaudit.scoring.remote.watch import NO_ANSWER

_OPTIONS = ("shape", "model", "template", "batch", "concurrency", "timeout", "retries", "probabilities")
_ROUTES = "/openapi.json"
_ROUTES_OF_TEI = "/api-doc/openapi.json"


def load_remote(url: str) -> RemoteScorer:
    """Return the scorer that a URL names: ``http://HOST:PORT[/ROUTE][?shape=…&model=…&template=…]``.

    The options behind ``?``, which are not sent: ``shape``, one of ``SHAPES``; ``model``, as the server calls it;
    ``template``, ``messages`` (the server renders), ``plain``, ``concatenate`` or the folder or hub id of a tokenizer
    with a chat template; ``batch`` responses of a request, ``concurrency``, ``timeout`` in seconds, ``retries``;
    ``probabilities=yes`` for a model whose rewards are meant to lie from 0 to 1. Without ``shape`` the route says it,
    or, of a URL without one, the routes that the server lists in ``/openapi.json``
    (TEI: ``/api-doc/openapi.json``), asked once.

    Raises:
        ConfigError: for an option that does not exist or is wrong, and where the shape cannot be told.
        ModelError: when the server cannot be asked, or the tokenizer not be loaded.
    """
    parts = _parts(url)
    options = _options(parts.query, url)
    routed, before = shape_of_path(parts.path.rstrip("/"))
    connection = Connection(
        urlunsplit((parts.scheme, parts.netloc, before, "", "")),
        timeout_seconds=_above_zero(options, "timeout", 120.0, url),
        retries=_whole(options, "retries", 5, url, least=0),
    )
    named = options.get("shape")
    shape = _shape(named, url) if named is not None else routed or _detected(connection, url)
    return RemoteScorer(
        connection,
        shape,
        model=options.get("model"),
        template=_template(options.get("template", MESSAGES)),
        batch=_whole(options, "batch", 32, url, least=1),
        concurrency=_whole(options, "concurrency", 8, url, least=1),
        probabilities=_yes(options, "probabilities", url),
    )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{url}: its port is no number from 1 to 65535; it must be http://HOST:PORT") from None
    if not parts.hostname or port == 0:
        raise ConfigError(f"{url}: there is no host in it, or no port; it must be http://HOST:PORT")
    if parts.username is not None:
        place = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        raise ConfigError(f"{place}: a URL stands in results, and so would the password in it; set {API_KEY} instead")
    return parts


def _options(query: str, url: str) -> dict[str, str]:
    found = parse_qsl(query, keep_blank_values=True)
    options = dict(found)
    for name in options:
        if name not in _OPTIONS:
            raise ConfigError(f"{url}: there is no option {name!r}; {closest_or_all(name, _OPTIONS)}")
    if len(options) < len(found):
        raise ConfigError(f"{url}: an option stands twice")
    return options


def _shape(name: str, url: str) -> Shape:
    for shape in SHAPES:
        if shape == name:
            return shape
    raise ConfigError(f"{url}: there is no shape {name!r}; {closest_or_all(name, SHAPES)}")


def _detected(connection: Connection, url: str) -> Shape:
    how = f"say which with ?shape=…, one of {', '.join(SHAPES)}"
    try:
        answer = _list_of_routes(connection)
    except ModelError as error:
        raise ConfigError(f"{url}: the shape of this server cannot be told ({error}); {how}") from None
    if isinstance(answer, Failure) and answer.kind != "unusable":
        raise ModelError(f"{url}: {NO_ANSWER}: {answer.words}")
    paths = answer.get("paths") if isinstance(answer, dict) else None
    routes = [str(route) for route in paths] if isinstance(paths, dict) else []
    shape = shape_of_routes(routes)
    if shape is None:
        known = ", ".join(route for route in routes if route in PATHS.values()) or "none that gives rewards"
        raise ConfigError(f"{url}: the shape of this server cannot be told from its routes ({known}); {how}")
    return shape


def _list_of_routes(connection: Connection) -> object | Failure:
    try:
        return connection.get(_ROUTES)
    except ModelError:
        return connection.get(_ROUTES_OF_TEI)


def _template(name: str) -> Template | None:
    """Return the template called ``name``; None for messages.

    Raises:
        ModelError: when the tokenizer cannot be loaded, or has no template.
    """
    if name == MESSAGES:
        return None
    if name in NAMED_TEMPLATES:
        return Template(name, NAMED_TEMPLATES[name], special_tokens=True, tokenizer=None)
    tokenizer = load_tokenizer(name)
    source, special_tokens = resolve_template(None, tokenizer, name)
    return Template(name, source, special_tokens=special_tokens, tokenizer=tokenizer)


def _whole(options: dict[str, str], name: str, default: int, url: str, *, least: int) -> int:
    text = options.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ConfigError(f"{url}: {name} is {text!r}; it must be a whole number from {least}")
    return int(text)


def _above_zero(options: dict[str, str], name: str, default: float, url: str) -> float:
    text = options.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"{url}: {name} is {text!r}; it must be a number of seconds above 0")
    return value


def _yes(options: dict[str, str], name: str, url: str) -> bool:
    text = options.get(name, "no")
    if text not in ("yes", "no"):
        raise ConfigError(f"{url}: {name} is {text!r}; it must be yes or no")
    return text == "yes"
