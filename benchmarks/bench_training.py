"""Training speed beside TRL's RewardTrainer, in one run, alternating, with the bound.

    python benchmarks/bench_training.py --task hh --shape 256x6 --repeats 3

Tasks: ``hh`` (pairs with the lengths of hh-rlhf) and ``k4`` (K = 4 responses, all six pairs; prompts of 50–300
tokens, responses of 100–400). TRL gets 8 pairs a batch, float32, no gradient checkpointing, the same maximal length.
Both start from token ids, so only training is timed. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bound import flops, matmul_flops_per_second
from datasets import Dataset
from machine import describe
from transformers import TrainerCallback
from transformers.utils.logging import disable_progress_bar, set_verbosity_error
from workloads import hh_pairs, k_responses, llama, tokenizer_for, words

from plaudit.batching.planner import epoch_order, num_steps, step_rows
from plaudit.batching.token_set import TokenSet, encode_to_file
from plaudit.objectives.config import BradleyTerry
from plaudit.training.arguments import training_arguments
from plaudit.training.config import (
    DataSection,
    ModelSection,
    OptimSection,
    ScratchInit,
    StepSection,
    TrainConfig,
)
from plaudit.training.trainer import RewardTrainer

MAX_LENGTH = 1024
WARM_UP = 2


class StepClock(TrainerCallback):
    """Times the steps after the warm-up."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start after the warm-up, and remember the last step."""
        if state.global_step == WARM_UP:
            self.began = time.perf_counter()
        self.ended = time.perf_counter()


def run_plaudit(
    args: argparse.Namespace, tokens: TokenSet, tokenizer: Any, layout: str, folder: Path
) -> dict[str, float]:
    model = llama(args.shape, tokenizer)
    model.use_layout(layout)
    config = TrainConfig(
        name="bench",
        model=ModelSection(init=ScratchInit()),
        data=DataSection(train=({"path": "generated"},)),
        optim=OptimSection(lr=1e-5, schedule="constant", warmup=0.0),
        step=StepSection(
            groups_per_step=args.groups_per_step,
            max_tokens=args.max_tokens,
            precision=args.precision,
            trackers=(),
            log_every=10_000,
            max_steps=WARM_UP + args.steps,
        ),
    )
    clock = StepClock()
    steps = num_steps(len(tokens), args.groups_per_step)
    trainer = RewardTrainer(
        model,
        training_arguments(config, folder, steps_per_epoch=steps),
        objective=BradleyTerry(),
        train_tokens=tokens,
        train_rows=np.arange(len(tokens)),
        groups_per_step=args.groups_per_step,
        max_tokens=args.max_tokens,
        callbacks=[clock],
    )
    trainer.train()
    order = epoch_order(len(tokens), seed=0, epoch=0)
    rows = np.concatenate(
        [step_rows(order, step, args.groups_per_step) for step in range(WARM_UP, WARM_UP + args.steps)]
    )
    return {
        "seconds": clock.ended - clock.began,
        "pairs": int(tokens.num_pairs[rows].sum()),
        "unique_tokens": int(tokens.sizes.tree_tokens[rows].sum()),
        "attended": attended(tokens, rows),
    }


def attended(tokens: TokenSet, rows: np.ndarray) -> float:
    """Return the keys that a unique token sees on average."""
    total = count = 0
    for row in rows[:200].tolist():
        tree = tokens[row].tree
        position = np.arange(tree.num_tokens) + np.repeat(tree.position_starts() - tree.start[:-1], np.diff(tree.start))
        total += int((position + 1).sum())
        count += tree.num_tokens
    return total / count


def run_trl(args: argparse.Namespace, tokens: TokenSet, tokenizer: Any, folder: Path) -> dict[str, float]:
    from trl import RewardConfig
    from trl import RewardTrainer as TrlTrainer

    order = epoch_order(len(tokens), seed=0, epoch=0)
    needed = 8 * (WARM_UP + args.trl_steps)
    rows: list[dict[str, list[int]]] = []
    for row in order.tolist():
        group = tokens[row]
        for chosen, rejected in zip(group.pair_chosen.tolist(), group.pair_rejected.tolist(), strict=True):
            rows.append(
                {
                    "chosen_ids": group.tree.sequence(chosen).tolist(),
                    "rejected_ids": group.tree.sequence(rejected).tolist(),
                }
            )
        if len(rows) >= needed:
            break
    # The pairs of a group stand side by side in ``rows``; shuffled, as a user's data loader would.
    shuffled = np.random.default_rng(0).permutation(len(rows))[:needed]
    data = Dataset.from_list([rows[i] for i in shuffled])
    clock = StepClock()
    config = RewardConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=8,
        gradient_checkpointing=False,
        bf16=args.precision == "bfloat16",
        use_cpu=True,
        max_length=MAX_LENGTH,
        max_steps=WARM_UP + args.trl_steps,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        report_to=[],
        save_strategy="no",
        logging_steps=10_000,
        disable_tqdm=True,
    )
    model = llama(args.shape, tokenizer)
    trainer = TrlTrainer(
        model=model.core, args=config, processing_class=tokenizer, train_dataset=data, callbacks=[clock]
    )
    trainer.train()
    return {"seconds": clock.ended - clock.began, "pairs": 8 * args.trl_steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("hh", "k4"), default="hh")
    parser.add_argument("--shape", choices=("256x6", "512x8"), default="256x6")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="timed steps of plaudit")
    parser.add_argument("--trl-steps", type=int, default=12, help="timed steps of TRL")
    parser.add_argument("--groups-per-step", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--layouts", default="shared_prefix", help="comma-separated layouts of plaudit")
    parser.add_argument("--no-trl", action="store_true")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    set_verbosity_error()
    disable_progress_bar()
    rng = np.random.default_rng(0)
    vocabulary = words(rng, 6000)
    tokenizer = tokenizer_for(vocabulary, rng)
    count = args.groups_per_step * (WARM_UP + args.steps)
    if args.task == "hh":
        groups = hh_pairs(max(count, 8 * (WARM_UP + args.trl_steps)), vocabulary, rng)
    else:
        groups = k_responses(count, 4, (50, 300), (100, 400), vocabulary, rng)
    recipe = llama(args.shape, tokenizer).recipe.model_copy(update={"max_length": MAX_LENGTH})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = encode_to_file(groups, recipe.encoder(tokenizer), folder / "tokens.arrow")
        runs: dict[str, list[dict[str, float]]] = {}
        for _ in range(args.repeats):
            for layout in args.layouts.split(","):
                runs.setdefault(layout, []).append(run_plaudit(args, tokens, tokenizer, layout, folder))
            if not args.no_trl:
                runs.setdefault("trl", []).append(run_trl(args, tokens, tokenizer, folder))
    report(args, runs, llama(args.shape, tokenizer), tokens)


def report(args: argparse.Namespace, runs: dict[str, list[dict[str, float]]], model: Any, tokens: TokenSet) -> None:
    rates = {name: [run["pairs"] / run["seconds"] for run in each] for name, each in runs.items()}
    medians = {name: statistics.median(each) for name, each in rates.items()}
    dtype = torch.bfloat16 if args.precision == "bfloat16" else torch.float32
    typical = min(args.max_tokens, int(tokens.sizes.tree_tokens.mean() * args.groups_per_step))
    rate = matmul_flops_per_second(model, typical, backward=True, dtype=dtype)
    result: dict[str, Any] = {
        "benchmark": "training",
        "task": args.task,
        "shape": args.shape,
        "precision": args.precision,
        "groups_per_step": args.groups_per_step,
        "max_tokens": args.max_tokens,
        "max_length": MAX_LENGTH,
        "pairs_per_second": {name: [round(value, 3) for value in each] for name, each in rates.items()},
        "median_pairs_per_second": medians,
        "matmul_gflops": rate / 1e9,
    }
    if "trl" in medians:
        result["ratio_to_trl"] = {name: value / medians["trl"] for name, value in medians.items() if name != "trl"}
    if "shared_prefix" in runs:
        first = runs["shared_prefix"][0]
        bound = flops(model, int(first["unique_tokens"]), first["attended"], backward=True) / rate
        seconds = statistics.median(run["seconds"] for run in runs["shared_prefix"])
        result |= {
            "unique_tokens": first["unique_tokens"],
            "attended": first["attended"],
            "seconds_over_bound": seconds / bound,
        }
    text = json.dumps(result | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
