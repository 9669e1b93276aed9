"""The public names of plaudit are a promise: this list changes only on purpose."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect

import pytest

import plaudit

NAMES = [
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


def test_the_public_names_are_these():
    assert sorted(plaudit.__all__) == sorted(NAMES)
    assert dir(plaudit) == sorted(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_every_public_name_loads_from_the_module_that_defines_it(name):
    value = getattr(plaudit, name)
    assert value.__name__ == name
    assert getattr(importlib.import_module(value.__module__), name) is value
    assert inspect.getdoc(value)


def test_the_version_is_the_installed_one():
    assert plaudit.__version__ == importlib.metadata.version("plaudit")


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Groop'"):
        _ = plaudit.Groop
