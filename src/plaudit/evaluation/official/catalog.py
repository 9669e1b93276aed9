"""The benchmarks by name: those of ``benchmarks.toml``."""

from __future__ import annotations

from plaudit.config import import_object
from plaudit.errors import ConfigError, UnknownNameError, closest_or_all
from plaudit.evaluation.official.benchmark import ENTRIES, Benchmark

CATALOG = {name: f"plaudit.evaluation.official.benchmarks.{name}:{name.upper()}" for name in ENTRIES}
"""Name → module and object."""


def benchmark_named(name: str) -> Benchmark:
    """Return the benchmark of the catalogue called ``name``, or the one at the import path ``module:OBJECT``.

    Raises:
        UnknownNameError: with the closest name.
        ConfigError: where an import path leads to no benchmark.
    """
    if ":" not in name and name not in CATALOG:
        raise UnknownNameError(f"unknown benchmark {name!r}; {closest_or_all(name, CATALOG)}")
    found = import_object(CATALOG.get(name, name), key="benchmark")
    if not isinstance(found, Benchmark):
        raise ConfigError(f"benchmark: {name} is {type(found).__name__}; it must be a Benchmark")
    return found
