"""Checkpoints without a scoring recipe: what their rewards are taken to be, and what is refused."""

from __future__ import annotations

import logging
import warnings

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from plaudit.errors import CheckpointError
from plaudit.models.backbone import HeadSpec, longest_conversation, output_names, read_out_of
from plaudit.models.checkpoint.recipe import RECIPE_FILE, GateRule, ScoringRecipe
from plaudit.models.heads.gated import PUBLISHED_ATTRIBUTES, PUBLISHED_TEMPERATURE, PublishedGate, published_opening

DEFAULT_LENGTH = 4096
"""Longest conversation in tokens, where neither the config nor the tokenizer tells."""

_UNNAMED = "LABEL_"

_log = logging.getLogger(__name__)


def foreign_spec(source: str, config: PreTrainedConfig, published: PublishedGate | None) -> HeadSpec:
    """Return the outputs of a sequence classifier that brings no recipe: one reward, or attributes with names.

    Several outputs are attributes only where the config says that they are numbers (``problem_type: regression``) and
    names them: the logits of classes are no ratings.

    Raises:
        CheckpointError: when what its outputs are cannot be known.
    """
    if published is not None:
        return HeadSpec("sequence", len(published.attributes), published.attributes)
    names = output_names(config)
    count = len(names)
    if count == 1:
        return HeadSpec()
    opening = f"{source} has {count} outputs; a scalar reward model has one"
    if config.to_dict().get("auto_map"):
        raise CheckpointError(
            f"{opening}, and how its own code (auto_map in config.json) makes one of these is not known here: that "
            "code is never asked"
        )
    if config.problem_type != "regression":
        raise CheckpointError(
            f"{opening}, and these may be classes ({', '.join(names[:5])}): its config does not say that they are "
            "ratings; if they are, set problem_type to regression and name them in id2label"
        )
    if len(set(names)) < count or any(name.startswith(_UNNAMED) for name in names):
        raise CheckpointError(
            f"{opening}, and one for attributes names each in id2label of its config; these are {', '.join(names[:5])}"
        )
    return HeadSpec("sequence", count, names)


def foreign_recipe(
    source: str,
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dtype: str,
    *,
    spec: HeadSpec,
    published: PublishedGate | None,
    strict: bool,
) -> ScoringRecipe:
    """Return the recipe that a checkpoint without one is read by; what it takes for granted, ``assumed`` says.

    Raises:
        CheckpointError: without one chat template, or where the pad token is the end token (``strict``).
        ModelError: when a published gate does not find the end of the prompt in the template.
    """
    if not isinstance(tokenizer.chat_template, str):
        raise CheckpointError(
            f"{source} has neither {RECIPE_FILE!r} nor one chat template, so how its rewards were meant to be read is "
            "unknown; add the chat template it was trained with to its tokenizer"
        )
    _check_padding(source, tokenizer, strict)
    limit = longest_conversation(network, tokenizer)
    recipe = ScoringRecipe(
        chat_template=tokenizer.chat_template,
        special_tokens=False,
        final_token=None,
        pad_token=tokenizer.pad_token_id,
        vocabulary=len(tokenizer),
        max_length=limit or DEFAULT_LENGTH,
        truncation="truncate_prompt",
        read_out=read_out_of(network),
        head="attributes" if spec.names else "scalar",
        attributes=spec.names,
        architecture=type(network).__name__,
        dtype=dtype,
    )
    if published is not None:
        opening = published_opening(source, recipe, tokenizer)
        rule = GateRule(opening=opening, temperature=published.gate.temperature)
        return recipe.model_copy(update={"head": "gated", "gate": rule})
    if spec.names:
        _log.warning("%s has no %s: its reward is taken to be %s", source, RECIPE_FILE, _mean(recipe))
    return recipe


def _check_padding(source: str, tokenizer: PreTrainedTokenizerBase, strict: bool) -> None:
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    words = (
        f"{source}: the pad token is the end token (or missing), so transformers and TRL read the reward before "
        "the last end token while plaudit reads it at the last token; set a pad token of its own, or load with "
        "strict=False to read at the last token"
    )
    if strict:
        raise CheckpointError(words)
    warnings.warn(words, stacklevel=4)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id


def _mean(recipe: ScoringRecipe) -> str:
    return f"the mean of {', '.join(recipe.attributes)}, each counted alike and as better the higher it is"


def assumed(recipe: ScoringRecipe) -> str:
    """Return in words what was taken for granted of a checkpoint that brought no recipe."""
    parts = [
        "conversations by the tokenizer's own chat template, which writes the special tokens itself and is the whole "
        "text",
        f"read at {'the last token' if recipe.read_out == 'last_token' else 'wherever its own classifier reads'}",
        f"at most {recipe.max_length} tokens, as the model's positions and its tokenizer allow "
        f"({DEFAULT_LENGTH} where neither tells)",
        "longer prompts cut from the left",
        f"weights in {recipe.dtype}",
    ]
    if recipe.head == "attributes":
        parts.append(f"the reward is {_mean(recipe)}")
    if recipe.gate is not None:
        known = recipe.attributes == PUBLISHED_ATTRIBUTES
        named = "are those of the published ArmoRM, in its order"
        parts.append(f"the attributes {named if known else 'have the names in its config, or numbers without any'}")
        parts.append(f"the temperature of the gate is that of its config, or {PUBLISHED_TEMPERATURE:g} without one")
    return "; ".join(parts)
