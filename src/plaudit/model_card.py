"""The model card of a trained model, ``model/README.md``, made of the records of its run; and its way to the hub.

Pushing was tried against an imitation of the hub alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plaudit.config import load_config
from plaudit.data.reading.files import SUFFIXES
from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.models.backbone import RUN_MODEL
from plaudit.models.checkpoint.hub import upload_folder
from plaudit.models.checkpoint.recipe import ScoringRecipe, read_recipe
from plaudit.opening import model_source
from plaudit.records import Result, RunRecord, write_text
from plaudit.reports.inputs import Run, read_run
from plaudit.reports.names import baseline_words, metric_text
from plaudit.reports.primary_metric import verdict
from plaudit.reports.tables import interval_text, show
from plaudit.training.config import PretrainedInit, TrainConfig

CARD = "README.md"
TINY_TAG = "tiny-random"
"""Tag of the card of a trial, by which ``plaudit push`` knows it without the run's record."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def write_model_card(run: Path) -> Path:
    """Return the card of the model in the folder of a run, written into its model's folder.

    Raises:
        DataError: when the run has no record or no model.
    """
    path = run / RUN_MODEL / CARD
    write_text(path, model_card(run))
    return path


def model_card(run: Path) -> str:
    """Return the model card of a run: data, held-out metrics, template, length, and how other tools load the model."""
    read, recipe = read_run(run), read_recipe(run / RUN_MODEL)
    if read.record is None or recipe is None:
        raise DataError(f"{run} holds no finished run: run.json and {RUN_MODEL}/plaudit.json make the card")
    config = load_config(TrainConfig, run / "config.yaml")
    held_out = next((each.result for each in read.evaluations if each.result.name == "held_out"), None)
    parts = [
        _front_matter(config, read.record),
        f"# {config.name}\n",
        _about(config, read.record, recipe),
        _evaluation(held_out, config),
        _data(read),
        _reading(recipe),
        _loading(recipe),
        _provenance(read.record),
    ]
    return "\n".join(parts)


def _front_matter(config: TrainConfig, record: RunRecord) -> str:
    """Return the header that the hub reads."""
    tags = ["reward-model", "rlhf", "plaudit", *([TINY_TAG] if config.model.tiny else [])]
    lines = ["---", "library_name: transformers", "pipeline_tag: text-classification", "tags:"]
    lines += [f"- {tag}" for tag in tags]
    base = _base(config)
    if base is not None and _is_hub_name(base):
        lines.append(f"base_model: {base}")
    names = dict.fromkeys(name for _, name in _paths(record) if _is_hub_name(name))
    if names:
        lines += ["datasets:", *(f"- {name}" for name in names)]
    return "\n".join([*lines, "---", ""])


def _is_hub_name(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and not name.lower().endswith(SUFFIXES) and not Path(name).exists()


def _base(config: TrainConfig) -> str | None:
    """Return the model that training began with; None where it began with nothing."""
    init = config.model.init
    return (config.model.tiny or init.path) if isinstance(init, PretrainedInit) else None


def _paths(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield (set, name) for each file of the data; of a file of that machine its name alone."""
    for kind, counts in record.data.items():
        for path in str(counts.get("read", {}).get("path", "")).split(", "):
            yield kind, path if _HUB_NAME.fullmatch(path) else Path(path).name


def _about(config: TrainConfig, record: RunRecord, recipe: ScoringRecipe) -> str:
    base = _base(config)
    began = "from random weights" if base is None else f"on {base if _is_hub_name(base) else Path(base).name}"
    said = (
        f"A reward model, trained {began} with the objective `{config.objective.type}` by "
        f"[plaudit](https://github.com/plaudit/plaudit) {record.versions.get('plaudit', '')}: "
        f"{record.model['parameters']:,} weights, `{recipe.architecture}`.\n"
    )
    if config.model.tiny is None:
        return said
    trial = f"A tiny random model stands in for {config.model.tiny}; no figure means anything."
    return f"> **A trial, not a model.** {trial}\n\n{said}"


def _evaluation(result: Result | None, config: TrainConfig) -> str:
    """Return verdict and table of the held-out metrics: value, interval, n, and the baselines of the same rows."""
    lines = ["## Held-out evaluation", ""]
    if result is None:
        return "\n".join([*lines, "No prompt was held out, so there is no figure.", ""])
    lines += [" ".join(verdict(result)), ""]
    lines += ["| labels | metric | value | 95 % interval | n | baselines |", "|---|---|--:|--:|--:|---|"]
    for measure in result.measures:
        found, text = measure.metrics.get(measure.primary), metric_text(measure)
        if found is None:
            continue
        beside = ", ".join(
            f"{baseline_words(rule)} {show(each.value, text.kind)} ({interval_text(each, text.kind)})"
            for rule, each in measure.baselines.get(measure.primary, {}).items()
        )
        cells = (measure.name, text.label, show(found.value, text.kind), interval_text(found, text.kind))
        lines.append(f"| {' | '.join(cells)} | {found.n:,} | {beside} |")
    counts = (
        f"{result.n:,} groups: {result.scored:,} scored, {result.unscored:,} without a label, {result.failed:,} failed"
    )
    split = not config.data.held_out and config.data.mixture is None
    how = " They were split off by prompt: none of their prompts was trained on." if split else ""
    return "\n".join([*lines, "", f"{counts}.{how}", ""])


def _data(read: Run) -> str:
    assert read.record is not None
    lines = ["## Data", "", "| set | files | groups | preferences | licence | left out |", "|---|---|--:|--:|---|---|"]
    names: dict[str, list[str]] = {}
    for kind, name in _paths(read.record):
        names.setdefault(kind, []).append(name)
    for kind, counts in read.record.data.items():
        left = {**counts["read"].get("dropped", {}), **counts["encoded"]["dropped"]}
        cells = (
            kind.replace("_", " "),
            ", ".join(names.get(kind, ())),
            f"{counts['groups']:,}",
            f"{counts['preferences']:,}",
            counts["read"].get("licence") or "not recorded",
            "; ".join(f"{count:,} {reason}" for reason, count in left.items()) or "nothing",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _reading(recipe: ScoringRecipe) -> str:
    """Return what fixes a reward besides the weights: template, special tokens, length."""
    special = (
        "the tokenizer adds its special tokens to the rendered text"
        if recipe.special_tokens
        else "the template writes every special token itself, so none is added"
    )
    return "\n".join(
        [
            "## How it reads a conversation",
            "",
            f"At most {recipe.max_length:,} tokens (longer ones: `{recipe.truncation}`), in {recipe.dtype}; {special}. "
            f"Scoring recipe `{recipe.hash}`, in `plaudit.json`. The chat template, saved with the tokenizer:",
            "",
            "````jinja",
            recipe.chat_template,
            "````",
            "",
        ]
    )


def _loading(recipe: ScoringRecipe) -> str:
    """Return how plaudit, transformers, TRL and vLLM load the model."""
    ours = [
        "## How to load it",
        "",
        "`MODEL` is this folder, or its name on the hub.",
        "",
        "plaudit, which checks template, tokens and head, and encodes each prompt once:",
        "",
        "```python",
        "import plaudit",
        "",
        'model = plaudit.load("MODEL")',
        'print(model.score("What is 2 + 2?", ["4", "5"]))',
        "```",
        "",
    ]
    if recipe.head not in ("scalar", "odin") or recipe.form != "conversation":
        return "\n".join([*ours, "Other tools do not read a head of this kind as plaudit does.", ""])
    final = "" if recipe.final_token is None else " + tokenizer.eos_token"
    return "\n".join(
        [
            *ours,
            "transformers:",
            "",
            "```python",
            "from transformers import pipeline",
            "",
            'pipe = pipeline("sentiment-analysis", model="MODEL", function_to_apply="none")',
            "tokenizer = pipe.tokenizer",
            'turns = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]',
            f"text = tokenizer.apply_chat_template(turns, tokenize=False){final}",
            f'print(pipe(text, add_special_tokens={recipe.special_tokens})[0]["score"])',
            "```",
            "",
            "TRL, as a reward function or as a model:",
            "",
            "```python",
            'GRPOTrainer(reward_funcs=plaudit.reward_function("MODEL"), ...)',
            'GRPOTrainer(reward_funcs="MODEL", ...)',
            "```",
            "",
            "vLLM, and plaudit as its client:",
            "",
            "```sh",
            "vllm serve MODEL --runner pooling",
            "plaudit score 'http://localhost:8000?shape=vllm-classify&template=MODEL' pairs.jsonl -o rewards.jsonl",
            "```",
            "",
            "transformers, TRL and vLLM cut nothing by the rule above: texts longer than its length get other rewards "
            "there. `plaudit doctor MODEL` compares the logits on this machine.",
            "",
        ]
    )


def _provenance(record: RunRecord) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    seconds = "" if record.seconds is None else f", {record.seconds:,.0f} s"
    facts: list[tuple[str, Any]] = [
        ("made", record.created),
        ("device", f"{record.device}{seconds}"),
        ("seed", record.seed),
        ("versions", versions),
    ]
    return "\n".join(["## How it was made", "", *(f"- {name}: {value}" for name, value in facts), ""])


# -------------------------------------------------------------------------------------------------------- to the hub


def push(model: str | Path, repo: str, *, private: bool = False, revision: str | None = None) -> str:
    """Return the address of a model on the hub: that of a run, with its card, or one in a folder, pushed to ``repo``.

    The token is the one that ``hf auth login`` keeps, or that of ``HF_TOKEN``.

    Raises:
        ConfigError: for a name that is no ``owner/name``, and for a trial with a tiny model.
        OutputError: when there is no model, or the hub does not take it.
    """
    if not _HUB_NAME.fullmatch(repo):
        raise ConfigError(f"the repository is {repo!r}; it must be owner/name")
    folder = Path(model_source(str(model)))
    if not (folder / "config.json").is_file():
        raise OutputError(f"{model} holds no model to push; give a run, or the folder of a model")
    if folder != Path(model) and (Path(model) / "run.json").is_file():
        write_model_card(Path(model))
    if is_trial(folder):
        raise ConfigError(f"{model} is a trial with a tiny random model; train it without --tiny to push it")
    return upload_folder(folder, repo, private=private, revision=revision, message="Model trained with plaudit")


def is_trial(folder: Path) -> bool:
    """Return whether the card of a model says that it is a tiny random one."""
    card = folder / CARD
    return card.is_file() and f"\n- {TINY_TAG}\n" in card.read_text(encoding="utf-8").split("\n---\n")[0] + "\n"
