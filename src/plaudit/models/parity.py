"""Proof, on load, that a model is read as its class reads it, and that a layout gives the rewards of texts alone."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from plaudit.batching.batch import LAYOUTS, Forest, Layout, build_batch
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.errors import LayoutError, ModelError, UnknownNameError, closest_or_all
from plaudit.models.backbone import head_parameters, text_backbone
from plaudit.models.heads.language_model import LanguageModelHead, language_head_of, vocabulary_logits
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

_CEILING = 0.1
"""Largest difference that is ever put down to half precision."""

_OTHER_READING = {torch.float64: 1e-3, torch.float32: 1e-3, torch.bfloat16: _CEILING, torch.float16: _CEILING}
"""Difference of the outputs from those of the class's own forward, by which another number is read, not rounded."""

_OF_OUTPUTS = 10.0
"""Multiple of the tolerance for the outputs of a class of its own: they are small differences of large numbers."""

_FEW_OUTPUTS = 8
"""Width below which a row is the outputs of a head, of which each may be near 0, and no hidden state."""

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
    """Return whether ``layout`` gives the hidden states of each conversation alone, for two groups of random tokens.

    The groups have a trunk, a branch below it, a response that begins another one, and equal responses; where the
    model has a sliding window of at most 256 tokens, the conversations are longer than the window. In a layout without
    padding every layer must attend along the tree, and when the tokens of one response change, no other token's
    hidden state may.
    """
    if layout != "padded":
        refused = _refused_by_build(model)
        if refused:
            return LayoutProof(layout, False, math.inf, refused)
    groups = _probe_groups(model)
    with _evaluating(model):
        try:
            wanted = _alone(model, groups)
            found = _features(model, groups, layout)
            allowed = _allowed(model, groups, wanted)
            fault = None if layout == "padded" else _fault_of_tree(model, groups, layout)
        except (LayoutError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            words = str(error).strip() or type(error).__name__
            return LayoutProof(layout, False, math.inf, words.splitlines()[0])
    difference = _relative(found, wanted)
    what = "outputs" if model.is_classifier else "hidden states"
    words = f"{what} differ by {difference:.1e} of their size (allowed: {allowed:.0e})"
    if difference > allowed:
        return LayoutProof(layout, False, difference, words)
    return LayoutProof(layout, fault is None, difference, words if fault is None else fault)


def choose_layout(model: RewardModel, wanted: Layout | str) -> LayoutProof:
    """Return the proof of the layout that the model will use, and switch to it.

    ``auto`` takes the first of shared_prefix, packed and padded that is exact. A layout that was named must be exact.
    In half precision, where rounding cannot be told from a leak, padded is taken with a warning.

    Raises:
        LayoutError: when a named layout is not exact for this model, or none is, with the reason.
        ModelError: when the model's class reads other outputs from the same hidden states.
    """
    if wanted not in _LAYOUTS:
        raise UnknownNameError(f"unknown layout {wanted!r}; {closest_or_all(wanted, _LAYOUTS)}")
    check_reading(model)
    tried: tuple[Layout, ...] = LAYOUTS if wanted == "auto" else (wanted,)
    refused: dict[str, str] = {}
    architecture = model.recipe.architecture
    for layout in tried:
        proof = prove_layout(model, layout)
        if proof.exact or (layout == "padded" and _is_half(model)):
            if not proof.exact:
                _log.warning("%s: rewards differ from those of conversations alone: %s", architecture, proof.reason)
            model.use_layout(layout)
            return _with_refused(model, replace(proof, exact=True), refused)
        refused[layout] = proof.reason
    if wanted == "auto":
        raise LayoutError(
            f"no layout is exact for {architecture}: its rewards depend on the conversations beside them ("
            + "; ".join(f"{layout}: {reason}" for layout, reason in refused.items())
            + ")"
        )
    raise LayoutError(f"layout: {wanted} is not exact for {architecture}: {refused[wanted]}")


def _with_refused(model: RewardModel, proof: LayoutProof, refused: dict[str, str]) -> LayoutProof:
    """Return the proof with the reasons that ruled out the faster layouts, each said once."""
    if not refused:
        return proof
    reasons = {reason: layout for layout, reason in reversed(refused.items())}
    said = "; ".join(f"{layout} is not exact here: {reason}" for reason, layout in reversed(reasons.items()))
    _log.warning("layout: auto falls back to %s for %s: %s", proof.layout, model.recipe.architecture, said)
    return replace(proof, reason=said)


# ------------------------------------------------------------------------------------ the class's own reading


def check_reading(model: RewardModel) -> None:
    """Refuse a model whose class makes other outputs of a conversation than the head does of its last hidden state.

    Its backbone would be taken for something that it is not, and every reward would silently be another number.

    Raises:
        ModelError: with the difference.
    """
    if model.is_classifier or model.recipe.head == "custom":
        return
    groups = _probe_groups(model)[1:]
    with _evaluating(model):
        model.use_layout("padded")
        difference = max(difference_from_class(model, [each]) for each in _single(groups))
    if not difference <= _OTHER_READING[next(model.network.parameters()).dtype]:
        raise ModelError(
            f"{model.recipe.architecture} (model type {model.config.model_type}) makes other outputs of a conversation "
            f"than its head does of the last hidden state (they differ by {difference:.1e} of their size), so it "
            "cannot be read here; choose a model of another type"
        )


@torch.no_grad()
def check_causal(model: RewardModel) -> None:
    """Refuse a model that reads ahead, whose likelihood of a token would be that of one which it is shown.

    Raises:
        ModelError: when hidden states move as the tokens behind them change.
    """
    (group,) = _single(_probe_groups(model)[:1])[:1]
    with _evaluating(model):
        model.use_layout("padded")
        batch = build_batch([group], layout="padded", pad_id=model.recipe.pad_token).to(model.device)
        changed = batch.input_ids.clone()
        kept = changed.shape[1] // 2
        changed[:, kept:] = changed[:, kept:].flip(1)
        wanted, found = (model.hidden_states(replace(batch, input_ids=ids)) for ids in (batch.input_ids, changed))
        moved = _relative(found[:kept].double(), wanted[:kept].double())
    if not moved <= TOLERANCE[next(model.network.parameters()).dtype]:
        raise ModelError(
            f"{model.recipe.architecture} (model type {model.config.model_type}) reads ahead: hidden states move by "
            f"{moved:.1e} of their size as later tokens change, so it gives no likelihood of texts; choose a causal one"
        )


@torch.no_grad()
def difference_from_class(model: RewardModel, groups: list[TokenGroup]) -> float:
    """Return by how much the outputs differ from the logits of the class's own forward, relative to their size.

    The size is that of the largest output, or, where all are near 0, of one whose weights point in random directions:
    ‖h‖ ‖w‖ ÷ √width.
    """
    batch = build_batch(groups, layout="padded", pad_id=model.recipe.pad_token).to(model.device)
    rows = batch.response_end
    size = 0.0
    if model.is_classifier:
        ours = model.classified(batch, rows)
    else:
        hidden = model.features_at(batch, rows)
        size = float(hidden.float().norm(dim=-1).max()) / math.sqrt(hidden.shape[-1])
        ours = model.outputs_from(hidden) if _has_own_outputs(model) else _vocabulary(model, hidden)
    with _head_like_backbone(model):
        logits = model.network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()
    logits = logits.flatten(0, 1)[rows] if logits.ndim == 3 else logits
    theirs = model.head.outputs_in(logits, model) if _has_own_outputs(model) else logits
    if ours.shape != theirs.shape:
        return math.inf
    weights = [weight for _, weight in head_parameters(model.core) if weight.ndim == 2]
    if weights and not model.is_classifier and not isinstance(model.head, LanguageModelHead):
        size *= float(weights[-1].float().norm(dim=-1).max())
    else:
        size = 0.0
    return float((ours - theirs).abs().max() / max(float(ours.abs().max()), size, 1e-6))


def _has_own_outputs(model: RewardModel) -> bool:
    """Return whether the head makes its outputs of the class's logits; a plain language model has none of its own."""
    return not (isinstance(model.head, LanguageModelHead) and not model.recipe.class_tokens)


def _vocabulary(model: RewardModel, hidden: Tensor) -> Tensor:
    return vocabulary_logits(model.core, language_head_of(model.core), hidden)


@contextlib.contextmanager
def _head_like_backbone(model: RewardModel) -> Iterator[None]:
    """Give the head the backbone's precision for a moment, as other tools load it."""
    dtype = next(model.network.parameters()).dtype
    is_language = model.core.get_output_embeddings() is not None
    weights = [weight for _, weight in head_parameters(model.core) if not is_language]
    kept = [weight.data for weight in weights]
    for weight in weights:
        weight.data = weight.data.to(dtype)
    try:
        yield
    finally:
        for weight, data in zip(weights, kept, strict=True):
            weight.data = data


# ------------------------------------------------------------------------------------ reasons to refuse


_MIXING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase)


def _refused_by_build(model: RewardModel) -> str | None:
    """Return why no layout without padding can be exact for a model that is built like this one, or None."""
    if model.is_classifier:
        return "the head of this class reads whole padded sequences"
    config = model.core.config.get_text_config().to_dict()
    unknown = set(config.get("layer_types") or ()) - {"full_attention", "sliding_attention"}
    if unknown:
        return f"layers of kind {', '.join(sorted(unknown))} are not supported in a shared prefix"
    if config.get("alibi"):
        return "ALiBi biases are not supported in a shared prefix"
    for name, module in text_backbone(model.core).named_modules():
        if isinstance(module, _MIXING) and set(getattr(module, "kernel_size", ())) != {1}:
            return f"its {type(module).__name__} ({name}) mixes neighbouring tokens, of other responses too"
    return None


def _fault_of_tree(model: RewardModel, groups: list[TokenGroup], layout: Layout) -> str | None:
    """Return why a layout without padding is not proved though the hidden states agree, or None.

    A model may mask the packed row by itself, from its position ids; then no layer attends along the tree, and the
    probe of other responses' tokens alone decides.
    """
    model.use_layout(layout)
    batch = build_batch(groups, layout=layout, pad_id=model.recipe.pad_token).to(model.device)
    forest = batch.forest
    assert forest is not None
    with torch.no_grad():
        wanted = model.hidden_states(batch)
    if forest.callers or layout == "shared_prefix":
        silent = _layer_without_tree(model, forest)
        if silent:
            return silent
    windows = _windows(model)
    if windows and not windows & set(forest.callers.values()):
        return f"the config has a sliding window of {min(windows)} tokens, but no layer asks its attention for it"
    leaves = [(start, stop) for start, stop, end in forest.segments if end == stop]
    dtype = next(model.network.parameters()).dtype
    for start, stop in {leaves[0], leaves[len(leaves) // 2], leaves[-1]}:
        ids = batch.input_ids.clone()
        ids[0, start:stop] = ids[0, start:stop].roll(1) if stop - start > 1 else ids[0, start - 1]
        ids[0, start] = ids[0, start - 1 if start else stop]
        with torch.no_grad():
            found = model.hidden_states(replace(batch, input_ids=ids))
        others = torch.ones(len(found), dtype=torch.bool, device=found.device)
        others[start:stop] = False
        moved = _relative(found[others].double(), wanted[others].double())
        if not moved <= TOLERANCE[dtype]:
            return f"other tokens move by {moved:.1e} of their size when those of one response change"
    return None


def _layer_without_tree(model: RewardModel, forest: Forest) -> str | None:
    """Return which layer attends otherwise than along the tree, in words, or None."""
    decoder = text_backbone(model.core)
    count = model.core.config.get_text_config().num_hidden_layers
    lists = [module for module in decoder.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not lists:
        return f"its {count} layers are not found, so whether all attend along the tree is unknown"
    for number, layer in enumerate(lists[0]):
        if not any(id(module) in forest.callers for module in layer.modules()):
            return f"layer {number} ({type(layer).__name__}) does not attend along the tree"
    return None


def _windows(model: RewardModel) -> set[int]:
    """Return the sliding window of the config, as a set; 0, null and no layer that slides mean none."""
    config = model.core.config.get_text_config().to_dict()
    window, kinds = config.get("sliding_window"), config.get("layer_types")
    is_on = isinstance(window, int) and window > 0 and (not kinds or "sliding_attention" in kinds)
    return {window} if is_on else set()


# ------------------------------------------------------------------------------------ the probe


@contextlib.contextmanager
def _evaluating(model: RewardModel) -> Iterator[None]:
    """Put the model into evaluation mode, and afterwards its mode and its layout back."""
    kept, was_training = model.layout, model.training
    model.eval()
    try:
        yield
    finally:
        model.use_layout(kept)
        model.train(was_training)


def _relative(found: Tensor, wanted: Tensor) -> float:
    """Return ‖found − wanted‖ ÷ ‖wanted‖, the largest of any row; of outputs, relative to the largest of them."""
    size = wanted.norm(dim=-1)
    if wanted.shape[-1] < _FEW_OUTPUTS:
        size = size.max()
    return float(((found - wanted).norm(dim=-1) / size.clamp_min(1e-30)).max())


def _is_half(model: RewardModel) -> bool:
    return next(model.network.parameters()).dtype in (torch.bfloat16, torch.float16)


def _allowed(model: RewardModel, groups: list[TokenGroup], wanted: Tensor) -> float:
    """Return the tolerance; in half precision not below the model's own rounding noise, but never above a ceiling."""
    dtype = next(model.network.parameters()).dtype
    if not _is_half(model):
        return TOLERANCE[dtype] * (_OF_OUTPUTS if model.is_classifier else 1.0)
    noise = _relative(_features(model, groups, "padded", padding_side="left"), wanted)
    return max(TOLERANCE[dtype], min(_NOISE_FACTOR * noise, _CEILING))


def _probe_groups(model: RewardModel) -> list[TokenGroup]:
    config = model.core.config.get_text_config()
    stretch = max((window for window in _windows(model) if window <= _MAX_WINDOW), default=0)
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


def _single(groups: list[TokenGroup]) -> list[TokenGroup]:
    """Return each conversation as a group of its own."""
    return [
        TokenGroup(0, build_prefix_tree([group.tree.sequence(k)]), np.zeros(1, dtype=np.int32))
        for group in groups
        for k in range(group.num_responses)
    ]


def _alone(model: RewardModel, groups: list[TokenGroup]) -> Tensor:
    """Return the features of the responses, each in a forward of its own, without padding."""
    return torch.cat([_features(model, [each], "padded") for each in _single(groups)])


@torch.no_grad()
def _features(
    model: RewardModel,
    groups: list[TokenGroup],
    layout: Layout,
    *,
    padding_side: Literal["left", "right"] = "right",
) -> Tensor:
    """Return the hidden states of the responses' last tokens; of a class that reads whole sequences its outputs."""
    model.use_layout(layout)
    batch = build_batch(groups, layout=layout, pad_id=model.recipe.pad_token, padding_side=padding_side)
    batch = batch.to(model.device)
    if model.is_classifier:
        return model.classified(batch, batch.response_end).double()
    return model.features(batch).double()
