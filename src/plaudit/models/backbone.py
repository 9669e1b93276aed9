"""Loading of a transformers sequence classifier for a reward model, from a directory, a hub id or a config.

Also the files of its checkpoint, and its head's weights, which loading in half precision must not round.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.util
import json
import math
import pickle
from collections.abc import Callable, Collection, Iterator
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
from plaudit.models.classes import NetworkClass, network_class
from plaudit.models.heads.head import HeadSpec

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}

PAD_TOKEN = "<|pad|>"

RUN_MODEL = "model"
"""Folder of the model in that of a run."""

_RANDOM = ("drop", "jitter")
"""Parts of the names of config fields that are rates of chance in training: of dropout, and of a router's noise."""

_PICKLED = {"stem": "pytorch_model", "ending": "bin"}
"""Files of weights that older tools write; they are read without running what else stands in them."""

_FAR_LARGER = 8
"""Ratio of the weights that a config asks for to those in the files above which it is of another model; packed weights
of four bits stand in the files as half their number."""

_TOKENIZER_SETTINGS = ("truncation", "padding")
"""Parts of a tokenizer's file that say how it was last called, and nothing about its tokens."""


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A sequence classifier, its weights that the checkpoint did not hold, and weights it has no place for."""

    network: PreTrainedModel
    missing: tuple[str, ...]
    unexpected: tuple[str, ...] = ()
    is_own: bool = False
    """True where transformers has no such class, and one was made here (``models.classes``)."""


def resolve_source(source: str) -> str:
    """Return where a model lies: of a run its model; of ``package:NAME/FOLDER`` a folder that a Python package brings.

    Raises:
        ModelError: when the package or the folder is not there.
    """
    if not source.startswith("package:"):
        folder = Path(expand(source))
        is_run = (folder / RUN_MODEL / "config.json").exists() and not (folder / "config.json").exists()
        found = folder / RUN_MODEL if is_run else folder
        _check_regular_files(found)
        return str(found) if is_run else expand(source)
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


def _check_regular_files(folder: Path) -> None:
    """Refuse a folder in which a file of a model is a pipe, a socket or a device, which might never end."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_odd = not path.is_file() and not path.is_dir() and (path.exists() or path.is_symlink())
        if is_odd and path.suffix in (".json", ".jinja", ".safetensors", ".model", ".txt"):
            raise ModelError(f"{path} is no regular file (or a broken link); a model's files must be")


def _check_size(source: str, kind: NetworkClass, *, trust_remote_code: bool) -> None:
    """Compare the shapes that the config asks for with those in the files, before memory is allocated for them.

    Raises:
        ModelError: naming a weight whose shape differs, or when the config describes a far larger model.
    """
    found: dict[str, list[int]] = {}
    for path in _weight_files(source):
        with safe_open(path, framework="pt") as file:
            found |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if not found:
        return
    with torch.device("meta"):
        empty = kind.empty(copy.deepcopy(kind.config), trust_remote_code=trust_remote_code)
    wanted = {name: list(weight.shape) for name, weight in empty.named_parameters()}
    for name, shape in wanted.items():
        saved = found.get(name)
        if saved is not None and saved != shape and name.startswith(f"{empty.base_model_prefix}."):
            raise ModelError(
                f"cannot load a reward model from {source}: {name} has shape {saved} in the file, the config asks for "
                f"{shape}"
            )
    asked, held = (sum(math.prod(shape) for shape in shapes.values()) for shapes in (wanted, found))
    if asked > _FAR_LARGER * held + 10**7:
        raise ModelError(
            f"cannot load a reward model from {source}: its config asks for {asked:,} weights, its files hold {held:,}"
        )


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
    found = network_class(config, spec, trust_remote_code=trust_remote_code)
    prepare_config(found.config, spec)
    arguments: dict[str, Any] = {"key_mapping": found.renamed} if found.renamed else {}
    with _explained(f"cannot load a reward model from {source}"), _without_report():
        _check_size(source, found, trust_remote_code=trust_remote_code)
        if quantization is not None:
            arguments |= four_bit_arguments(
                source,
                found,
                dtype=DTYPES[dtype],
                device=device or default_device(),
                trust_remote_code=trust_remote_code,
            )
        network, info = found.kind.from_pretrained(
            source,
            config=found.config,
            dtype=DTYPES[dtype],
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            use_safetensors=bool(_weight_files(source)) or not _weight_files(source, **_PICKLED),
            weights_only=True,
            trust_remote_code=trust_remote_code,
            **arguments,
        )
        if quantization is not None:
            settle(network)
    _check_shapes(source, info["mismatched_keys"])
    if found.renamed or found.is_own:
        # It is saved under the names of a model of text alone, not under those of the checkpoint that it came from.
        network._weight_conversions = None
    _name_backbone(network)
    for module in network.modules():
        # Some heads drop units at a rate that stands in no field of their config.
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    missing, unexpected = (tuple(sorted(info[f"{kind}_keys"])) for kind in ("missing", "unexpected"))
    return LoadedNetwork(network, missing, unexpected, found.is_own)


def _check_shapes(source: str, mismatched: Collection[tuple[str, Any, Any]]) -> None:
    if mismatched:
        name, found, wanted = min(mismatched)
        raise ModelError(
            f"cannot load a reward model from {source}: {name} has shape {list(found)} in the file, "
            f"the config asks for {list(wanted)}"
        )


def _name_backbone(network: PreTrainedModel) -> None:
    """Correct ``base_model_prefix`` where it names no part of the network (Llama 4 keeps its backbone in ``model``).

    Raises:
        ModelError: when the backbone of a causal language model is not found.
    """
    children = dict(network.named_children())
    if network.base_model_prefix in children or not is_language_model(network):
        return
    backbones = [name for name, child in children.items() if isinstance(child, PreTrainedModel)]
    if len(backbones) != 1:
        raise ModelError(
            f"{type(network).__name__} keeps its layers where they are not known to be, so it cannot be read here"
        )
    network.base_model_prefix = backbones[0]


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
            if isinstance(value, float) and any(part in key for part in _RANDOM):
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


def is_language_model(network: PreTrainedModel) -> bool:
    """Return whether the network predicts tokens: its head is the vocabulary, and belongs to the model."""
    return network.get_output_embeddings() is not None


def text_backbone(network: PreTrainedModel) -> PreTrainedModel:
    """Return the layers that read text: the backbone itself, or its language model where it also reads images."""
    whole = getattr(network, network.base_model_prefix)
    inner = whole.get_decoder() if hasattr(whole, "get_decoder") else whole
    return inner if isinstance(inner, PreTrainedModel) else whole


def read_out_of(network: PreTrainedModel) -> ReadOut:
    """Return where this class reads its reward: at the last token for a decoder, else by its own classifier."""
    children = dict(network.named_children())
    if network.base_model_prefix in children:
        is_linear = "score" in children or is_language_model(network) or _judges_tokens(network)
        return "last_token" if is_linear else "classifier"
    return "classifier"


def _judges_tokens(network: PreTrainedModel) -> bool:
    """Return whether a decoder's classifier of tokens is linear under another name than ``score`` (GPT-2, GPT-NeoX)."""
    linear = isinstance(getattr(network, "classifier", None), nn.Linear)
    is_causal = any(getattr(module, "is_causal", False) for module in text_backbone(network).modules())
    return linear and is_causal and type(network).__name__.endswith("ForTokenClassification")


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
    saved = _tensors(source, lambda key: key.removeprefix(_ADAPTER_PREFIX) in wanted)
    with torch.no_grad():
        for key, tensor in saved.items():
            wanted[key.removeprefix(_ADAPTER_PREFIX)].copy_(tensor)


def tensors_outside(source: str, backbone: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint whose names do not begin with ``backbone``, as they are saved.

    Raises:
        CheckpointError: when a file of weights cannot be read.
    """
    return _tensors(source, lambda key: not key.startswith(backbone))


def _tensors(source: str, is_wanted: Callable[[str], bool]) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint that are wanted, by name, as they are saved.

    Raises:
        CheckpointError: when a file of weights cannot be read.
    """
    found: dict[str, torch.Tensor] = {}
    for path in _weight_files(source) or _weight_files(source, **_PICKLED):
        try:
            if path.suffix == ".bin":
                saved = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
                found |= {name: tensor for name, tensor in saved.items() if is_wanted(name)}
                continue
            with safe_open(path, framework="pt") as file:
                found |= {name: file.get_tensor(name) for name in file.keys() if is_wanted(name)}  # noqa: SIM118
        except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path} cannot be read: {_first_line(error)}") from None
    return found


def _weight_files(source: str, *, stem: str = "model", ending: str = "safetensors") -> list[Path]:
    """Return the files of weights of a checkpoint: those of its index, where they lie in several."""
    names = [f"{stem}.{ending}", f"adapter_model.{ending}"]
    index = checkpoint_file(source, f"{stem}.{ending}.index.json")
    if index is not None:
        names += sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    return [path for name in names if (path := checkpoint_file(source, name)) is not None]


def _first_line(error: BaseException) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "its pytorch_model.bin holds more than tensors, and nothing else is read; save it as model.safetensors"
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
