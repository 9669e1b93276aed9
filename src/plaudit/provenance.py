"""Provenance of a result: versions of packages, and the commit."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PACKAGES = (
    "plaudit",
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "peft",
    "bitsandbytes",
    "tokenizers",
    "numpy",
    "scipy",
)


def package_versions() -> dict[str, str]:
    """Return the version of Python and of each package that can move a number, without importing any."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_state(directory: Path | None = None) -> tuple[str | None, bool | None]:
    """Return the commit of ``directory`` and whether it has uncommitted changes; (None, None) outside git."""
    command = ["git", "-C", str(directory or Path.cwd())]
    try:
        commit = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        status = subprocess.run([*command, "status", "--porcelain"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    if commit.returncode != 0 or status.returncode != 0:
        return None, None
    return commit.stdout.strip(), bool(status.stdout.strip())


def stamp() -> dict[str, Any]:
    """Return the fields of a record that say when and with what it was made: the time and the package versions."""
    return {"created": datetime.now(UTC).isoformat(timespec="seconds"), "versions": package_versions()}


def made_now() -> dict[str, Any]:
    """Return the fields of a ``MadeRecord``: those of ``stamp`` and the commit of the working directory."""
    commit, dirty = git_state()
    return stamp() | {"commit": commit, "dirty": dirty}
