"""A trial of a config in a minute, offline: a tiny random model in place of its own, and few rows.

Nothing of it is a result: the run record and the model card say so, and ``plaudit push`` refuses it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS
from transformers.utils.logging import disable_progress_bar

from plaudit.data.mixing.config import Everything
from plaudit.data.mixing.mixture import mixture_config
from plaudit.data.reading.options import DataFile
from plaudit.data.reading.read import load_files, read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, DataError, ModelError
from plaudit.models.backbone import load_config_of, load_tokenizer, prepare_config, resolve_source
from plaudit.models.create import build_tokenizer
from plaudit.training.config import DataSection, PretrainedInit, ScratchInit, TrainConfig
from plaudit.training.prepare import label_kind, trained_head
from plaudit.worlds.labels import Label
from plaudit.worlds.world import World

MAX_STEPS = 10
MAX_GROUPS = 128
"""Groups of each file of a trial."""
MAX_LENGTH = 512

_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_inner", "n_inner", "hidden_dim"), 128),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads"), 4),
    "num_key_value_heads": 2,
    "head_dim": 16,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
}
"""Sizes by the names that configs of transformers have for them."""


def tiny_config(config: TrainConfig, folder: Path) -> tuple[TrainConfig, list[str]]:
    """Return ``config`` as a trial of it, and in words what stands in for what.

    The model of ``config`` becomes a random one of its family with two layers, in ``folder``, with the tokenizer and
    template of the real one where they are on this machine. Of each file the first 128 groups are read; where one is
    not here, groups of the built-in world with the labels that the objective needs take the place of all. At most ten
    steps are taken, without trackers and without fields of ``step.trainer_kwargs``.

    Raises:
        ConfigError, DataError: for data that is here and cannot be read.
    """
    data, said = _few_groups(config, folder)
    small = config.model_copy(update={"data": data, "step": _few_steps(config), "push": None})
    model = config.model
    length = min(model.max_length or MAX_LENGTH, MAX_LENGTH)
    match model.init:
        case ScratchInit() as init:
            sizes = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "vocabulary": min(init.vocabulary, 512)}
            name, start = "the model from scratch", init.model_copy(update=sizes)
            said.append("a model of one layer and width 32 stands in for that of the config")
        case PretrainedInit() as init:
            words = tuple(getattr(model.head, "words", ()))
            kind = _write_model(init, _texts(small), words, folder / "base", seed=config.step.seed)
            changes = {"path": str(folder / "base"), "quantization": None, "dtype": "float32"}
            name, start = init.path, init.model_copy(update=changes)
            said.append(f"a random {kind} stands in for {init.path}")
    said.append(f"at most {MAX_STEPS} steps, to try the config: no figure of this run means anything")
    section = model.model_copy(update={"init": start, "max_length": length, "tiny": name})
    return small.model_copy(update={"model": section}), said


def _few_steps(config: TrainConfig) -> Any:
    step = config.step
    changes: dict[str, Any] = {
        "max_steps": min(step.max_steps or MAX_STEPS, MAX_STEPS),
        "groups_per_step": min(step.groups_per_step, 4),
        "evaluate_every": None,
        "save_every": None,
        "precision": "float32",
        "trackers": (),
        "trainer_kwargs": {},
        "log_every": 1,
    }
    return step.model_copy(update=changes)


# ----------------------------------------------------------------------------------------------------------- data


def _few_groups(config: TrainConfig, folder: Path) -> tuple[DataSection, list[str]]:
    """Return the data section of a trial, and in words the files that are not here."""
    data = config.data
    mixture = None if data.mixture is None else mixture_config(data.mixture)
    files = [*data.train, *data.held_out, *(file for part in (mixture.parts if mixture else ()) for file in part.files)]
    gone = [file.path for file in files if not _is_here(file)]
    if gone:
        count = write_groups(folder / "world.jsonl", _world(config))
        said = f"{count} groups of the built-in world stand in for the data, of which {gone[0]} is not on this machine"
        return DataSection(train=(DataFile(path=str(folder / "world.jsonl")),), held_out_share=0.25), [said]
    if mixture is not None and isinstance(mixture.draw, Everything):
        parts = [part.model_copy(update={"files": _limited(part.files)}) for part in mixture.parts]
        mixture = mixture.model_copy(update={"parts": tuple(parts)})
    changes = {"train": _limited(data.train), "held_out": _limited(data.held_out), "mixture": mixture}
    return data.model_copy(update=changes), []


def _limited(files: Sequence[DataFile]) -> tuple[DataFile, ...]:
    return tuple(each.model_copy(update={"limit": min(each.limit or MAX_GROUPS, MAX_GROUPS)}) for each in files)


def _is_here(file: DataFile) -> bool:
    """Return whether a file can be read; one that is on this machine, and broken, is an error."""
    try:
        load_files([file.model_copy(update={"limit": 1})])
    except ConfigError:
        return False
    except DataError:
        if Path(file.path).expanduser().exists():
            raise
        return False
    return True


def _world(config: TrainConfig) -> Iterator[Group]:
    """Yield groups of the built-in world with the labels that the objective needs, under the names that it gives."""
    needs = config.objective.needs
    kind = label_kind(config.objective, trained_head(config).form)
    labels: set[Label] = {"preferences" if kind == "strengths" else kind, "preferences"}
    for group in World(missing_ratings=0.0).groups(MAX_GROUPS, responses=4, split="train", labels=labels):
        ratings = list(group.ratings.values())
        named = {name: ratings[place % len(ratings)] for place, name in enumerate(needs.attributes)} if ratings else {}
        pairs = tuple(dataclasses.replace(pair, margin=1.0) for pair in group.preferences)
        yield dataclasses.replace(group, ratings=named, preferences=pairs)


def _texts(config: TrainConfig) -> Iterator[str]:
    data = config.data
    files = data.train or [file for part in mixture_config(data.mixture).parts for file in part.files]  # pyrefly: ignore
    for file in files:
        for group in islice(read_groups(file.path, file.model_copy(update={"limit": MAX_GROUPS})), MAX_GROUPS):
            yield from (message.content for message in group.prompt)
            yield from group.responses


# ---------------------------------------------------------------------------------------------------------- model


def _write_model(init: PretrainedInit, texts: Iterator[str], words: tuple[str, ...], folder: Path, *, seed: int) -> str:
    """Write a tiny random model of the family of ``init`` and its tokenizer to ``folder``; return its kind in words."""
    source = resolve_source(init.path)
    disable_progress_bar()
    tokenizer = _tokenizer(source, init, texts, words)
    config, known = _family(source, init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network, family = _network(_shrunk(config, tokenizer)), config.model_type
        except Exception:
            # Whatever a class asks of its config beyond the common sizes: the trial is of the recipe, not of the class.
            network, family = _network(_shrunk(transformers.LlamaConfig(), tokenizer)), "llama"
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    own = "its own tokenizer" if known else "a tokenizer of its texts"
    return f"{family} of 2 layers and width 64 with {own}"


def _tokenizer(
    source: str, init: PretrainedInit, texts: Iterator[str], words: tuple[str, ...]
) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(source, trust_remote_code=init.trust_remote_code)
    except ModelError:
        made = build_tokenizer(texts, vocabulary=1024)
        made.add_tokens([word for word in words if len(made.tokenize(word)) != 1])
        return made


def _family(source: str, init: PretrainedInit) -> tuple[PreTrainedConfig, bool]:
    """Return the config of the model, True where it is on this machine, else one of the family that its name says."""
    try:
        return load_config_of(source, trust_remote_code=init.trust_remote_code), True
    except ModelError:
        name = re.sub(r"[^a-z0-9]", "", source.lower())
        found = [each for each in CLASSIFIERS if re.sub(r"[^a-z0-9]", "", each) in name and len(each) > 3]
        family = max(found, key=len, default="llama")
        return transformers.CONFIG_MAPPING[family](), False


def _shrunk(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """Return a config of the same class with small sizes."""
    text = config.get_text_config()
    described = text.to_dict()
    sizes = {name: size for name, size in _SIZES.items() if isinstance(described.get(name), int)}
    if isinstance(described.get("layer_types"), list):
        sizes["layer_types"] = described["layer_types"][-2:]
    positions = {name: 1024 for name in ("max_position_embeddings", "n_positions") if described.get(name)}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "eos", "bos")}
    keep = {name: value for name, value in described.items() if name not in ("architectures", "dtype", "auto_map")}
    fields: dict[str, Any] = {**keep, **sizes, **positions, **ids, "vocab_size": len(tokenizer)}
    made = type(text)(**fields)
    prepare_config(made)
    return made


def _network(config: PreTrainedConfig) -> Any:
    """Return a random network: a causal language model where the family has one, whose backbone any head takes."""
    if type(config) in transformers.AutoModelForCausalLM._model_mapping and "bert" not in config.model_type:
        return transformers.AutoModelForCausalLM.from_config(config)
    return transformers.AutoModel.from_config(config)
