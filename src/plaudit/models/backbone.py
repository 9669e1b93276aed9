"""Loading of a transformers sequence classifier for a reward model, from a directory, a hub id or a config.

Also the files of its checkpoint, and its head's weights, which loading in half precision must not round.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file, logging

from plaudit.batching.encode import check_fast
from plaudit.data.reading.options import expand
from plaudit.errors import CheckpointError, ModelError, PlauditError, closest_or_all
from plaudit.models.checkpoint.four_bit import four_bit_arguments, settle
from plaudit.models.checkpoint.recipe import Quantization, ReadOut, ScoringRecipe
from plaudit.models.heads.head import HeadSpec

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}

PAD_TOKEN = "<|pad|>"

_TOKENIZER_SETTINGS = ("truncation", "padding")
"""Parts of a tokenizer's file that say how it was last called, and nothing about its tokens."""


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A sequence classifier, its weights that the checkpoint did not hold, and weights it has no place for."""

    network: PreTrainedModel
    missing: tuple[str, ...]
    unexpected: tuple[str, ...] = ()


def resolve_source(source: str) -> str:
    """Return where a model lies: ``package:NAME/FOLDER`` is a folder that an installed Python package brings.

    Raises:
        ModelError: when the package or the folder is not there.
    """
    if not source.startswith("package:"):
        return expand(source)
    name, _, folder = source.removeprefix("package:").partition("/")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"{source}: the Python package {name!r} is not installed")
    path = Path(spec.submodule_search_locations[0]) / folder
    if not path.is_dir():
        raise ModelError(f"{source}: the package {name!r} has no folder {folder!r}")
    return str(path)


def load_network(
    source: str,
    *,
    dtype: str,
    spec: HeadSpec | None = None,
    trust_remote_code: bool = False,
    quantization: Quantization | None = None,
    device: str | None = None,
) -> LoadedNetwork:
    """Return the network in ``source`` with the outputs that ``spec`` asks for (default: one reward), dropout off.

    It comes on the CPU; a quantised one on ``device``, where it is made (default: the current CUDA device, if any).

    Raises:
        ModelError: when there is no model, its kind cannot be a reward model, or it cannot be quantised.
        MissingExtraError: when it is to be quantised, and bitsandbytes is not installed.
    """
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype!r}; {closest_or_all(dtype, DTYPES)}")
    config = load_config_of(source, trust_remote_code=trust_remote_code)
    spec = HeadSpec() if spec is None else spec
    prepare_config(config, spec)
    auto_class: Any = getattr(transformers, f"AutoModel{spec.class_ending}")
    arguments: dict[str, Any] = {}
    with _explained(f"cannot load a reward model from {source}"), _without_report():
        if quantization is not None:
            arguments = four_bit_arguments(
                source,
                auto_class,
                config,
                dtype=DTYPES[dtype],
                device=device or default_device(),
                trust_remote_code=trust_remote_code,
            )
        network, info = auto_class.from_pretrained(
            source,
            config=config,
            dtype=DTYPES[dtype],
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **arguments,
        )
        if quantization is not None:
            settle(network)
    if info["mismatched_keys"]:
        name, found, wanted = min(info["mismatched_keys"])
        raise ModelError(
            f"cannot load a reward model from {source}: {name} has shape {list(found)} in the file, "
            f"the config asks for {list(wanted)}"
        )
    for module in network.modules():
        # Some heads drop units at a rate that stands in no field of their config.
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return LoadedNetwork(network, tuple(sorted(info["missing_keys"])), tuple(sorted(info["unexpected_keys"])))


def default_device() -> str:
    """Return where a model goes that was sent nowhere: the current CUDA device, or else the CPU."""
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn whatever a library below raises over a broken model into a ModelError that opens with ``what``.

    transformers, tokenizers and safetensors let any error through: KeyError, ImportError, RecursionError, errors of
    Rust that have no base of their own.
    """
    try:
        yield
    except PlauditError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: {_first_line(error)}") from error


@contextlib.contextmanager
def _without_report() -> Iterator[None]:
    """Keep transformers from printing its table of weights; its faults become errors here."""
    kept = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(kept)


def load_config_of(source: str, *, trust_remote_code: bool = False) -> PreTrainedConfig:
    """Return the transformers config of a model.

    Raises:
        ModelError: when there is none, or the model has an encoder and a decoder.
    """
    if not source:
        raise ModelError("the name of the model is empty; give a directory or a hub id")
    with _explained(f"no model at {source!r}{'' if Path(source).exists() else ' (no such folder here)'}"):
        if (source.startswith(("/", ".", "~")) or source.count("/") > 1) and not Path(source).exists():
            raise ModelError(f"{source} does not exist")
        if Path(source).is_file():
            raise ModelError(f"{source} is a file; give the directory of the model")
        if Path(source).is_dir() and not (Path(source) / "config.json").exists():
            raise ModelError(f"{source} is a directory without config.json; a model directory has one")
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    if config.is_encoder_decoder:
        raise ModelError(f"{source} is an encoder-decoder; reward models here are decoders or encoders")
    return config


def prepare_config(config: PreTrainedConfig, spec: HeadSpec | None = None) -> None:
    """Make ``config`` that of a reward model: the outputs of ``spec`` (default: one reward), dropout off, no cache."""
    spec = HeadSpec() if spec is None else spec
    if spec.task != "language_model":
        config.num_labels = spec.outputs
        if spec.names:
            config.id2label = dict(enumerate(spec.names))
            config.label2id = {name: index for index, name in enumerate(spec.names)}
    if spec.task == "sequence":
        config.problem_type = "regression"
    config.use_cache = False
    text = config.get_text_config()
    for holder in {id(config): config, id(text): text}.values():
        for key, value in holder.to_dict().items():
            if isinstance(value, float) and "drop" in key:
                setattr(holder, key, 0.0)


def output_names(config: PreTrainedConfig) -> tuple[str, ...]:
    """Return the names of the outputs of a classifier, in order, as its config has them."""
    names: dict[Any, Any] = config.id2label or {}
    return tuple(str(names[place]) for place in sorted(names))


def load_tokenizer(source: str, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Return the tokenizer in ``source``.

    Raises:
        ModelError: when there is none.
    """
    folder = Path(source)
    files = ("tokenizer.json", "tokenizer_config.json")
    if folder.is_dir() and not any((folder / name).is_file() for name in files):
        raise ModelError(f"no tokenizer at {source!r}: the directory holds neither {' nor '.join(files)}")
    with _explained(f"no tokenizer at {source!r}"):
        found = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    if not isinstance(found, PreTrainedTokenizerBase):
        raise ModelError(f"no tokenizer at {source!r}")
    return found


def ensure_padding(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the tokenizer a pad token of its own, and tell the model.

    A pad token that is also the end token would make other tools read the reward at the wrong position.
    """
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    embedding = network.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    if len(tokenizer) > embedding.num_embeddings:
        network.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=8)
    network.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    network.config.pad_token_id = tokenizer.pad_token_id


def longest_conversation(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the longest conversation that the model and its tokenizer take.

    Long-range and dynamic rotary embeddings change their frequencies with the longest sequence of a *batch* beyond the
    length they were trained on; up to that length a reward does not depend on its neighbours.
    """
    config = network.config.get_text_config().to_dict()
    positions = config.get("max_position_embeddings")
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type") in ("longrope", "dynamic"):
        positions = rope.get("original_max_position_embeddings") or config.get(
            "original_max_position_embeddings", positions
        )
    stated = tokenizer.model_max_length
    limits = [limit for limit in (positions, stated) if isinstance(limit, int) and 0 < limit < 10**8]
    return min(limits) if limits else None


def is_language_model(network: PreTrainedModel) -> bool:
    """Return whether the network predicts tokens: its head is the vocabulary, and belongs to the model."""
    return network.get_output_embeddings() is not None


def read_out_of(network: PreTrainedModel) -> ReadOut:
    """Return where this class reads its reward: at the last token for a decoder, else by its own classifier."""
    children = dict(network.named_children())
    if network.base_model_prefix in children and ("score" in children or is_language_model(network)):
        return "last_token"
    return "classifier"


def initialise_head(network: PreTrainedModel, *, seed: int, names: Collection[str] | None = None) -> None:
    """Draw the weights of a ``score`` head from N(0, 1/(hidden + 1)); its biases, if any, become 0.

    The standard deviation is 1/√(hidden + 1). ``names`` limits it to those weights.
    Source: Stiennon et al. (2020), arXiv 2009.01325, appendix B.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, weight in [] if is_language_model(network) else head_parameters(network):
        if names is not None and name not in names:
            continue
        with torch.no_grad():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.ndim == 2 and (weight.shape[0] == 1 or name.startswith("score")):
                std = 1.0 / math.sqrt(weight.shape[1] + 1)
                drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float32) * std
                weight.copy_(drawn.to(weight.dtype))


def head_parameters(network: PreTrainedModel) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters outside the backbone."""
    prefix = f"{network.base_model_prefix}."
    return [(name, weight) for name, weight in network.named_parameters() if not name.startswith(prefix)]


def head_modules(network: PreTrainedModel) -> list[str]:
    """Return the names of the modules that make up the head: those outside the backbone, and the backbone's pooler."""
    names = {name.split(".")[0] for name, _ in head_parameters(network)}
    names |= {name.rsplit(".", 1)[-1] for name, _ in network.named_modules() if name.endswith(".pooler")}
    return sorted(names)


def head_in_float32(network: PreTrainedModel, read_out: ReadOut) -> None:
    """Keep the head in float32 under a half-precision backbone or autocast: rewards need more than eight bits."""
    children = dict(network.named_children())
    for name, module in children.items():
        if name == network.base_model_prefix or is_language_model(network):
            continue
        if read_out == "classifier":
            module.forward = MethodType(_forward_in_float32, module)
        if all(weight.dtype in (torch.bfloat16, torch.float16) for weight in module.parameters()):
            module.float()


def _forward_in_float32(module: nn.Module, *arguments: Any) -> Any:
    """Return the module's own forward outside autocast, its tensors in the precision of the module's weights.

    It is bound to the module as a method, so that a copy of the module runs its own weights.
    """
    weight = next(module.parameters(), None)
    tensors = [
        each.to(weight.dtype) if weight is not None and isinstance(each, torch.Tensor) else each for each in arguments
    ]
    device = tensors[0].device.type if isinstance(tensors[0], torch.Tensor) else "cpu"
    with torch.autocast(device, enabled=False):
        return type(module).forward(module, *tensors)


_ADAPTER_PREFIX = "base_model.model."

_SAMPLE = 256
"""Values of each weight of a language model that go into its hash."""


def head_hash(network: PreTrainedModel) -> str:
    """Return a short hash of the head's weights, to tell models of one scoring recipe apart.

    It is taken over every weight of the head. A language model has no head of its own, so there it is taken over some
    values, evenly spread, of every weight: training changes nearly all of them.
    """
    digest = hashlib.blake2b(digest_size=8)
    is_language = is_language_model(network)
    for name, weight in network.named_parameters() if is_language else head_parameters(network):
        values = weight.detach().flatten()
        if is_language:
            values = values[:: max(1, values.numel() // _SAMPLE)]
        digest.update(name.encode())
        digest.update(values.double().cpu().numpy().tobytes())
    return digest.hexdigest()


def checkpoint_file(source: str, name: str) -> Path | None:
    """Return a file of the checkpoint in a directory or of a hub id, or None where it has none."""
    directory = Path(source)
    if directory.is_dir():
        path = directory / name
        return path if path.exists() else None
    found = cached_file(
        source,
        name,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(str(found))


def restore_head(network: PreTrainedModel, source: str) -> None:
    """Copy the head's weights from the files of ``source`` once more, in the precision that they were saved in.

    ``from_pretrained`` with a half-precision dtype rounds every weight, also those of a head that was saved in float32.
    ``network`` is the classifier under any adapter; its head is in float32 already.
    """
    wanted: dict[str, torch.nn.Parameter] = {}
    for name, weight in head_parameters(network):
        if "original_module" not in name:
            wanted[name.replace("modules_to_save.default.", "")] = weight
    for path in _weight_files(source):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                weight = wanted.get(key.removeprefix(_ADAPTER_PREFIX))
                if weight is not None:
                    with torch.no_grad():
                        weight.copy_(file.get_tensor(key))


def tensors_outside(source: str, backbone: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint whose names do not begin with ``backbone``, as they are saved.

    Raises:
        CheckpointError: when a file of weights cannot be read.
    """
    found: dict[str, torch.Tensor] = {}
    for path in _weight_files(source):
        try:
            with safe_open(path, framework="pt") as file:
                names = [name for name in file.keys() if not name.startswith(backbone)]  # noqa: SIM118
                found |= {name: file.get_tensor(name) for name in names}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from None
    return found


def _weight_files(source: str) -> list[Path]:
    """Return the safetensors files of a checkpoint: those of its index, where its weights lie in several."""
    names = ["model.safetensors", "adapter_model.safetensors"]
    index = checkpoint_file(source, "model.safetensors.index.json")
    if index is not None:
        names += sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    return [path for name in names if (path := checkpoint_file(source, name)) is not None]


def _first_line(error: BaseException) -> str:
    line = next(iter(str(error).strip().splitlines()), "")
    if line and isinstance(error, (OSError, ValueError, RuntimeError)):
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def tokenizer_difference(first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase) -> str | None:
    """Return the first difference between two tokenizers, in words; None where they are the same.

    Compared are the vocabulary and every part of the tokenizer's file: normaliser, splitter, model, added tokens. How
    it was last asked to pad or truncate does not count, nor does the chat template.

    Raises:
        ModelError: when one of them has no ``tokenizer.json``.
    """
    check_fast(first)
    check_fast(second)
    if len(first) != len(second):
        return f"one has {len(first)} entries, the other {len(second)}"
    ids, others = first.get_vocab(), second.get_vocab()
    for token in sorted(ids, key=lambda token: ids[token]):
        if others.get(token) != ids[token]:
            return f"{token!r} is token {ids[token]} of one and {others.get(token, 'none')} of the other"
    parts, theirs = _tokenizer_parts(first), _tokenizer_parts(second)
    return next((f"their {name} differs" for name in parts if parts[name] != theirs.get(name)), None)


def _tokenizer_parts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    found = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in found.items() if name not in _TOKENIZER_SETTINGS}


def recipe_of(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, special_tokens: bool, **fields: Any
) -> ScoringRecipe:
    """Return the scoring recipe of a network with a scalar head; ``fields`` are further ones.

    Where the tokenizer adds its special tokens, conversations of a decoder also end in the end token. Long ones lose
    the beginning of the prompt.
    """
    read_out = read_out_of(network)
    said: dict[str, Any] = {
        "final_token": tokenizer.eos_token_id if special_tokens and read_out == "last_token" else None,
        "pad_token": tokenizer.pad_token_id,
        "truncation": "truncate_prompt",
        "read_out": read_out,
        "special_tokens": special_tokens,
        "vocabulary": len(tokenizer),
        "architecture": type(network).__name__,
    }
    return ScoringRecipe(**said | fields)
