"""Every error that plaudit raises for its users, and ``require`` for optional packages.

::

    PlauditError
    ├── ConfigError (ValueError)         a config or an override is wrong
    ├── DataError (ValueError)           a file, a row or a group is wrong: names the file and line
    │   └── InvalidGroupError            one group breaks a rule of the schema
    ├── UnknownNameError (ValueError)    a name from a closed list was misspelt: suggests a close one
    ├── ModelError (ValueError)          a model, its template, tokenizer or head cannot be used
    │   └── CheckpointError              a checkpoint is incomplete or contradicts its scoring recipe
    ├── LayoutError (ValueError)         an attention layout is not exact for this model
    ├── TrainingError (RuntimeError)     training cannot go on (a non-finite loss, say)
    ├── OutputError (OSError)            a result cannot be written
    └── MissingExtraError (ImportError)  an optional package is not installed
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class PlauditError(Exception):
    """Base of every error that plaudit raises on purpose."""


class ConfigError(PlauditError, ValueError):
    """A config file, a field or an override is wrong."""


class DataError(PlauditError, ValueError):
    """A file or a row of data is wrong."""


class InvalidGroupError(DataError):
    """A group breaks a rule of the schema."""


class UnknownNameError(PlauditError, ValueError):
    """A name is not one of a closed list."""


class ModelError(PlauditError, ValueError):
    """A model, its tokenizer, template or head cannot be used as asked."""


class CheckpointError(ModelError):
    """A checkpoint is incomplete, or contradicts its scoring recipe."""


class LayoutError(PlauditError, ValueError):
    """A layout is not exact for this model; the message gives the reason."""


class TrainingError(PlauditError, RuntimeError):
    """Training cannot go on."""


class OutputError(PlauditError, OSError):
    """A result cannot be written."""


class MissingExtraError(PlauditError, ImportError):
    """An optional package is not installed."""


def closest_or_all(name: str, allowed: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for a near miss, else the list of allowed names."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "allowed: " + ", ".join(names)


def require(module: str, *, extra: str) -> ModuleType:
    """Return the optional ``module``, or say how to install it.

    Raises:
        MissingExtraError: with the pip command that installs ``extra``.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs {module!r}, which is not installed; install it with: pip install 'plaudit[{extra}]'"
        ) from None
