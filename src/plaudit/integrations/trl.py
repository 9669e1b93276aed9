"""``RewardTrainer`` and ``RewardConfig`` with the arguments of TRL's: a script of TRL changes one import.

    from plaudit.integrations.trl import RewardConfig, RewardTrainer

TRL itself is not needed. What a trainer of transformers does beyond training by a config (callbacks, own optimisers and
collators) is refused by name, never left out in silence.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from transformers import TrainingArguments
from typing_extensions import override

from plaudit.api import HELD_OUT, evaluate, paths_of, train
from plaudit.data.reading.options import DataFile, ReadingOptions
from plaudit.data.reading.read import read_groups
from plaudit.errors import ConfigError, DataError
from plaudit.models.backbone import RUN_MODEL, load_config_of, load_tokenizer, resolve_source
from plaudit.opening import load
from plaudit.records import Result, write_json
from plaudit.training.config import TrainConfig

_RUN = "plaudit"
"""Folder of the run in ``output_dir``, beside which TRL's scripts save the model."""
_IDLE = {
    "disable_dropout": (True,),
    "eos_token": (None,),
    "pad_token": (None,),
    "model_init_kwargs": (None,),
    "activation_offloading": (False,),
    "label_smoothing_factor": (0.0,),
    "neftune_noise_alpha": (None,),
    "load_best_model_at_end": (False,),
    "fp16": (False,),
    "lr_scheduler_kwargs": (None,),
    "optim_args": (None,),
}
"""Arguments that have no counterpart here, with the values that mean nothing."""
# fmt: off
_OF_LORA = {
    "r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "task_type", "peft_type", "inference_mode",
    "base_model_name_or_path", "auto_mapping", "peft_version", "revision", "runtime_config",
}
"""Fields of a LoraConfig that are taken over, or that say nothing about what is trained; others keep their default."""
# fmt: on
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant", "constant_with_warmup": "constant"}
_OPTIMISERS = ("adamw_torch", "adamw_torch_fused")


@dataclass
class RewardConfig(TrainingArguments):
    """The arguments of TRL's ``RewardConfig``, with its defaults; all others are those of ``TrainingArguments``.

    Dropout is always off, batches are never padded to a multiple, and rows that are too long are left out, as there.
    """

    output_dir: str | None = None
    """Folder of the run and of the models that ``save_model`` writes."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    logging_steps: float = 10
    """Steps between rows of metrics."""
    gradient_checkpointing: bool | None = True
    """Recompute activations in the backward pass."""
    bf16: bool | None = None  # pyrefly: ignore[bad-override]
    """Run the backbone under autocast to bfloat16; None is True on a GPU, and False on a CPU."""
    max_length: int | None = 1024
    """Longest conversation in tokens; a pair with a longer one is left out. None: the model's own limit."""
    center_rewards_coefficient: float | None = None
    """Coefficient of the squared sum of both rewards; 0.01 is usual."""
    chat_template_path: str | None = None
    """A .jinja file, or the model whose chat template is taken."""
    trust_remote_code: bool = False
    """Run code that the model's repository brings."""
    dataset_num_proc: int | None = None
    """Has no effect: reading is not split over processes."""
    pad_to_multiple_of: int | str | None = "auto"
    """Has no effect: batches hold no padding where the layout is exact."""
    disable_dropout: bool = True
    """Must be True."""
    eos_token: str | None = None
    """Must be None: the chat template ends a turn."""
    pad_token: str | None = None
    """Must be None: a tokenizer without a pad token of its own is given one."""
    model_init_kwargs: dict[str, Any] | str | None = field(default=None)
    """Must be None."""
    activation_offloading: bool = False
    """Must be False."""

    @override
    def __post_init__(self) -> None:
        """Fill in the precision."""
        if self.bf16 is None:
            self.bf16 = not self.fp16 and torch.cuda.is_available()
        super().__post_init__()


class TRLRewardTrainer:
    """Trains a reward model by the arguments of TRL's ``RewardTrainer``: ``train``, ``evaluate``, ``save_model``.

    ``run`` is then a run of plaudit, with its config, metrics, held-out result, model card and report.
    """

    def __init__(
        self,
        model: Any,
        args: RewardConfig | None = None,
        *,
        train_dataset: Any,
        eval_dataset: Any = None,
        processing_class: Any = None,
        peft_config: Any = None,
        **others: Any,
    ) -> None:
        """Prepare to train ``model``, a name, a folder or a model of transformers, on ``train_dataset``.

        The data sets are ``Dataset``s with the columns of TRL's, or anything that ``plaudit.train`` takes.

        Raises:
            ConfigError: naming an argument that has no counterpart here.
        """
        given = sorted(name for name, value in others.items() if value not in (None, (None, None), []))
        if given:
            raise ConfigError(f"RewardTrainer takes no {given[0]} here; train with TRL's, or without it")
        name = model if isinstance(model, str) else str(model.config._name_or_path)
        self.args = args or RewardConfig(output_dir=f"{name.split('/')[-1]}-Reward")
        self.run = Path(self.args.output_dir or "trainer_output") / _RUN
        self.config = self._config(model, name, processing_class, peft_config, train_dataset, eval_dataset)

    def _config(
        self, model: Any, name: str, processing_class: Any, peft_config: Any, train_dataset: Any, eval_dataset: Any
    ) -> TrainConfig:
        given = self.run / "given"
        files = paths_of(train_dataset, given / "train.jsonl")
        apart = () if eval_dataset is None else paths_of(eval_dataset, given / f"{HELD_OUT}.jsonl")
        init: dict[str, Any] = {"path": name, "trust_remote_code": self.args.trust_remote_code}
        if not isinstance(model, str) or processing_class is not None:
            init["path"] = self._saved(model, processing_class, name, given / "model")
        template = self.args.chat_template_path
        if template is not None:
            init["chat_template"] = template if template.endswith(".jinja") else _template_of(template)
        return TrainConfig.model_validate(
            {
                "name": _run_name(self.args, name),
                "model": {
                    "init": init,
                    "max_length": _max_length(self.args.max_length, init["path"]),
                    "truncation": "drop",
                    "lora": None if peft_config is None else _lora(peft_config, init["path"]),
                },
                "data": {
                    "train": [DataFile(path=str(each)).model_dump() for each in files],
                    "held_out": [DataFile(path=str(each)).model_dump() for each in apart],
                    "held_out_share": 0.0,
                },
                "objective": {
                    "type": "bradley_terry",
                    "centering": self.args.center_rewards_coefficient or 0.0,
                    "use_margin": _hold_margins(files),
                },
                "push": _push(self.args),
                **_settings(self.args),
            }
        )

    def _saved(self, model: Any, processing_class: Any, name: str, folder: Path) -> str:
        """Return the folder to which a model, or a model's name with another tokenizer, was saved to begin with."""
        if isinstance(model, str):
            raise ConfigError(
                "processing_class is given beside the name of a model; give the folder of both, or save them into one"
            )
        model.save_pretrained(folder)
        (load_tokenizer(name) if processing_class is None else processing_class).save_pretrained(folder)
        return str(folder)

    def train(self, resume_from_checkpoint: bool | None = None) -> Path:
        """Return the folder of the run, trained; with ``resume_from_checkpoint=True`` it goes on."""
        return train(self.config, run_dir=self.run, resume=bool(resume_from_checkpoint))

    def evaluate(self, eval_dataset: Any = None) -> dict[str, float]:
        """Return the metrics of the trained model on data, by default the ``eval_dataset``, as ``eval_…``."""
        if eval_dataset is None and not self.config.data.held_out:
            raise ConfigError("there is nothing to evaluate on: give eval_dataset")
        data = [file.path for file in self.config.data.held_out] if eval_dataset is None else eval_dataset
        result: Result = evaluate(self.run, data, model=self.config.name)
        preference = result.preference
        if preference is None:
            raise DataError("the data holds no preferences to evaluate on")
        return {f"eval_{name}": found.value for name, found in preference.metrics.items()}

    @property
    def model(self) -> Any:
        """Return the trained model, as transformers has it."""
        return load(self.run).model.core

    def save_model(self, output_dir: str | Path | None = None) -> None:
        """Copy the trained model to a folder, by default ``output_dir`` of the arguments."""
        shutil.copytree(self.run / RUN_MODEL, Path(output_dir or self.run.parent), dirs_exist_ok=True)

    def log_metrics(self, split: str, metrics: Mapping[str, float]) -> None:
        """Print metrics, one on a line."""
        for name, value in metrics.items():
            print(f"{split}: {name} = {value:.4g}")

    def save_metrics(self, split: str, metrics: Mapping[str, float]) -> None:
        """Write metrics to ``SPLIT_results.json`` in ``output_dir``."""
        write_json(self.run.parent / f"{split}_results.json", metrics)

    def push_to_hub(self, repo: str | None = None, *, private: bool = False, **_: Any) -> str:
        """Return the address of the trained model on the hub, pushed to ``repo``, by default ``hub_model_id``."""
        from plaudit.model_card import push

        name = repo or self.args.hub_model_id
        if name is None:
            raise ConfigError("name the repository: push_to_hub('owner/name'), or hub_model_id in the arguments")
        return push(self.run, name, private=private)


RewardTrainer = TRLRewardTrainer
"""Its name in TRL."""


def _push(args: RewardConfig) -> dict[str, Any] | None:
    if not args.push_to_hub:
        return None
    if args.hub_model_id is None:
        raise ConfigError("RewardConfig.push_to_hub is True; name the repository: hub_model_id='owner/name'")
    return {"repo": args.hub_model_id, "private": bool(args.hub_private_repo), "revision": args.hub_revision}


def _settings(args: RewardConfig) -> dict[str, Any]:
    """Return the sections ``optim`` and ``step`` of the arguments.

    Raises:
        ConfigError: naming an argument whose value has no counterpart here.
    """
    for name, values in _IDLE.items():
        if getattr(args, name) not in values:
            raise ConfigError(f"RewardConfig.{name} is {getattr(args, name)!r}; here it must be {values[0]!r}")
    for name in ("eval_strategy", "save_strategy"):
        if _kind(getattr(args, name)) not in ("no", "steps"):
            raise ConfigError(f"RewardConfig.{name} is {_kind(getattr(args, name))!r}; here it must be 'steps' or 'no'")
    schedule = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
    if schedule not in _SCHEDULES:
        raise ConfigError(f"RewardConfig.lr_scheduler_type is {schedule!r}; allowed: {', '.join(_SCHEDULES)}")
    optimiser = str(getattr(args.optim, "value", args.optim))
    if optimiser not in _OPTIMISERS:
        raise ConfigError(f"RewardConfig.optim is {optimiser!r}; allowed: {', '.join(_OPTIMISERS)}")
    kwargs = {name: value for name in ("fsdp", "fsdp_config", "deepspeed") if (value := _explicit(args, name))}
    pairs = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    return {
        "optim": {
            "lr": args.learning_rate,
            "schedule": _SCHEDULES[schedule],
            "warmup": _warmup(args),
            "weight_decay": args.weight_decay,
            "betas": (args.adam_beta1, args.adam_beta2),
            "epsilon": args.adam_epsilon,
            "max_grad_norm": args.max_grad_norm,
        },
        "step": {
            "groups_per_step": pairs,
            "epochs": args.num_train_epochs,
            "max_steps": args.max_steps if args.max_steps > 0 else None,
            "seed": args.seed,
            "precision": "bfloat16" if args.bf16 else "float32",
            "gradient_checkpointing": bool(args.gradient_checkpointing),
            "log_every": _steps(args.logging_steps),
            "evaluate_every": _steps(args.eval_steps) if _kind(args.eval_strategy) == "steps" else None,
            "save_every": _steps(args.save_steps) if _kind(args.save_strategy) == "steps" else None,
            "keep_checkpoints": args.save_total_limit or 2,
            "trackers": tuple(each for each in args.report_to or () if each != "none"),
            "trainer_kwargs": kwargs,
        },
    }


def _explicit(args: RewardConfig, name: str) -> Any:
    """Return the value of an argument that was given, else None."""
    value, default = getattr(args, name), {each.name: each.default for each in dataclasses.fields(args)}[name]
    return None if value == default or not value or (isinstance(value, Mapping) and not args.fsdp) else value


def _kind(strategy: Any) -> str:
    return str(getattr(strategy, "value", strategy))


def _steps(value: float | None) -> int:
    """Return a number of steps.

    Raises:
        ConfigError: for a share of the run, as transformers also takes it.
    """
    if value is None or value < 1:
        raise ConfigError(f"a number of steps is {value}; here it must be a whole number, and no share of the run")
    return int(value)


def _warmup(args: RewardConfig) -> float:
    """Return the share of the steps in which the learning rate rises."""
    share = getattr(args, "warmup_ratio", None) or 0.0
    steps = args.warmup_steps
    if 0 < steps < 1:
        return float(steps)
    if steps and args.max_steps > 0:
        return steps / args.max_steps
    if steps:
        raise ConfigError(f"RewardConfig.warmup_steps is {steps}; give a share of the run, like 0.03, or max_steps too")
    return share


def _hold_margins(files: Sequence[str | Path]) -> bool:
    """Return whether the first pair of some file has a margin, by which TRL's loss asks the chosen side to lead."""
    return any(
        pair.margin is not None
        for path in files
        for group in read_groups(path, ReadingOptions(limit=1))
        for pair in group.preferences
    )


def _lora(peft_config: Any, model: str) -> dict[str, Any]:
    """Return the section ``model.lora`` of a LoraConfig.

    Raises:
        ConfigError: naming a field whose value has no counterpart here.
    """
    kind = type(peft_config).__name__
    if kind != "LoraConfig":
        raise ConfigError(f"peft_config is a {kind}; here it must be a LoraConfig")
    for each in dataclasses.fields(peft_config):
        value = getattr(peft_config, each.name)
        default = each.default_factory() if callable(each.default_factory) else each.default
        if each.name not in _OF_LORA and value not in (default, None):
            raise ConfigError(f"peft_config.{each.name} is {value!r}; here it must be {default!r}")
    if peft_config.modules_to_save not in (None, ["score"]):
        raise ConfigError(f"peft_config.modules_to_save is {peft_config.modules_to_save!r}; the head alone is saved")
    targets = peft_config.target_modules
    if targets is None:
        kind = load_config_of(resolve_source(model)).model_type
        targets = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(kind)
    if targets is None:
        raise ConfigError(f"peft_config.target_modules is None, and PEFT has no default for {model}; name the layers")
    return {
        "rank": peft_config.r,
        "alpha": peft_config.lora_alpha,
        "dropout": peft_config.lora_dropout,
        "targets": targets if isinstance(targets, str) else sorted(targets),
        "merge": False,
    }


def _max_length(wanted: int | None, model: str) -> int | None:
    """Return the longest conversation: no more than the model has positions for."""
    limit = getattr(load_config_of(resolve_source(model)).get_text_config(), "max_position_embeddings", None)
    return min(wanted, limit) if isinstance(wanted, int) and isinstance(limit, int) else wanted


def _template_of(model: str) -> str:
    found = load_tokenizer(model).chat_template
    if not isinstance(found, str):
        raise ConfigError(f"chat_template_path is {model}, whose tokenizer has no chat template")
    return found


def _run_name(args: RewardConfig, model: str) -> str:
    text = args.run_name or Path(args.output_dir or model).name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text.split("/")[-1]).strip("-._") or "reward"
