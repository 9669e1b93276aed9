"""Conversion of our config to ``transformers.TrainingArguments``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from plaudit.errors import ConfigError, closest_or_all
from plaudit.training.config import TrainConfig

_LOGGED_STEPS, _LEAST_ROWS = 10, 20
"""Steps between two rows of metrics, and the rows of a short run, where the config leaves them open."""
_FULL = "FULL_STATE_DICT"
_CHECKPOINTING = "use step.gradient_checkpointing"
_REFUSED = {
    "load_best_model_at_end": "the final model is the one after the last step",
    "neftune_noise_alpha": "the noise would break the exactness of the layouts",
    "activation_checkpointing": _CHECKPOINTING,
    "activation_checkpointing_kwargs": _CHECKPOINTING,
    "gradient_checkpointing": _CHECKPOINTING,
    "gradient_checkpointing_kwargs": _CHECKPOINTING,
}
"""Fields of transformers that do not work here, with the reason or the replacement."""


def training_arguments(config: TrainConfig, run_dir: Path, *, steps_per_epoch: int) -> TrainingArguments:
    """Return the arguments for transformers' trainer; one loader item is one optimiser step.

    Raises:
        ConfigError: when ``step.trainer_kwargs`` holds an unknown field, one that the config sets itself, or a value
            that transformers refuses or that does not work here; when a tracker is unknown or not installed.
    """
    optim, step = config.optim, config.step
    total = total_steps(config, steps_per_epoch)
    ours: dict[str, Any] = {
        "output_dir": str(run_dir / "checkpoints"),
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": step.epochs,
        "max_steps": step.max_steps or -1,
        "learning_rate": optim.lr,
        "lr_scheduler_type": optim.schedule
        if optim.warmup == 0 or optim.schedule != "constant"
        else "constant_with_warmup",
        "warmup_steps": round(optim.warmup * total),
        "weight_decay": optim.weight_decay,
        "adam_beta1": optim.betas[0],
        "adam_beta2": optim.betas[1],
        "adam_epsilon": optim.epsilon,
        "max_grad_norm": optim.max_grad_norm,
        "seed": step.seed,
        "data_seed": step.seed,
        "bf16": step.precision == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "logging_strategy": "steps",
        "logging_steps": step.log_every or max(1, min(_LOGGED_STEPS, total // _LEAST_ROWS)),
        "logging_nan_inf_filter": False,
        "logging_first_step": True,
        "eval_strategy": "no" if step.evaluate_every is None else "steps",
        "eval_steps": step.evaluate_every,
        "save_strategy": "no" if step.save_every is None else "steps",
        "save_steps": step.save_every or 500,
        "save_total_limit": step.keep_checkpoints,
        "report_to": list(step.trackers),
        "run_name": config.name,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "ddp_find_unused_parameters": False,
    }
    _check_extra(step.trainer_kwargs, ours)
    _check_trackers(step.trackers)
    _check_merge(config)
    arguments = _accepted(ours, step.trainer_kwargs)
    _check_sharding(arguments)
    if arguments.n_gpu > 1:
        # One process drives one device; several devices are several processes (torchrun), never DataParallel.
        arguments._n_gpu = 1
    return arguments


def total_steps(config: TrainConfig, steps_per_epoch: int) -> int:
    """Return the optimiser steps of a run."""
    return config.step.max_steps or math.ceil(config.step.epochs * steps_per_epoch)


def _check_sharding(arguments: TrainingArguments) -> None:
    sharding = arguments.fsdp_config if isinstance(arguments.fsdp_config, dict) else {}
    found = sharding.get("state_dict_type", _FULL)
    if arguments.fsdp and str(found).upper() != _FULL:
        raise ConfigError(
            f"step.trainer_kwargs.fsdp_config.state_dict_type is {found!r}, with which a checkpoint holds no whole "
            f"weights; set it to {_FULL}"
        )


def _check_merge(config: TrainConfig) -> None:
    sharded = [name for name in ("fsdp", "deepspeed") if config.step.trainer_kwargs.get(name)]
    if sharded and config.model.lora is not None and config.model.lora.merge:
        raise ConfigError(
            f"model.lora.merge is true, but adapters cannot be merged into the sharded weights of {sharded[0]}; "
            "set model.lora.merge to false"
        )


def _accepted(ours: dict[str, Any], extra: dict[str, Any]) -> TrainingArguments:
    try:
        return TrainingArguments(**ours, **extra)
    except (ValueError, TypeError, LookupError, ImportError, OSError) as error:
        words = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise ConfigError(f"transformers refuses step.trainer_kwargs {extra}: {words}") from error


def _check_trackers(names: Sequence[str]) -> None:
    installed = get_available_reporting_integrations()
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise ConfigError(f"step.trackers: found {name!r}; {closest_or_all(name, INTEGRATION_TO_CALLBACK)}")
        if name not in installed:
            raise ConfigError(f"step.trackers: the package of {name!r} is not installed; installed: {installed}")


def _check_extra(extra: dict[str, Any], ours: Collection[str]) -> None:
    known = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    for name in extra:
        if name in ours:
            raise ConfigError(f"step.trainer_kwargs.{name} is set by another field of this config; use that one")
        if name in _REFUSED:
            raise ConfigError(f"step.trainer_kwargs.{name} cannot be used: {_REFUSED[name]}")
        if name not in known:
            raise ConfigError(
                f"step.trainer_kwargs.{name} is not a field of transformers.TrainingArguments; "
                f"{closest_or_all(name, known)}"
            )
