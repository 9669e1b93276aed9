"""The training step inside ``transformers.Trainer``: one loop for every objective, layout and number of devices.

One item of its loader is one optimiser step: a sampler draws the rows, a collator makes this rank's micro-batches.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from typing_extensions import override

from plaudit.batching.batch import Layout, TokenBatch, build_batch
from plaudit.batching.planner import MicroBatch, epoch_order, micro_batches, num_steps, plan_step, step_rows
from plaudit.batching.token_set import TokenSet
from plaudit.errors import CheckpointError, TrainingError
from plaudit.models.checkpoint.files import write_reward_model
from plaudit.models.checkpoint.recipe import read_recipe
from plaudit.models.heads.language_model import is_tied
from plaudit.models.reward_model import RewardModel
from plaudit.objectives.objective import BatchLabels, ItemLosses, Objective, OptimizerStepRewards
from plaudit.records import write_json

_LANGUAGE_HEAD = "language_head.safetensors"


@dataclass(frozen=True, slots=True)
class StepBatches:
    """One optimiser step on one rank: its micro-batches, and which are fillers."""

    batches: tuple[TokenBatch, ...]
    fillers: tuple[bool, ...]
    num_groups: int


class StepSampler(Sampler[list[int]]):
    """Yields the rows of each optimiser step of an epoch; every rank yields the same."""

    def __init__(self, num_groups: int, *, groups_per_step: int, seed: int) -> None:
        """Prepare the order of epoch 0."""
        self._num_groups = num_groups
        self._groups_per_step = groups_per_step
        self._seed = seed
        self._epoch = 0

    @property
    def batch_sampler(self) -> StepSampler:
        """Return itself: where the training loop looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return num_steps(self._num_groups, self._groups_per_step)

    @override
    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each step."""
        order = epoch_order(self._num_groups, seed=self._seed, epoch=self._epoch)
        for step in range(len(self)):
            yield step_rows(order, step, self._groups_per_step).tolist()


@dataclass(frozen=True, slots=True)
class StepCollator:
    """Turns the rows of a step into the micro-batches of one rank."""

    tokens: TokenSet
    layout: Layout
    max_tokens: int
    pad_id: int
    rank: int
    num_ranks: int
    attributes: tuple[str, ...] = ()
    with_tokens: bool = False

    def __call__(self, rows: Sequence[int]) -> StepBatches:
        """Return this rank's share of the step."""
        plan = plan_step(
            np.asarray(rows, dtype=np.int64),
            self.tokens.sizes,
            layout=self.layout,
            max_tokens=self.max_tokens,
            num_ranks=self.num_ranks,
        )[self.rank]
        return StepBatches(
            batches=tuple(self.build(micro) for micro in plan),
            fillers=tuple(micro.is_filler for micro in plan),
            num_groups=len(rows),
        )

    def build(self, micro: MicroBatch) -> TokenBatch:
        """Return one micro-batch as tensors."""
        groups = [self.tokens[row] for row in micro.rows]
        return build_batch(
            groups, layout=self.layout, pad_id=self.pad_id, attributes=self.attributes, tokens=self.with_tokens
        )


def _as_dataset(rows: np.ndarray) -> Any:
    """Return the rows of a token set that take part in training, by number; a list is a dataset to PyTorch."""
    return rows.tolist()


def step_loader(
    rows: np.ndarray, collator: StepCollator, *, groups_per_step: int, seed: int, num_workers: int = 0
) -> DataLoader[Any]:
    """Return a loader whose every item is one optimiser step."""
    sampler = StepSampler(len(rows), groups_per_step=groups_per_step, seed=seed)
    return DataLoader(_as_dataset(rows), batch_sampler=sampler, collate_fn=collator, num_workers=num_workers)


@torch.no_grad()
def step_rewards(
    model: nn.Module,
    batches: Iterable[tuple[TokenBatch, bool]],
    accelerator: Accelerator,
    *,
    weigh: Callable[[BatchLabels], torch.Tensor],
) -> OptimizerStepRewards:
    """Return the rewards and lengths of all responses of the batches of all ranks; fillers are run and left out.

    Each batch comes with whether it counts. Every rank runs its own, and the same number of them. ``weigh`` gives the
    weights of a batch's items, whose sum over the step comes back too.
    """
    weight = torch.zeros((), device=accelerator.device, dtype=torch.float64)
    rewards: list[torch.Tensor] = []
    lengths: list[torch.Tensor] = []
    for batch, counts in batches:
        moved = batch.to(accelerator.device)
        found = model(moved).attributes
        rewards.append(found if counts else found[:0])
        if counts:
            weight += weigh(moved.labels).sum().to(weight)
        lengths.append(moved.labels.length.to(found)[: len(rewards[-1])])
    table = torch.cat([torch.cat(rewards), torch.cat(lengths)[:, None]], dim=1)
    padded = accelerator.pad_across_processes(table, dim=0, pad_index=torch.nan)  # pyrefly: ignore
    gathered = accelerator.gather(padded)
    assert isinstance(gathered, torch.Tensor)
    kept = gathered[~gathered[:, -1].isnan()]
    total = accelerator.reduce(weight, reduction="sum")
    assert isinstance(total, torch.Tensor)
    return OptimizerStepRewards(attributes=kept[:, :-1], length=kept[:, -1], weight=total.to(kept))


class RewardTrainer(Trainer):
    """Trains a reward model on token groups.

    One item of the data loader is one whole optimiser step. ``training_step`` runs its micro-batches, sums the item
    losses, and divides by the weight of all items of the step on all ranks, so the result does not depend on
    ``max_tokens``, on the layout or on the number of processes.
    """

    def __init__(
        self,
        model: RewardModel,
        args: TrainingArguments,
        *,
        objective: Objective,
        train_tokens: TokenSet,
        train_rows: np.ndarray,
        groups_per_step: int,
        max_tokens: int,
        eval_tokens: TokenSet | None = None,
        eval_rows: np.ndarray | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        """Prepare training; the arguments of transformers must say one step per loader item."""
        self.item_objective = objective
        self.train_tokens, self.train_rows = train_tokens, train_rows
        self.eval_tokens, self.eval_rows = eval_tokens, eval_rows
        self.groups_per_step, self.max_tokens = groups_per_step, max_tokens
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, float] = defaultdict(float)
        self._since = self._began = time.perf_counter()
        self._seconds_before = 0.0
        super().__init__(
            model=model,
            args=args,
            callbacks=callbacks,
            train_dataset=_as_dataset(train_rows),
            eval_dataset=None if eval_rows is None else _as_dataset(eval_rows),
        )
        self.reward_model = model

    def _collator(self, tokens: TokenSet) -> StepCollator:
        return StepCollator(
            tokens=tokens,
            layout=self.reward_model.layout,
            max_tokens=self.max_tokens,
            pad_id=self.reward_model.recipe.pad_token,
            rank=self.accelerator.process_index,
            num_ranks=self.accelerator.num_processes,
            attributes=self.item_objective.needs.attributes,
            with_tokens=self.item_objective.needs.tokens or self.item_objective.needs.log_likelihood,
        )

    @override
    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of whole optimiser steps; ranks share them out themselves."""
        return step_loader(
            self.train_rows,
            self._collator(self.train_tokens),
            groups_per_step=self.groups_per_step,
            seed=self.args.seed,
            num_workers=self.args.dataloader_num_workers,
        )

    @override
    def num_examples(self, dataloader: DataLoader[Any]) -> int:
        """Return the number of training groups."""
        return len(self.train_rows)

    @override
    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[StepBatches], None]:
        """Return the next optimiser step; the items are counted in ``training_step``."""
        return [step for _ in range(num_batches) if (step := next(epoch_iterator, None)) is not None], None

    @override
    def floating_point_ops(self, inputs: Any) -> int:
        """Return 0: transformers' estimate does not know the layouts."""
        return 0

    @override
    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Run an epoch; none after the last step, of whose checkpoint transformers trains one step more."""
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)

    @override
    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Run all micro-batches of one optimiser step and return this rank's share of the step's loss."""
        step: StepBatches = inputs
        model.train()
        device = self.args.device
        weight = self._global_weight(step, device)
        counted = [not is_filler for is_filler in step.fillers]
        whole = self._whole_step(model, zip(step.batches, counted, strict=True))
        loss_sum = torch.zeros((), device=device)
        last = len(step.batches) - 1
        for index, (batch, is_filler) in enumerate(zip(step.batches, step.fillers, strict=True)):
            share = 0.0 if is_filler or weight == 0 else self.accelerator.num_processes / weight
            with self._synchronised(model, is_last=index == last):
                with self.compute_loss_context_manager():
                    moved = batch.to(device)
                    items = self.item_objective(model(moved), moved.labels, whole)
                    loss = (items.losses * items.weights).sum() * share
                self._check_finite(loss, batch.group_index)
                self.accelerator.backward(loss)
            loss_sum += loss.detach()
            self._remember(items, batch.num_tokens, counted=not is_filler)
        self._counts["groups"] += step.num_groups / self.accelerator.num_processes
        return loss_sum

    def _global_weight(self, step: StepBatches, device: torch.device) -> float:
        """Return the sum of the item weights of the step over all ranks."""
        weight = torch.zeros((), device=device, dtype=torch.float64)
        for batch, is_filler in zip(step.batches, step.fillers, strict=True):
            if not is_filler:
                weight += self.item_objective.weights(batch.labels).sum().to(weight)
        return float(self.accelerator.reduce(weight, reduction="sum"))

    def _whole_step(self, model: nn.Module, batches: Iterable[tuple[TokenBatch, bool]]) -> OptimizerStepRewards | None:
        """Return the rewards of all batches on all ranks, without gradient, where the objective asks for them."""
        if not self.item_objective.needs.whole_step:
            return None
        cuda = [self.args.device.index or 0] if self.args.device.type == "cuda" else []
        # The pass with gradients draws the same dropout masks again, so that both see the same rewards.
        with self.compute_loss_context_manager(), torch.random.fork_rng(devices=cuda):
            return step_rewards(model, batches, self.accelerator, weigh=self.item_objective.weights)

    def _synchronised(self, model: nn.Module, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Return the context of one micro-batch: gradients are exchanged in the last one only."""
        self.accelerator.gradient_state._set_sync_gradients(is_last)
        if is_last or self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            return contextlib.nullcontext()
        return self.accelerator.no_sync(model)

    def _check_finite(self, loss: Tensor, groups: tuple[int, ...]) -> None:
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}, in the micro-batch of the groups in "
                f"rows {', '.join(map(str, groups[:8]))}; lower optim.lr, or look at these rows"
            )

    @override
    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return the norm of the gradients, which must be finite before the optimiser may step."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        # The loss scaling of float16 meets overflows by design, and leaves out their steps itself.
        if norm is not None and self.accelerator.mixed_precision != "fp16" and not math.isfinite(float(norm)):
            raise TrainingError(
                f"the gradient norm is {float(norm)} at step {self.state.global_step + 1}, though its losses are "
                "finite; the weights were left as they were. Lower optim.lr, or use step.precision float32"
            )
        return norm

    def _remember(self, items: ItemLosses, tokens: int, *, counted: bool) -> None:
        """Add a batch to the sums since the last log; a filler adds 0, so that every rank has the same sums."""
        sums = _sums_of(items, counted=counted)
        self._counts["weight"] += float(sums.pop("weight"))
        for name, total in sums.items():
            self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts["tokens"] += tokens if counted else 0

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log under the names of the field: ``rm/loss``, ``rm/accuracy`` …, means over items of all ranks.

        Beside them ``episode``, the groups that were trained on so far, and ``seconds`` of training and evaluating so
        far, those of the runs that this one goes on with among them.
        """
        if "loss" in logs:
            grad_norm = logs.get("grad_norm")
            logs = self._training_metrics(logs["learning_rate"])
            if grad_norm is not None:
                logs["grad_norm"] = float(grad_norm)
        is_summary = "train_runtime" in logs  # of transformers, at the end
        super().log(logs if is_summary else logs | {"episode": self._episode(), "seconds": self._seconds()})

    def _episode(self) -> int:
        """Return the groups trained on so far; the last step of an epoch may have fewer than the others."""
        groups, size = len(self.train_rows), self.groups_per_step
        epochs, steps = divmod(self.state.global_step, num_steps(groups, size))
        return epochs * groups + steps * size

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._began

    def _training_metrics(self, lr: float) -> dict[str, float]:
        seconds = time.perf_counter() - self._since
        counts = {name: self._counts[name] for name in ("weight", "tokens", "groups")}
        metrics, total = self._means(self._sums, counts)
        metrics |= {
            "rm/lr": lr,
            "tokens_per_second": total["tokens"] / seconds,
            "groups_per_second": total["groups"] / seconds,
        }
        self._sums.clear()
        self._counts.clear()
        self._since = time.perf_counter()
        return metrics

    def _means(
        self, sums: Mapping[str, Tensor], counts: Mapping[str, float]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return Σ weight · value ÷ Σ weight over all ranks, as ``rm/…``, and the counts over all ranks."""
        names = sorted(sums)
        local = [sums[name] for name in names] + [torch.tensor(each, dtype=torch.float64) for each in counts.values()]
        whole = self.accelerator.reduce(torch.stack([each.to(self.args.device) for each in local]), reduction="sum")
        values = whole.tolist()
        total = dict(zip(counts, values[len(names) :], strict=True))
        # Without any item there is nothing to take a mean of; ``rm/loss`` is then 0.
        weight = total["weight"] or 1.0
        return {f"rm/{name}": value / weight for name, value in zip(names, values, strict=False)}, total

    @override
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Return ``eval_rm/loss``, ``eval_rm/accuracy`` …: means over the items of all ranks."""
        if self.eval_tokens is None or self.eval_rows is None or len(self.eval_rows) == 0:
            return {}
        began = time.perf_counter()
        means = self._evaluation_metrics(self.eval_tokens, self.eval_rows)
        metrics = {f"eval_{name}": value for name, value in means.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, dict(metrics))
        self._since += time.perf_counter() - began
        return metrics

    @torch.no_grad()
    def _evaluation_metrics(self, tokens: TokenSet, rows: np.ndarray) -> dict[str, float]:
        collator = self._collator(tokens)
        plan = micro_batches(rows.tolist(), tokens.sizes, layout=collator.layout, max_tokens=self.max_tokens)
        model = self.model_wrapped
        model.eval()
        sums: dict[str, float] = defaultdict(float)
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        turns = range(rank, math.ceil(len(plan) / ranks) * ranks, ranks)
        batches = ((collator.build(plan[min(index, len(plan) - 1)]), index < len(plan)) for index in turns)
        whole = self._whole_step(model, batches)
        for index in turns:
            batch = collator.build(plan[min(index, len(plan) - 1)]).to(self.args.device)
            with self.compute_loss_context_manager():
                items = self.item_objective(model(batch), batch.labels, whole)
            for name, total in _sums_of(items, counted=index < len(plan)).items():
                sums[name] += float(total)
        weight = sums.pop("weight", 0.0)
        return self._means(
            {name: torch.tensor(total, dtype=torch.float64) for name, total in sums.items()}, {"weight": weight}
        )[0]

    @override
    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write a checkpoint that sequence classifiers of transformers load."""
        if not self.args.should_save:
            return
        directory = Path(output_dir or str(self.args.output_dir))
        directory.mkdir(parents=True, exist_ok=True)
        save_weights(self.reward_model, directory, state_dict)

    @override
    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint with the sums since the last log, so that a resumed log is the same."""
        super()._save_checkpoint(model, trial)
        sums = {name: float(total) for name, total in self._sums.items()}
        directory = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        record = {"sums": sums, "counts": dict(self._counts), "seconds": self._seconds()}
        write_json(directory / self._sums_file(), record)
        self.accelerator.wait_for_everyone()

    def unwrap(self) -> None:
        """Release the wrappers of the model in distributed training; call it before the process group is destroyed.

        The wrapper's reducer holds the process group. Were it the last to do so, it would end the group while it holds
        Python's lock, for which a thread of the group may be waiting: the process would never end.
        """
        self.model_wrapped = self.reward_model
        self.accelerator.free_memory()
        gc.collect()

    def _sums_file(self) -> str:
        return f"since_last_log_{self.accelerator.process_index}.json"

    @override
    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Restore optimiser and schedule."""
        with _reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    @override
    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Restore the states of the random number generators."""
        with _reading(checkpoint):
            super()._load_rng_state(checkpoint)

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Load the weights of a checkpoint that ``_save`` wrote, and the sums since its last log."""
        sums = Path(resume_from_checkpoint) / self._sums_file()
        if sums.exists():
            record = json.loads(sums.read_text(encoding="utf-8"))
            self._sums = {
                name: torch.tensor(total, dtype=torch.float64, device=self.args.device)
                for name, total in record["sums"].items()
            }
            self._counts.update(record["counts"])
            self._seconds_before, self._began = record.get("seconds", 0.0), time.perf_counter()
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_weights(self.reward_model, Path(resume_from_checkpoint))


@contextlib.contextmanager
def _reading(checkpoint: str | None) -> Generator[None]:
    """Turn the many errors of PyTorch about a damaged file of a checkpoint into one line."""
    try:
        yield
    except (OSError, EOFError, ValueError, RuntimeError, LookupError, TypeError, UnpicklingError) as error:
        if checkpoint is None:
            raise
        words = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise CheckpointError(f"{checkpoint} cannot be resumed: {words}; remove it to resume before it") from error


def _sums_of(items: ItemLosses, *, counted: bool) -> dict[str, Tensor]:
    """Return Σ weight, and Σ weight · value of the loss and of everything logged; all 0 of a filler."""
    weights = items.weights if counted else torch.zeros_like(items.weights)
    values = {"loss": items.losses.detach(), **items.logged}
    return {"weight": weights.sum()} | {name: (value * weights).sum().double() for name, value in values.items()}


def save_weights(model: RewardModel, directory: Path, state_dict: dict[str, Tensor] | None) -> None:
    """Write a checkpoint that transformers loads, and beside it the language head that takes part in training only.

    ``state_dict`` replaces the model's own weights, where they are sharded.
    """
    network = None if state_dict is None else _under("network.", state_dict)
    gain_and_bias = None if state_dict is None else state_dict.get("gain_and_bias")
    write_reward_model(model, directory, network, gain_and_bias=gain_and_bias)
    if model.language_head is not None and not is_tied(model):
        own = model.language_head.state_dict() if state_dict is None else _under("language_head.", state_dict)
        save_file({name: each.detach().clone().contiguous() for name, each in own.items()}, directory / _LANGUAGE_HEAD)


def _under(prefix: str, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in state_dict.items() if name.startswith(prefix)}


def load_weights(model: RewardModel, directory: Path) -> None:
    """Load the weights of a checkpoint into ``model``, exactly and completely.

    Raises:
        CheckpointError: when weights are missing or left over.
    """
    _load_beside(model, directory)
    if isinstance(model.network, PeftModel):
        weights = _read_weights(directory / "adapter_model.safetensors")
        absent = get_peft_model_state_dict(model.network).keys() - weights.keys()
        if absent:
            raise CheckpointError(f"{directory} lacks weights of the adapter: {sorted(absent)[:3]}")
        result = set_peft_model_state_dict(model.network, weights)
        if result.unexpected_keys:
            raise CheckpointError(f"{directory} holds weights of another adapter: {result.unexpected_keys[:3]}")
        return
    model.core.load_state_dict(_read_core(model.core, directory))


def _load_beside(model: RewardModel, directory: Path) -> None:
    """Load the weights trained beside the network: language head, gain and bias."""
    if model.language_head is not None and not is_tied(model):
        model.language_head.load_state_dict(_read_weights(directory / _LANGUAGE_HEAD))
    recipe = read_recipe(directory)
    if model.gain_and_bias is not None and recipe is not None:
        with torch.no_grad():
            model.gain_and_bias.copy_(torch.tensor([recipe.gain, recipe.bias]))


def _read_core(core: PreTrainedModel, directory: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint under the names and in the layout of ``core``, all in float32.

    transformers reads its own files: for mixtures of experts the file holds another layout than the model. Float32
    holds every weight of a lower precision exactly, so copying them into ``core`` loses nothing.
    """
    config = copy.deepcopy(core.config)
    config._attn_implementation = None
    try:
        with torch.random.fork_rng(devices=[]):
            loaded: Any = type(core).from_pretrained(
                directory,
                config=config,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        words = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{directory} cannot be read: {words}") from None
    read, info = loaded
    missing, unexpected, other = (
        sorted(info[kind])[:3] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
    )
    if missing or unexpected or other:
        raise CheckpointError(
            f"{directory} does not fit the model: missing {missing}, unexpected {unexpected}, of another shape {other}"
        )
    return read.state_dict()


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from None
