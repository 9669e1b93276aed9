"""Making reward models: on a backbone or from nothing, with a head drawn from a seed, and adapters."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from plaudit.batching.truncation import Truncation
from plaudit.errors import ModelError
from plaudit.models import backbone
from plaudit.models.backbone import LoadedNetwork
from plaudit.models.checkpoint.recipe import Quantization, ScoringRecipe, check_special_tokens, resolve_template
from plaudit.models.heads.gate import GATE
from plaudit.models.heads.head import Head, ScalarHead
from plaudit.models.positions import longest_conversation, too_long
from plaudit.models.reward_model import RewardModel

_log = logging.getLogger(__name__)

_SCALAR = ScalarHead()
_TASKS = {"sequence": "SEQ_CLS", "token": "TOKEN_CLS", "language_model": "CAUSAL_LM"}

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")


def new_reward_model(
    source: str,
    *,
    seed: int,
    head: Head = _SCALAR,
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
    source = backbone.resolve_source(source)
    with torch.random.fork_rng(devices=[]):
        # transformers draws absent weights (a pooler, the layers of an encoder's head) from the global generator
        torch.default_generator.manual_seed(seed)
        loaded = backbone.load_network(
            source, dtype=dtype, spec=head.spec(), trust_remote_code=trust_remote_code, quantization=quantization
        )
    _check_parts(source, loaded)
    network = loaded.network
    tokenizer = backbone.load_tokenizer(source, trust_remote_code=trust_remote_code)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        recipe = _recipe(
            source, network, tokenizer, chat_template, max_length=max_length, dtype=dtype, truncation=truncation
        )
        recipe = head.described_in(recipe, tokenizer).model_copy(update={"quantization": quantization})
    problem = check_special_tokens(recipe, tokenizer)
    if problem:
        raise ModelError(f"{source}: {problem}; choose another model.init.chat_template")
    backbone.initialise_head(network, seed=seed, names=set(loaded.missing))
    backbone.head_in_float32(network, recipe.read_out)
    return RewardModel(network, tokenizer, recipe)


def _check_parts(source: str, loaded: LoadedNetwork) -> None:
    """Say what of a checkpoint is left out, and which tools do not know its class; refuse one without its backbone."""
    gates = [name for name in loaded.unexpected if name.startswith((f"{GATE}.", "gating."))]
    if gates:
        _log.warning("%s: its gate (%s, …) is left out; training fits a head without one", source, gates[0])
    prefix = f"{loaded.network.base_model_prefix}."
    lost = [name for name in loaded.missing if name.startswith(prefix) and "pooler" not in name]
    if lost:
        raise ModelError(f"{source} lacks weights of its backbone: {', '.join(lost[:5])}")
    if backbone.is_language_model(loaded.network) and loaded.missing:
        raise ModelError(
            f"{source} holds no vocabulary head (it lacks {', '.join(loaded.missing[:3])}), by which class words are "
            "predicted; start from a causal language model"
        )
    if loaded.is_own:
        _log.warning(
            "%s: transformers has no %s; the model is saved in that layout, which plaudit loads, and AutoModel of "
            "transformers and TRL do not",
            source,
            type(loaded.network).__name__,
        )


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
        task_type=_TASKS[model.head.spec().task],
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        exclude_modules=_never_adapted(model.core) or None,
        modules_to_save=None if backbone.is_language_model(model.core) else backbone.head_modules(model.core),
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = get_peft_model(model.core, config)
    except ValueError as error:
        raise ModelError(f"model.lora.targets is {targets!r}: {str(error).splitlines()[0]}") from None
    return RewardModel(network, model.tokenizer, model.saved_recipe(), layout=layout)


def _never_adapted(core: PreTrainedModel) -> list[str]:
    """Return the names of linear layers that read no text (a vision tower), and of routers that give two tensors."""
    text = {id(module) for module in backbone.text_backbone(core).modules()}
    prefix = f"{core.base_model_prefix}."
    return [
        name
        for name, module in core.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith(prefix)
        and (id(module) not in text or "Router" in type(module).__name__)
    ]


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
    backbone.head_in_float32(merged, model.recipe.read_out)
    return RewardModel(merged, model.tokenizer, model.saved_recipe(), layout=layout)


def _recipe(
    source: str,
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    chat_template: str | None,
    max_length: int | None,
    **fields: str,
) -> ScoringRecipe:
    template, special_tokens = template_for(chat_template, tokenizer, source, network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone.ensure_padding(network, tokenizer)
    problem = too_long(network, tokenizer, max_length, source)
    if problem:
        raise ModelError(problem)
    limit = longest_conversation(network, tokenizer)
    return backbone.recipe_of(
        network,
        tokenizer,
        chat_template=template,
        special_tokens=special_tokens,
        max_length=max_length or min(limit or 4096, 4096),
        **fields,
    )


def template_for(
    template: str | None, tokenizer: PreTrainedTokenizerBase, source: str, network: PreTrainedModel
) -> tuple[str, bool]:
    """Return the template to train with, and whether the tokenizer adds its special tokens, as ``resolve_template``.

    Where none is asked for and the tokenizer of ``source`` has none, it is the plain one, and a warning says so.
    """
    if template is None and not tokenizer.chat_template:
        _log.warning("%s has no chat template; the plain one is used, which writes each role and its text", source)
        template = "plain"
    return resolve_template(template, tokenizer, source, ends=backbone.read_out_of(network) == "last_token")


def build_tokenizer(texts: Iterable[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of at most ``vocabulary`` entries trained on ``texts``, with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_decoder(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    max_length: int,
    seed: int,
    init_std: float = 0.02,
    head: Head = _SCALAR,
) -> RewardModel:
    """Return a randomly initialised Llama reward model: feed-forward width 8/3 · hidden, rounded up to 32.

    Weights are drawn from N(0, ``init_std``²), the head as ``initialise_head`` says.
    """
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=-(-hidden_size * 8 // 3 // 32) * 32,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=init_std,
    )
    spec = head.spec()
    backbone.prepare_config(config, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = getattr(transformers, f"Llama{spec.class_ending}")(config)
    backbone.initialise_head(network, seed=seed)
    recipe = backbone.recipe_of(
        network, tokenizer, chat_template=CHAT_TEMPLATE, special_tokens=False, max_length=max_length, dtype="float32"
    )
    return RewardModel(network, tokenizer, head.described_in(recipe, tokenizer))
