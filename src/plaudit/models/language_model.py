"""Plain causal language models: loading one as it is, and how likely it finds the tokens of responses."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from plaudit.batching.batch import TokenBatch
from plaudit.errors import CheckpointError, ModelError
from plaudit.models.backbone import (
    HeadSpec,
    default_device,
    load_config_of,
    load_network,
    load_tokenizer,
    longest_conversation,
    read_out_of,
    resolve_source,
)
from plaudit.models.checkpoint.recipe import Quantization, ScoringRecipe, check_special_tokens, resolve_template
from plaudit.models.heads.kinds import language_head_of, token_log_likelihood
from plaudit.models.parity import LayoutProof, choose_layout
from plaudit.models.reward_model import RewardModel

_ENDINGS = ("ForCausalLM", "LMHeadModel")
_SPEC = HeadSpec("language_model")


def load_language_model(
    source: str,
    *,
    layout: str = "auto",
    dtype: str = "float32",
    device: str | None = None,
    chat_template: str | None = None,
    trust_remote_code: bool = False,
    quantization: Quantization | None = None,
) -> tuple[RewardModel, LayoutProof]:
    """Return the causal language model in a directory or hub id, in evaluation mode, and the proof of its layout.

    It is loaded as it is: no token is added, so its probabilities are those of transformers. Its recipe has no class
    words, since what is asked of it is how likely tokens are (``log_likelihoods``). ``chat_template`` is as in
    ``resolve_template``; without it the tokenizer's own is taken. With ``quantization`` its linear layers, but not its
    vocabulary head, are quantised on loading.

    Raises:
        CheckpointError: when it is no causal language model, weights are missing, or the template doubles the BOS.
        ModelError: when there is no model, tokenizer or chat template, or it is an adapter.
        LayoutError: when a layout that was asked for by name is not exact for this model.
        MissingExtraError: when it is to be quantised, and bitsandbytes is not installed.
    """
    source = resolve_source(source)
    _check_class(source, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code)
    if chat_template is None and not isinstance(tokenizer.chat_template, str):
        raise ModelError(f"{source} has no chat template, so how its responses were written is unknown; give it one")
    place = device or default_device()
    loaded = load_network(
        source, dtype=dtype, spec=_SPEC, trust_remote_code=trust_remote_code, quantization=quantization, device=place
    )
    if loaded.missing:
        raise CheckpointError(f"{source} lacks {', '.join(loaded.missing[:5])}: these weights would be random")
    template, special_tokens = resolve_template(chat_template, tokenizer, source)
    if read_out_of(loaded.network) != "last_token":
        raise ModelError(f"{type(loaded.network).__name__} keeps its layers where they are not known to be")
    recipe = ScoringRecipe(
        chat_template=template,
        special_tokens=special_tokens,
        final_token=tokenizer.eos_token_id if special_tokens else None,
        pad_token=_filler(tokenizer.pad_token_id, tokenizer.eos_token_id),
        vocabulary=len(tokenizer),
        max_length=longest_conversation(loaded.network, tokenizer) or 4096,
        truncation="truncate_prompt",
        read_out="last_token",
        head="language_model",
        architecture=type(loaded.network).__name__,
        dtype=dtype,
        quantization=quantization,
    )
    problem = check_special_tokens(recipe, tokenizer)
    if problem:
        raise CheckpointError(f"{source}: {problem}; correct the template or the tokenizer's settings")
    model = RewardModel(loaded.network, tokenizer, recipe)
    model.to(place)
    model.eval()
    return model, choose_layout(model, layout)


def _check_class(source: str, *, trust_remote_code: bool) -> None:
    """Raise ModelError for an adapter, and CheckpointError for a model that was saved as another kind."""
    if (Path(source) / "adapter_config.json").exists():
        raise ModelError(f"{source} holds an adapter; merge it into its base model, and give the merged one")
    config = load_config_of(source, trust_remote_code=trust_remote_code)
    classes = config.architectures if isinstance(config.architectures, list) else []
    if classes and not any(name.endswith(_ENDINGS) for name in classes):
        raise CheckpointError(f"{source} was saved as {classes[0]}, which is no causal language model")


def log_likelihoods(model: RewardModel, batch: TokenBatch) -> Float[Tensor, " token"]:
    """Return the log-probability, in at least float32, of each token of a batch that was built for its tokens.

    A token that responses share is worked out once.
    """
    places, of = torch.unique(torch.stack([batch.token_before, batch.token_at]), dim=1, return_inverse=True)
    hidden = model.features_at(batch, places[0])
    targets = batch.input_ids.flatten()[places[1]]
    return token_log_likelihood(model.core, language_head_of(model.core), hidden, targets)[of]


def _filler(pad: int | None, end: int | None) -> int:
    """Return a token to fill rows with: the mask hides it, so any will do."""
    return pad if pad is not None else end if end is not None else 0
