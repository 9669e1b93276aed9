"""Making reward models: a backbone, a head that is drawn from a seed, adapters."""

from __future__ import annotations

import logging

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from plaudit.batching.encode import Truncation
from plaudit.errors import ModelError
from plaudit.models.backbone import (
    ensure_padding,
    head_in_float32,
    head_modules,
    initialise_head,
    is_language_model,
    load_network,
    load_tokenizer,
    longest_conversation,
    read_out_of,
    resolve_source,
)
from plaudit.models.checkpoint.recipe import Quantization, ScoringRecipe, check_special_tokens, resolve_template
from plaudit.models.heads.gate import GATE
from plaudit.models.heads.kinds import SCALAR, HeadChoice, head_spec
from plaudit.models.reward_model import RewardModel

_log = logging.getLogger(__name__)

_TASKS = {"sequence": "SEQ_CLS", "token": "TOKEN_CLS", "language_model": "CAUSAL_LM"}


def new_reward_model(
    source: str,
    *,
    seed: int,
    head: HeadChoice = SCALAR,
    dtype: str = "float32",
    chat_template: str | None = None,
    max_length: int | None = None,
    truncation: Truncation = "truncate_prompt",
    trust_remote_code: bool = False,
    quantization: Quantization | None = None,
) -> RewardModel:
    """Return a reward model to train, on the backbone in ``source``; a head that is not there is drawn from ``seed``.

    With ``quantization`` the linear layers of the backbone are quantised on loading, and only adapters on top of them
    (``add_lora``) and the head can be trained.

    Raises:
        ModelError: when there is no model, tokenizer or chat template, or weights of the backbone are missing.
        MissingExtraError: when it is to be quantised, and bitsandbytes is not installed.
    """
    source = resolve_source(source)
    with torch.random.fork_rng(devices=[]):
        # transformers draws absent weights (a pooler, the layers of an encoder's head) from the global generator
        torch.default_generator.manual_seed(seed)
        loaded = load_network(
            source, dtype=dtype, spec=head.spec(), trust_remote_code=trust_remote_code, quantization=quantization
        )
    gates = [name for name in loaded.unexpected if name.startswith((f"{GATE}.", "gating."))]
    if gates:
        _log.warning("%s: its gate (%s, …) is left out; training fits a head without one", source, gates[0])
    network = loaded.network
    prefix = f"{network.base_model_prefix}."
    lost = [name for name in loaded.missing if name.startswith(prefix) and "pooler" not in name]
    if is_language_model(network) and loaded.missing and not lost:
        raise ModelError(
            f"{source} holds no vocabulary head (it lacks {', '.join(loaded.missing[:3])}), by which class words are "
            "predicted; start from a causal language model"
        )
    if lost:
        raise ModelError(f"{source} lacks weights of its backbone: {', '.join(lost[:5])}")
    tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        recipe = _recipe(source, network, tokenizer, dtype, chat_template, max_length, truncation)
        recipe = head.described_in(recipe, tokenizer).model_copy(update={"quantization": quantization})
    problem = check_special_tokens(recipe, tokenizer)
    if problem:
        raise ModelError(f"{source}: {problem}; choose another model.init.chat_template")
    initialise_head(network, seed=seed, names=set(loaded.missing))
    head_in_float32(network, recipe.read_out)
    return RewardModel(network, tokenizer, recipe)


def add_lora(
    model: RewardModel, *, rank: int, alpha: int, dropout: float, targets: str | tuple[str, ...], seed: int = 0
) -> RewardModel:
    """Return the model with low-rank adapters, drawn from ``seed``, and its whole head trained and saved.

    Source: Hu et al. (2021), arXiv 2106.09685.

    Raises:
        ModelError: when no layer has a name of ``targets``, or the model is gated: its gate is fitted to the backbone
            as it is.
    """
    if model.recipe.gate is not None:
        raise ModelError("a gated model takes no adapters: its gate is fitted to the hidden states as they are")
    layout = model.layout
    model.use_layout("padded")
    config = LoraConfig(
        task_type=_TASKS[head_spec(model.recipe).task],
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        modules_to_save=None if is_language_model(model.core) else head_modules(model.core),
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = get_peft_model(model.core, config)
    except ValueError as error:
        raise ModelError(f"model.lora.targets is {targets!r}: {str(error).splitlines()[0]}") from None
    return RewardModel(network, model.tokenizer, model.saved_recipe(), layout=layout)


def merge_lora(model: RewardModel) -> RewardModel:
    """Return the model with its adapters merged into the weights; one without adapters is returned unchanged.

    Raises:
        ModelError: when the weights are quantised: the merged ones would be rounded again, and with them every reward.
    """
    if not isinstance(model.network, PeftModel):
        return model
    if model.recipe.quantization is not None:
        raise ModelError(
            "adapters cannot be merged into weights in 4 bit, which would be rounded again; load the model with "
            "quantization='none', which puts them on the weights in full, and merge that"
        )
    layout = model.layout
    model.use_layout("padded")
    merged = model.network.merge_and_unload()
    head_in_float32(merged, model.recipe.read_out)
    return RewardModel(merged, model.tokenizer, model.saved_recipe(), layout=layout)


def _recipe(
    source: str,
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dtype: str,
    chat_template: str | None,
    max_length: int | None,
    truncation: Truncation,
) -> ScoringRecipe:
    template, special_tokens = resolve_template(chat_template, tokenizer, source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ensure_padding(network, tokenizer)
    read_out = read_out_of(network)
    appended = special_tokens and read_out == "last_token"
    limit = longest_conversation(network, tokenizer)
    if max_length is not None and limit is not None and max_length > limit:
        raise ModelError(f"max_length is {max_length}, but {source} has positions for {limit} tokens only")
    return ScoringRecipe(
        chat_template=template,
        special_tokens=special_tokens,
        final_token=tokenizer.eos_token_id if appended else None,
        pad_token=tokenizer.pad_token_id,
        vocabulary=len(tokenizer),
        max_length=max_length or min(limit or 4096, 4096),
        truncation=truncation,
        read_out=read_out,
        architecture=type(network).__name__,
        dtype=dtype,
    )
