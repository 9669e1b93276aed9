"""``plaudit doctor``: everything about a checkpoint that can silently change a reward, looked at and explained."""

from __future__ import annotations

from pathlib import Path

import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.batching.token_set import encode_stream
from plaudit.batching.tokens import TokenGroup
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import PlauditError
from plaudit.models.backbone import checkpoint_file, load_config_of, load_tokenizer, resolve_source
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.foreign import SeparatedSteps, assumed
from plaudit.models.checkpoint.four_bit import share_in_words
from plaudit.models.checkpoint.interop import Check, interop_checks, sample_checks, template_checks
from plaudit.models.checkpoint.recipe import RECIPE_FILE, GateRule, QuantizationChoice, ScoringRecipe
from plaudit.models.parity import TOLERANCE, difference_from_class, prove_layout
from plaudit.models.reward_model import RewardModel

_SAMPLES = (
    Group(
        conversation("What is two and two?"),
        ("It is four.", "It is four, as everyone knows by now."),
        (Preference(0, 1),),
        id="a",
    ),
    Group(conversation("Name a colour."), ("Blue.", "I would rather not."), (Preference(0, 1),), id="b"),
)


def diagnose(
    model: str,
    *,
    quantization: QuantizationChoice | None = None,
    trust_remote_code: bool = False,
    steps: SeparatedSteps | None = None,
    save: Path | None = None,
) -> list[Check]:
    """Return the checks of ``plaudit doctor`` on the model in a directory or hub id; a model raises no PlauditError.

    ``quantization``, ``trust_remote_code`` and ``steps`` are as in ``load_reward_model``. With ``save`` the model, once
    it is loaded, is written to that folder with its recipe.
    """
    checks: list[Check] = []
    try:
        source = resolve_source(model)
        config = load_config_of(source, trust_remote_code=trust_remote_code)
        checks.append(Check("model", "ok", f"{(config.architectures or ['?'])[0]}, {config.model_type}"))
        load_tokenizer(source, trust_remote_code=trust_remote_code)
    except PlauditError as error:
        return [
            *checks,
            Check("model", "error", str(error), "give a directory or hub id of a transformers model"),
        ]
    try:
        loaded, _ = load_reward_model(
            source, layout="padded", quantization=quantization, trust_remote_code=trust_remote_code, steps=steps
        )
    except PlauditError as strict_error:
        checks.append(Check("strict loading", "error", str(strict_error), "plaudit.load refuses this checkpoint"))
        return checks
    checks.append(Check("strict loading", "ok", "every weight of the backbone and the head is in the checkpoint"))
    checks.append(_origin_check(source, loaded.recipe))
    checks.extend(_recipe_checks(loaded))
    checks.extend(_sample_checks(loaded))
    checks.append(_layout_check(loaded))
    if save is not None:
        save_reward_model(loaded, save)
        checks.append(Check("copy", "ok", f"saved with its {RECIPE_FILE} in {save}"))
    return checks


def _origin_check(source: str, recipe: ScoringRecipe) -> Check:
    """Check whether the checkpoint brings its recipe; an inferred one is shown with its assumptions."""
    if checkpoint_file(source, RECIPE_FILE) is not None:
        found = f"hash {recipe.hash}, of {RECIPE_FILE}"
        if recipe.tokenizer_hash is not None:
            return Check("scoring recipe", "ok", f"{found}; tokenizer and config are those that it was saved with")
        return Check(
            "scoring recipe",
            "warning",
            f"{found}, which holds no hash of the tokenizer and the config: whether they have changed is unverified",
            "save the model again with this version, where its rewards are known to be right",
        )
    return Check(
        "scoring recipe",
        "warning",
        f"inferred (hash {recipe.hash}): there is no {RECIPE_FILE}. Assumed: {assumed(recipe)}",
        "compare a few rewards with those of the tool that trained it; saved by plaudit, the model keeps this recipe",
    )


def _recipe_checks(model: RewardModel) -> list[Check]:
    recipe = model.recipe
    checks = [
        *template_checks(model),
        Check("head", "ok", _head_in_words(recipe)),
        *([Check("units", "ok", _units_in_words(recipe))] if recipe.attributes else []),
        *([_gate_check(model, recipe.gate)] if recipe.gate is not None else []),
        Check("read-out", "ok", recipe.read_out.replace("_", " ")),
        Check("max length", "ok", f"{recipe.max_length} tokens; longer: {recipe.truncation.replace('_', ' ')}"),
        Check("weights", "ok", f"{recipe.dtype} on {model.device}"),
        *([Check("quantization", "ok", share_in_words(model.parameters()))] if recipe.quantization else []),
    ]
    return [*checks, _pad_check(model)]


def _pad_check(model: RewardModel) -> Check:
    """Check that no conversation ends in the pad token, behind which other tools do not look."""
    recipe, tokenizer = model.recipe, model.tokenizer
    pad = tokenizer.convert_ids_to_tokens(recipe.pad_token)
    if recipe.pad_token != tokenizer.eos_token_id:
        return Check("pad token", "ok", f"{pad!r}, not the end token {tokenizer.eos_token!r}")
    if not any(group.tree.sequence(k)[-1] == recipe.pad_token for group in _encoded_samples(model) for k in range(2)):
        return Check("pad token", "ok", f"{pad!r}, the end token too, in which no conversation ends")
    return Check(
        "pad token",
        "warning",
        "the pad token is the end token, in which conversations end",
        "other tools read the reward before the last end token; add a pad token of its own",
    )


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
    encoded = _encoded_samples(model)
    if len(encoded) < len(_SAMPLES):
        return [Check("sample", "error", f"two short {model.recipe.form}s cannot be encoded", "raise max_length")]
    return [
        *sample_checks(model, _SAMPLES[0], encoded[0]),
        *interop_checks(model, _SAMPLES, encoded),
        _transformers_check(model, encoded),
    ]


@torch.inference_mode()
def _transformers_check(model: RewardModel, groups: list[TokenGroup]) -> Check:
    """Compare with the logits of transformers' own sequence classifier on the same padded ids."""
    model.use_layout("padded")
    difference = difference_from_class(model, groups)
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


def _layout_check(model: RewardModel) -> Check:
    proof = prove_layout(model, "shared_prefix")
    if proof.exact:
        return Check("shared-prefix layout", "ok", proof.reason)
    return Check("shared-prefix layout", "warning", proof.reason, "rewards are exact, in the slower padded layout")
