"""Proof, on load, that a layout gives the rewards of separate padded forwards for this model."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from plaudit.batching.batch import LAYOUTS, Layout, build_batch
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.errors import LayoutError, UnknownNameError, closest_or_all
from plaudit.models.reward_model import RewardModel

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.bfloat16: 2e-2,
    torch.float16: 5e-3,
}
"""Largest relative difference of the hidden state of a response, by precision of the weights."""

_NOISE_FACTOR = 3.0
"""In half precision, this multiple of the change from right to left padding is allowed too."""

_MAX_WINDOW = 256
_LAYOUTS = ("auto", *LAYOUTS)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LayoutProof:
    """The result of a parity check of one layout: exact or not, the difference, and the reason in words."""

    layout: Layout
    exact: bool
    difference: float
    reason: str


def prove_layout(model: RewardModel, layout: Layout) -> LayoutProof:
    """Return whether ``layout`` gives the hidden states of padded forwards for two small groups of random tokens.

    The groups have a trunk, a branch below it, a response that begins another one, and equal responses; where the
    model has a sliding window of at most 256 tokens, the conversations are longer than the window.
    """
    if model.recipe.read_out == "classifier":
        return LayoutProof(layout, False, math.inf, "the head of this class reads whole padded sequences")
    refused = _refused_by_config(model)
    if refused:
        return LayoutProof(layout, False, math.inf, refused)
    groups = _probe_groups(model)
    kept = model.layout
    was_training = model.training
    model.eval()
    try:
        wanted = _features(model, groups, "padded")
        found = _features(model, groups, layout)
        allowed = _allowed(model, groups, wanted)
        unheard = _unheard_window(model, groups)
        if unheard:
            return LayoutProof(layout, False, math.inf, unheard)
    except (LayoutError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        words = str(error).strip() or type(error).__name__
        return LayoutProof(layout, False, math.inf, words.splitlines()[0])
    finally:
        model.use_layout(kept)
        model.train(was_training)
    difference = _relative(found, wanted)
    words = f"hidden states differ by {difference:.1e} of their size (allowed: {allowed:.0e})"
    return LayoutProof(layout, difference <= allowed, difference, words)


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return ‖found − wanted‖ ÷ ‖wanted‖, the largest of any response."""
    return float(((found - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp_min(1e-30)).max())


def _allowed(model: RewardModel, groups: list[TokenGroup], wanted: torch.Tensor) -> float:
    """Return the tolerance; in half precision not below the model's own rounding noise."""
    dtype = next(model.network.parameters()).dtype
    if dtype not in (torch.bfloat16, torch.float16):
        return TOLERANCE[dtype]
    noise = _relative(_features(model, groups, "padded", padding_side="left"), wanted)
    return max(TOLERANCE[dtype], _NOISE_FACTOR * noise)


def choose_layout(model: RewardModel, wanted: Layout | str) -> LayoutProof:
    """Return the proof of the layout that the model will use, and switch to it.

    ``auto`` takes shared_prefix where it is exact, else padded. A layout that was named must be exact.

    Raises:
        LayoutError: when a named layout is not exact for this model, with the reason.
    """
    if wanted == "padded":
        model.use_layout("padded")
        return LayoutProof("padded", True, 0.0, "asked for")
    if wanted not in _LAYOUTS:
        raise UnknownNameError(f"unknown layout {wanted!r}; {closest_or_all(wanted, _LAYOUTS)}")
    proof = prove_layout(model, "packed" if wanted == "packed" else "shared_prefix")
    if proof.exact:
        model.use_layout(proof.layout)
        return proof
    if wanted != "auto":
        raise LayoutError(f"layout: {wanted} is not exact for {model.recipe.architecture}: {proof.reason}")
    model.use_layout("padded")
    reason = f"shared_prefix is not exact here: {proof.reason}"
    _log.warning("layout: auto falls back to padded for %s: %s", model.recipe.architecture, reason)
    return LayoutProof("padded", True, 0.0, reason)


def _refused_by_config(model: RewardModel) -> str | None:
    config = model.core.config.get_text_config().to_dict()
    kinds = set(config.get("layer_types") or ())
    unknown = kinds - {"full_attention", "sliding_attention"}
    if unknown:
        return f"layers of kind {', '.join(sorted(unknown))} are not supported in a shared prefix"
    if config.get("alibi"):
        return "ALiBi biases are not supported in a shared prefix"
    return None


def _unheard_window(model: RewardModel, groups: list[TokenGroup]) -> str | None:
    """Return why a sliding window that is longer than the probe might be lost, or None: its layers must ask for it."""
    window = model.core.config.get_text_config().to_dict().get("sliding_window")
    if window is None:
        return None
    batch = build_batch(groups, layout="shared_prefix", pad_id=model.recipe.pad_token).to(model.device)
    with torch.no_grad():
        model.features(batch)
    assert batch.forest is not None
    if window in batch.forest.windows:
        return None
    return f"the config has a sliding window of {window} tokens, but no layer asks its attention for it"


def _probe_groups(model: RewardModel) -> list[TokenGroup]:
    config = model.core.config.get_text_config()
    window = config.to_dict().get("sliding_window")
    stretch = window if isinstance(window, int) and window <= _MAX_WINDOW else 0
    rng = np.random.default_rng(0)
    banned = {model.recipe.pad_token, *model.tokenizer.all_special_ids}
    allowed = np.asarray([i for i in range(min(config.vocab_size, 4096)) if i not in banned], dtype=np.int32)

    def draw(length: int) -> np.ndarray:
        return rng.choice(allowed, size=length).astype(np.int32)

    prompt, branch, response = draw(12 + stretch), draw(10), draw(9)
    first = [
        np.concatenate(parts)
        for parts in (
            (prompt, branch, response),
            (prompt, branch, draw(4)),
            (prompt, draw(6)),
            (prompt, branch, response[:5]),
            (prompt, branch, response),
        )
    ]
    second = [draw(7), np.concatenate([draw(3 + stretch), draw(1)])]
    return [
        TokenGroup(
            index=number,
            tree=build_prefix_tree(sequences, min_saving=1),
            response_start=np.zeros(len(sequences), dtype=np.int32),
        )
        for number, sequences in enumerate((first, second))
    ]


@torch.no_grad()
def _features(
    model: RewardModel,
    groups: list[TokenGroup],
    layout: Layout,
    *,
    padding_side: Literal["left", "right"] = "right",
) -> torch.Tensor:
    model.use_layout(layout)
    batch = build_batch(groups, layout=layout, pad_id=model.recipe.pad_token, padding_side=padding_side)
    return model.features(batch.to(model.device)).double()
