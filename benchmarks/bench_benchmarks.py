"""Speed of plaudit's evaluation on RM-Bench and RMB beside a pipeline as their official harnesses run it.

    python benchmarks/bench_benchmarks.py --out benchmarks/results/benchmarks.json

Both sides score one checkpoint (a small random Llama with a tokenizer trained on the texts) and go from the official
files to the official figures. plaudit scores each prompt once with all of its responses, and also computes intervals
and baselines and writes its result files. The harness renders every response of every official row with the chat
template and runs transformers' ``AutoModelForSequenceClassification`` in batches of 16 rows in the order of the files,
one side of the rows after the other, padded to the longest. It cuts at 2048 tokens, so rows with a longer conversation
are left out for both, and counted. The sides alternate, and change who begins. Rewards must agree to 1e-5.
``--every`` takes one prompt in so many of every file, with all rows of it, so that the mix is that of the whole files;
the tokens that each side would compute for all of them are counted too.

``PLAUDIT_DATA`` is the folder that holds benchmarks/rm_bench and benchmarks/rmb. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bound import flops, matmul_flops_per_second
from machine import describe
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar
from workloads import SHAPES, VOCABULARY, llama

import plaudit
from plaudit.batching.encode import EncodingReport
from plaudit.batching.tokens import TokenGroup
from plaudit.evaluation.official.benchmark import Loaded
from plaudit.evaluation.official.catalog import benchmark_named
from plaudit.evaluation.run import evaluate_benchmark
from plaudit.evaluation.store.result_folder import ITEMS_NAME
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.create import build_tokenizer
from plaudit.records import ItemScore, Result
from plaudit.scoring.local.engine import RewardScorer

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "benchmarks"
NAMES = ("rm_bench", "rmb")
BATCH = 16
MAX_LENGTH = 2048
STYLES = 3
TOLERANCE = 1e-5

Turns = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class OfficialRow:
    """One comparison as the official harness scores it: conversations, the one that should win first."""

    key: str
    part: str
    sides: tuple[Turns, ...]


@dataclass(slots=True)
class Scored:
    """What the harness found: the rewards of the sides of each row, and for each figure which rows were won."""

    rewards: dict[str, list[float]] = field(default_factory=dict)
    won: dict[str, list[bool]] = field(default_factory=dict)


def official_files(folder: Path) -> list[Path]:
    """Return the official files in ``folder``, in the order of their names."""
    return sorted(folder.rglob("*.json"))


def official_rows(name: str, folder: Path) -> Iterator[list[OfficialRow]]:
    """Yield the rows that the harness runs over together: of RM-Bench each style, of RMB each file."""
    if name == "rm_bench":
        files = {path: json.loads(path.read_text(encoding="utf-8")) for path in official_files(folder)}
        for style in range(STYLES):
            yield [_rm_bench_row(path, row, style) for path, rows in files.items() for row in rows]
    else:
        for path in official_files(folder):
            category = path.relative_to(folder).with_suffix("").as_posix()
            yield [_rmb_row(category, row) for row in json.loads(path.read_text(encoding="utf-8"))]


def _rm_bench_row(path: Path, row: dict[str, Any], style: int) -> OfficialRow:
    domain = path.stem.removesuffix("_filtered")
    prompt = [{"role": "user", "content": row["prompt"]}]
    sides = tuple([*prompt, _response(row[side][style])] for side in ("chosen", "rejected"))
    return OfficialRow(f"rm_bench/{domain}/{row['id']}/{style}", f"{domain.split('-')[0]}_normal", sides)


def _rmb_row(category: str, row: dict[str, Any]) -> OfficialRow:
    kind, goal, *_ = category.split("/")
    if kind == "Pairwise_set":
        name, answers, sort = row["pair_uid"], [row["chosen"], row["reject"]], "pairwise"
    else:
        name, answers, sort = row["bon_uid"], [row["bon_best"], *row["loser_list"]], "best_of_n"
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in row["conversation_input"]]
    sides = tuple([*turns, _response(each["answer"])] for each in answers)
    return OfficialRow(f"{category}/{name}", f"{goal.lower().removesuffix('ness')}_{sort}", sides)


def _response(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def batches(rows: Sequence[OfficialRow]) -> Iterator[list[tuple[OfficialRow, Turns]]]:
    """Yield what the harness runs at once: one side of 16 rows, then the next side of them."""
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        for side in range(max(len(row.sides) for row in batch)):
            yield [(row, row.sides[side]) for row in batch if side < len(row.sides)]


class Harness:
    """Scores official rows with transformers alone."""

    def __init__(self, checkpoint: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint, truncation_side="left")
        self.model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()

    @torch.no_grad()
    def run(self, name: str, folder: Path) -> Scored:
        """Return the rewards of every official row in ``folder``."""
        found = Scored()
        for rows in official_rows(name, folder):
            rewards: dict[str, list[float]] = {row.key: [] for row in rows}
            for batch in batches(rows):
                inputs = self.inputs([turns for _, turns in batch])
                values = self.model(**inputs).logits[:, 0].tolist()
                for (row, _), value in zip(batch, values, strict=True):
                    rewards[row.key].append(value)
            for row in rows:
                first, *others = rewards[row.key]
                found.won.setdefault(row.part, []).append(first > max(others))
            found.rewards |= rewards
        return found

    def inputs(self, conversations: Sequence[Turns]) -> dict[str, torch.Tensor]:
        """Return the ids and the mask of a batch, padded to its longest conversation."""
        encoded = self.tokenizer(
            [self.tokenizer.apply_chat_template(turns, tokenize=False) for turns in conversations],
            add_special_tokens=False,
            truncation=True,
            max_length=MAX_LENGTH,
            padding=True,
            return_tensors="pt",
        )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def run_plaudit(scorer: RewardScorer, name: str, folder: Path, out: Path) -> Result:
    """Return the result of plaudit's evaluation, from the official files."""
    benchmark = benchmark_named(name)
    loaded = benchmark.load(str(folder))
    return evaluate_benchmark(scorer, benchmark, loaded, model="random Llama", output_dir=out)


def rewards_of(name: str, items: Sequence[ItemScore]) -> dict[str, list[float]]:
    """Return the rewards of every official row from plaudit's items, as the harness names the rows."""
    found = {}
    for item in items:
        rewards = [float("nan") if reward is None else reward for reward in item.rewards]
        if name == "rm_bench":
            for style in range(STYLES):
                found[f"{item.id}/{style}"] = [rewards[style], rewards[STYLES + style]]
        else:
            facts: Any = item.metadata
            for uid, row in zip(facts["uids"], facts["comparisons"], strict=True):
                found[f"{facts['subset']}/{uid}"] = [rewards[k] for k in row]
    return found


def write_fitting(name: str, folder: Path, tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """Write to ``folder`` the official rows whose conversations all fit into ``MAX_LENGTH``; return counts."""
    counts = {"rows_in_files": 0, "rows_left_out_as_too_long": 0}
    for path in official_files(DATA / name):
        rows = json.loads(path.read_text(encoding="utf-8"))
        kept = [row for row in rows if _longest(name, path, row, tokenizer) <= MAX_LENGTH]
        counts["rows_in_files"] += len(rows)
        counts["rows_left_out_as_too_long"] += len(rows) - len(kept)
        _write(folder / path.relative_to(DATA / name), kept)
    return counts


def write_sample(name: str, source: Path, folder: Path, every: int) -> None:
    """Write to ``folder`` the rows of one prompt in ``every`` of each file of ``source``."""
    for path in official_files(source):
        rows = json.loads(path.read_text(encoding="utf-8"))
        by_row = [json.dumps(row["prompt"] if name == "rm_bench" else row["conversation_input"]) for row in rows]
        chosen = set(list(dict.fromkeys(by_row))[::every])
        kept = [row for row, prompt in zip(rows, by_row, strict=True) if prompt in chosen]
        _write(folder / path.relative_to(source), kept)


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")


def _longest(name: str, path: Path, row: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> int:
    if name == "rm_bench":
        sides = [side for style in range(STYLES) for side in _rm_bench_row(path, row, style).sides]
    else:
        sides = list(_rmb_row(path.relative_to(DATA / name).with_suffix("").as_posix(), row).sides)
    texts = [str(tokenizer.apply_chat_template(side, tokenize=False)) for side in sides]
    return max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])


def texts_of(loaded: Loaded) -> list[str]:
    """Return every prompt and response."""
    return [text for group in loaded.groups for text in (*(turn.content for turn in group.prompt), *group.responses)]


def work(name: str, folder: Path, scorer: RewardScorer, harness: Harness) -> tuple[dict[str, Any], int]:
    """Return what each side computes for the rows in ``folder``, and the keys that plaudit's tokens attend to."""
    groups = benchmark_named(name).load(str(folder)).groups
    encoder = scorer.recipe.encoder(scorer.model.tokenizer)
    encoded: list[Any] = list(encoder.encode(list(enumerate(groups)), EncodingReport()))
    masks = [
        harness.inputs([turns for _, turns in batch])["attention_mask"]
        for rows in official_rows(name, folder)
        for batch in batches(rows)
    ]
    counts = {
        "prompts": len(groups),
        "rows": sum(len(rows) for rows in official_rows(name, folder)),
        "responses": sum(len(group.responses) for group in groups),
        "harness_sequences": sum(len(mask) for mask in masks),
        "tokens": {
            "plaudit": sum(group.tree.num_tokens for group in encoded),
            "distinct_conversations": int(sum(group.lengths().sum() for group in encoded)),
            "harness": sum(int(mask.sum()) for mask in masks),
            "harness_with_padding": sum(mask.numel() for mask in masks),
        },
    }
    return counts, sum(attended_keys(group) for group in encoded)


def attended_keys(group: TokenGroup) -> int:
    """Return the number of keys that the unique tokens of a group attend to, together."""
    tree = group.tree
    depth = np.repeat(tree.position_starts() - tree.start[:-1], np.diff(tree.start))
    return int((np.arange(tree.num_tokens) + depth + 1).sum())


def compare(name: str, harness: Scored, result: Result, items: Sequence[ItemScore]) -> dict[str, Any]:
    """Return how far rewards and figures of the two sides lie apart.

    Raises:
        AssertionError: when they scored other rows, or rewards differ by more than the tolerance.
    """
    own = rewards_of(name, items)
    assert own.keys() == harness.rewards.keys(), f"{name}: the two sides scored other rows"
    assert len(own) == sum(map(len, harness.won.values())), f"{name}: two rows have one name"
    pairs = [(np.asarray(own[key]), np.asarray(values)) for key, values in harness.rewards.items()]
    difference = max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)
    assert difference < TOLERANCE, f"{name}: the rewards differ by {difference}"
    differently = sum(bool(a[0] > a[1:].max()) != bool(b[0] > b[1:].max()) for a, b in pairs)
    shares = {part: statistics.fmean(won) for part, won in harness.won.items()}
    official = result.measure("benchmark")
    assert official is not None
    figures = {part: official.metrics[part].value for part in shares}
    return {
        "largest_reward_difference": difference,
        "rows_decided_differently": differently,
        "figures": {"plaudit": figures, "harness": shares},
    }


def timed(args: argparse.Namespace, scorer: RewardScorer, harness: Harness, folder: Path) -> dict[str, Any]:
    """Return, for each benchmark, the runs of both sides (wall and processor seconds, load) and what they found."""
    found: dict[str, Any] = {name: {"runs": []} for name in NAMES}
    for repeat in range(args.repeats):
        for name in NAMES:
            out = folder / f"{name}-{repeat}"
            ways = {
                "plaudit": lambda name=name, out=out: run_plaudit(scorer, name, folder / name, out),
                "harness": lambda name=name: harness.run(name, folder / name),
            }
            run: dict[str, Any] = {}
            for way in list(ways)[:: -1 if repeat % 2 else 1]:
                began, worked = time.perf_counter(), time.process_time()
                found[name][way] = ways[way]()
                seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - worked}
                run[way] = {key: round(value, 2) for key, value in seconds.items()}
            found[name]["runs"].append(run | {"load": round(os.getloadavg()[0], 2)})
            print(f"# {name} {found[name]['runs'][-1]}", file=sys.stderr, flush=True)
        found["items"] = {name: read_items(folder / f"{name}-{repeat}") for name in NAMES}
    return found


def read_items(folder: Path) -> list[ItemScore]:
    """Return the items that an evaluation wrote."""
    lines = (folder / ITEMS_NAME).read_text(encoding="utf-8").splitlines()
    return [ItemScore.model_validate_json(line) for line in lines]


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median seconds of each side, and how many times as long the harness took."""
    found: dict[str, Any] = {}
    for kind in ("seconds", "cpu_seconds"):
        own, other = (statistics.median(run[way][kind] for run in runs) for way in ("plaudit", "harness"))
        found[f"median_{kind}"] = {"plaudit": own, "harness": other}
        found["ratio" if kind == "seconds" else "ratio_of_cpu_seconds"] = other / own
    return found


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the result: each benchmark, both together, and the bound."""
    texts = [text for name in NAMES for text in texts_of(benchmark_named(name).load(str(DATA / name)))]
    tokenizer = build_tokenizer(texts, vocabulary=VOCABULARY)
    checkpoint, whole = folder / "checkpoint", folder / "whole"
    save_reward_model(llama(args.shape, tokenizer, max_length=MAX_LENGTH), checkpoint)
    scorer, harness = plaudit.load(checkpoint), Harness(checkpoint)
    assert isinstance(scorer, RewardScorer)
    counts = {name: write_fitting(name, whole / name, tokenizer) for name in NAMES}
    for name in NAMES:
        write_sample(name, whole / name, folder / name, args.every)
    found = timed(args, scorer, harness, folder)
    parts: dict[str, Any] = {}
    unique = keys = 0
    for name in NAMES:
        each, (computed, attended) = found[name], work(name, folder / name, scorer, harness)
        unique, keys = unique + computed["tokens"]["plaudit"], keys + attended
        parts[name] = {
            **computed,
            **medians(each["runs"]),
            "runs": each["runs"],
            **compare(name, each["harness"], each["plaudit"], found["items"][name]),
            "whole_files": {**counts[name], **work(name, whole / name, scorer, harness)[0]},
        }
    together = [
        {way: {kind: sum(run[way][kind] for run in runs) for kind in runs[0][way]} for way in ("plaudit", "harness")}
        for runs in zip(*(found[name]["runs"] for name in NAMES), strict=True)
    ]
    total = medians(together)
    rate = matmul_flops_per_second(scorer.model, 4096, backward=False)
    bound = flops(scorer.model, unique, keys / unique, backward=False) / rate
    return {
        "benchmark": "benchmarks",
        "shape": args.shape,
        "every": args.every,
        "layout": scorer.model.layout,
        "max_tokens": scorer.max_tokens,
        "harness_batch": BATCH,
        "repeats": args.repeats,
        "cores": os.cpu_count(),
        **total,
        "matmul_gflops": rate / 1e9,
        "seconds_over_bound": total["median_seconds"]["plaudit"] / bound,
        "parts": parts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=tuple(SHAPES), default="256x6")
    parser.add_argument("--every", type=int, default=48, help="take one prompt in so many of each file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, Path(folder))
    text = json.dumps(result | describe(), indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
