"""What models, folders and benchmarks are called on a page: short, and still told apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from plaudit.evaluation.official.catalog import CATALOG, benchmark_named

_BETWEEN_MODELS = re.compile(r"(https?://[^,]*|[,:])")
"""What parts the models of a name; the address of a server is left whole."""
_LOCAL = ("/", "./", "../", "~/")
_CHECKPOINT = "model"
"""Name of the folder of weights in the folder of a run; the run's name says more."""


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each of ``names`` a short one: of a path its last part, or as many as it takes to tell it apart.

    Names that are no path (of the hub, of a server, ``module:function``) stay as they are; in one that puts models
    together (``dpo:POLICY,REFERENCE``) each path is shortened. Where no part tells two names apart both stay whole.
    """
    parts = dict.fromkeys(names, 1)
    while True:
        short = {name: _shortened(name, count) for name, count in parts.items()}
        times = Counter(short.values())
        clashing = [name for name in parts if times[short[name]] > 1]
        longer = [name for name in clashing if _shortened(name, parts[name] + 1) != short[name]]
        if not longer:
            return short | {name: name for name in clashing}
        for name in longer:
            parts[name] += 1


def _shortened(name: str, parts: int) -> str:
    return "".join(_last_parts(each, parts) for each in _BETWEEN_MODELS.split(name))


def _last_parts(text: str, parts: int) -> str:
    is_local = text.startswith(_LOCAL) or (text.count("/") > 1 and "://" not in text)
    if not is_local:
        return text
    found = [part for part in text.split("/") if part not in ("", ".", "..", "~")]
    if len(found) > 1 and found[-1] == _CHECKPOINT:
        del found[-1]
    return "/".join(found[-parts:]) or text


def data_title(name: str) -> str:
    """Return what data are called in print: of a benchmark of the catalogue its title, else their own name."""
    return benchmark_named(name).title if name in CATALOG else name


def plain_words(name: str) -> str:
    """Return the name of a figure or a rule in words; one that data gave, as of a subset, stays as it is."""
    return name.replace("_", " ") if re.fullmatch(r"[a-z0-9_]+", name) else name
