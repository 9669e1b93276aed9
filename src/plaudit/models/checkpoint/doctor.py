"""``plaudit doctor``: everything about a checkpoint that can silently change a reward, looked at and explained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.batching.token_set import encode_stream
from plaudit.batching.tokens import TokenGroup
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import PlauditError
from plaudit.models.backbone import checkpoint_file, head_parameters, load_config_of, load_tokenizer, resolve_source
from plaudit.models.checkpoint.files import load_reward_model
from plaudit.models.checkpoint.foreign import assumed
from plaudit.models.checkpoint.four_bit import share_in_words
from plaudit.models.checkpoint.recipe import RECIPE_FILE, GateRule, QuantizationChoice, ScoringRecipe
from plaudit.models.parity import TOLERANCE, prove_layout
from plaudit.models.reward_model import RewardModel

Status = Literal["ok", "warning", "error"]

_SAMPLES = (
    Group(
        conversation("What is two and two?"),
        ("It is four.", "It is four, as everyone knows by now."),
        (Preference(0, 1),),
        id="a",
    ),
    Group(conversation("Name a colour."), ("Blue.", "I would rather not."), (Preference(0, 1),), id="b"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a checkpoint: its finding, and advice where something is wrong."""

    name: str
    status: Status
    found: str
    advice: str = ""


def diagnose(model: str, *, quantization: QuantizationChoice | None = None) -> list[Check]:
    """Return the checks of ``plaudit doctor`` on the model in a directory or hub id; never raises PlauditError.

    ``quantization`` is as in ``load_reward_model``.
    """
    checks: list[Check] = []
    try:
        source = resolve_source(model)
        config = load_config_of(source)
        checks.append(Check("model", "ok", f"{(config.architectures or ['?'])[0]}, {config.model_type}"))
        load_tokenizer(source)
    except PlauditError as error:
        return [
            *checks,
            Check("model", "error", str(error), "give a directory or hub id of a transformers model"),
        ]
    try:
        loaded, _ = load_reward_model(source, layout="padded", quantization=quantization)
    except PlauditError as strict_error:
        checks.append(Check("strict loading", "error", str(strict_error), "plaudit.load refuses this checkpoint"))
        return checks
    checks.append(Check("strict loading", "ok", "every weight of the backbone and the head is in the checkpoint"))
    checks.append(_origin_check(source, loaded.recipe))
    checks.extend(_recipe_checks(loaded))
    checks.extend(_sample_checks(loaded))
    checks.append(_layout_check(loaded))
    return checks


def _origin_check(source: str, recipe: ScoringRecipe) -> Check:
    """Check whether the checkpoint brings its recipe; an inferred one is shown with its assumptions."""
    if checkpoint_file(source, RECIPE_FILE) is not None:
        return Check("scoring recipe", "ok", f"hash {recipe.hash}, of {RECIPE_FILE}")
    return Check(
        "scoring recipe",
        "warning",
        f"inferred (hash {recipe.hash}): there is no {RECIPE_FILE}. Assumed: {assumed(recipe)}",
        "compare a few rewards with those of the tool that trained it; saved by plaudit, the model keeps this recipe",
    )


def _recipe_checks(model: RewardModel) -> list[Check]:
    recipe, tokenizer = model.recipe, model.tokenizer
    checks = [
        Check("chat template", "ok", f"hash {recipe.template_hash}, {len(recipe.chat_template)} characters"),
        Check("head", "ok", _head_in_words(recipe)),
        *([Check("units", "ok", _units_in_words(recipe))] if recipe.attributes else []),
        *([_gate_check(model, recipe.gate)] if recipe.gate is not None else []),
        Check("read-out", "ok", recipe.read_out.replace("_", " ")),
        Check("max length", "ok", f"{recipe.max_length} tokens; longer: {recipe.truncation.replace('_', ' ')}"),
        Check("weights", "ok", f"{recipe.dtype} on {model.device}"),
        *([Check("quantization", "ok", share_in_words(model.parameters()))] if recipe.quantization else []),
    ]
    if recipe.pad_token == tokenizer.eos_token_id:
        checks.append(
            Check(
                "pad token",
                "warning",
                "the pad token is the end token",
                "other tools read the reward before the last end token; add a pad token of its own",
            )
        )
    else:
        checks.append(Check("pad token", "ok", f"{tokenizer.pad_token!r}, not the end token {tokenizer.eos_token!r}"))
    return checks


def _head_in_words(recipe: ScoringRecipe) -> str:
    """Return the kind of head, and the meaning of its outputs."""
    kind = recipe.head.replace("_", " ")
    if recipe.form == "comparison":
        return f"{kind}, asked which of two responses is better, {recipe.comparison_mode.replace('_', ' ')} of a group"
    outputs = recipe.attributes or tuple(f"{value:g}" for value in recipe.classes)
    return f"{kind}: {', '.join(outputs)}" if outputs else kind


@torch.inference_mode()
def _gate_check(model: RewardModel, rule: GateRule) -> Check:
    """Check the gate: its sizes, the token that it reads, and its weights for two prompts."""
    gate, opening = model.gate, list(rule.opening)
    moved = int((gate.transform != torch.eye(gate.num_attributes, device=gate.transform.device)).any(dim=0).sum())
    matrix = f"changes {moved} of {gate.num_attributes} attributes" if moved else "is the identity"
    what = (
        f"layers {' → '.join(map(str, gate.sizes))}, temperature {rule.temperature:g}, scale {gate.scale.item():.4g}; "
        f"its matrix {matrix}; read at {model.tokenizer.decode(opening[:1])!r}, the first token of "
        f"{model.tokenizer.decode(opening)!r} before a response"
    )
    encoded = _encoded_samples(model)
    weights = None
    if len(encoded) == len(_SAMPLES):
        batch = build_batch(encoded, layout=model.layout, pad_id=model.recipe.pad_token)
        weights = model(batch.to(model.device)).gate
    if weights is None or not bool(weights.isfinite().all()):
        return Check("gate", "error", f"{what}; it is not found in two short conversations", "restore the template")
    top = dict.fromkeys(model.recipe.attributes[k] for k in weights.argmax(dim=1).tolist())
    return Check("gate", "ok", f"{what}; most weight in two samples: {', '.join(top)}")


def _units_in_words(recipe: ScoringRecipe) -> str:
    """Return how the outputs of a head for attributes become rewards, here and in other tools."""
    if not recipe.attribute_scales:
        return "the outputs of the head are in the units of the ratings, here and for every other tool"
    affine = zip(recipe.attributes, recipe.attribute_scales, recipe.attribute_locations, strict=True)
    listed = ", ".join(
        f"{name} = {scale:.4g} · output {'-' if location < 0 else '+'} {abs(location):.4g}"
        for name, scale, location in affine
    )
    return f"{listed}; other tools read the outputs as they are, standardised: plaudit.json holds the numbers in full"


def _encoded_samples(model: RewardModel) -> list[TokenGroup]:
    return list(encode_stream(_SAMPLES, model.recipe.encoder(model.tokenizer), EncodingReport()))


def _sample_checks(model: RewardModel) -> list[Check]:
    text = model.recipe.encoder(model.tokenizer).texts(_SAMPLES[0])[0]
    encoded = _encoded_samples(model)
    if len(encoded) < len(_SAMPLES):
        return [Check("sample", "error", f"two short {model.recipe.form}s cannot be encoded", "raise max_length")]
    ids = encoded[0].tree.sequence(0).tolist()
    bos = model.tokenizer.bos_token_id
    begins = f"{ids.count(bos)} BOS" if bos is not None else "no BOS in this tokenizer"
    last = model.tokenizer.decode(ids[-1:])
    return [
        Check("rendered sample", "ok", repr(text if len(text) <= 200 else f"{text[:100]} … {text[-100:]}")),
        Check("first and last token", "ok", f"{begins}; the {model.recipe.form} ends in {last!r}"),
        _transformers_check(model, encoded),
    ]


@torch.inference_mode()
def _transformers_check(model: RewardModel, groups: list[TokenGroup]) -> Check:
    """Compare with the logits of transformers' own sequence classifier on the same padded ids."""
    model.use_layout("padded")
    batch = build_batch(groups, layout="padded", pad_id=model.recipe.pad_token).to(model.device)
    rows = batch.response_end
    ours = model.classified(batch, rows) if model.is_classifier else model.outputs_from(model.features_at(batch, rows))
    with _head_like_backbone(model):
        logits = model.network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()
    theirs = model.head.outputs_in(logits.flatten(0, 1)[rows] if logits.ndim == 3 else logits, model)
    difference = float((ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-6))
    allowed = TOLERANCE[next(model.network.parameters()).dtype]
    what = "rewards" if model.recipe.gate is None else "attributes (transformers knows no gate)"
    found = f"{what} differ from transformers' by {difference:.1e} of their size (allowed: {allowed:.0e})"
    if difference <= allowed:
        return Check("agrees with transformers", "ok", found)
    return Check(
        "agrees with transformers",
        "warning",
        found,
        "transformers reads another position, mostly because conversations end in the pad token",
    )


@contextlib.contextmanager
def _head_like_backbone(model: RewardModel) -> Iterator[None]:
    """Give the head the backbone's precision for a moment, as other tools load it."""
    dtype = next(model.network.parameters()).dtype
    weights = [weight for _, weight in head_parameters(model.core)]
    kept = [weight.data for weight in weights]
    for weight in weights:
        weight.data = weight.data.to(dtype)
    try:
        yield
    finally:
        for weight, data in zip(weights, kept, strict=True):
            weight.data = data


def _layout_check(model: RewardModel) -> Check:
    proof = prove_layout(model, "shared_prefix")
    if proof.exact:
        return Check("shared-prefix layout", "ok", proof.reason)
    return Check("shared-prefix layout", "warning", proof.reason, "rewards are exact, in the slower padded layout")
