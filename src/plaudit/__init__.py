"""plaudit: train, test, explain, serve and use reward models.

The public names below are loaded on first use, so that ``import plaudit`` is instant and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plaudit.api import evaluate, train
    from plaudit.config import Config, load_config
    from plaudit.data.reading.read import read_groups
    from plaudit.data.reading.write import write_groups
    from plaudit.data.schema.group import Group, Message, Preference, Step
    from plaudit.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        InvalidGroupError,
        LayoutError,
        MissingExtraError,
        ModelError,
        OutputError,
        PlauditError,
        TrainingError,
        UnknownNameError,
    )
    from plaudit.integrations.reward_function import reward_function
    from plaudit.models.reward_model import RewardModel
    from plaudit.opening import load
    from plaudit.records import Interval, ItemScore, Result, RunRecord
    from plaudit.reports.page import write_report
    from plaudit.scoring.scorer import GroupRewards, Scorer
    from plaudit.training.config import TrainConfig
    from plaudit.worlds.world import World

__all__ = [
    "CheckpointError",
    "Config",
    "ConfigError",
    "DataError",
    "Group",
    "GroupRewards",
    "Interval",
    "InvalidGroupError",
    "ItemScore",
    "LayoutError",
    "Message",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "PlauditError",
    "Preference",
    "Result",
    "RewardModel",
    "RunRecord",
    "Scorer",
    "Step",
    "TrainConfig",
    "TrainingError",
    "UnknownNameError",
    "World",
    "__version__",
    "evaluate",
    "load",
    "load_config",
    "read_groups",
    "reward_function",
    "train",
    "write_groups",
    "write_report",
]

_HOMES = {
    "api": ("evaluate", "train"),
    "config": ("Config", "load_config"),
    "data.schema.group": ("Group", "Message", "Preference", "Step"),
    "data.reading.read": ("read_groups",),
    "data.reading.write": ("write_groups",),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "integrations.reward_function": ("reward_function",),
    "models.reward_model": ("RewardModel",),
    "records": ("Interval", "ItemScore", "Result", "RunRecord"),
    "reports.page": ("write_report",),
    "opening": ("load",),
    "scoring.scorer": ("GroupRewards", "Scorer"),
    "training.config": ("TrainConfig",),
    "worlds.world": ("World",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Return the public ``name`` from the module it lives in (PEP 562)."""
    value: Any
    if name == "__version__":
        value = importlib.import_module("importlib.metadata").version("plaudit")
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(f"plaudit.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'plaudit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
