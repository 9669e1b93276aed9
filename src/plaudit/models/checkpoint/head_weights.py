"""The head's weights: a hash of them, and their full precision, which loading a half-precision model must not round."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.utils import cached_file

from plaudit.errors import CheckpointError
from plaudit.models.backbone import head_parameters, is_language_model

_ADAPTER_PREFIX = "base_model.model."

_SAMPLE = 256
"""Values of each weight of a language model that go into its hash."""


def head_hash(network: PreTrainedModel) -> str:
    """Return a short hash by which models of one scoring recipe can be told apart.

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
