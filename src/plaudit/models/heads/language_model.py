"""The vocabulary head of a language model: words that name classes, and the likelihood of responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.batch import TokenBatch
from plaudit.batching.turns import Shown, word_tokens
from plaudit.errors import ConfigError, ModelError
from plaudit.models.backbone import load_network, resolve_source
from plaudit.models.checkpoint.recipe import ComparisonMode, Form, ScoringRecipe
from plaudit.models.heads.head import Head, HeadSpec
from plaudit.models.heads.token import TokenHead
from plaudit.objectives.numerics import at_least_float32
from plaudit.objectives.objective import Needs

if TYPE_CHECKING:
    from plaudit.models.reward_model import RewardModel

_COLUMNS = 16_384
"""Tokens of the vocabulary whose weights are widened to float32 at a time."""

_VOCABULARY_ROWS = 1024
"""Rows whose logits over the whole vocabulary are held at a time."""


@dataclass(frozen=True, kw_only=True)
class LanguageModelHead(TokenHead):
    """The model's own vocabulary head, in which words name the classes, read as a ``TokenHead`` is.

    ``class_words`` are the texts of single tokens, from the worst class to the best; one word alone is read with a gain
    and a bias. ``form`` is how a group becomes text. In the form ``comparison`` both responses stand in one text, and
    the words say which of them is better.
    """

    kind = "language_model"
    class_words: tuple[str, ...] = ()
    class_tokens: tuple[int, ...] = ()
    gain: float = 1.0
    bias: float = 0.0
    form: Form = "conversation"
    shown_words: Shown = "best"
    comparison_mode: ComparisonMode = "all_pairs"

    @classmethod
    @override
    def for_objective(cls, needs: Needs, **options: Any) -> Head:
        """Return the head for the classes of the objective, whose number its words must have."""
        made = cls(classes=needs.classes, **options)
        made._check_classes()
        return made

    def _check_classes(self) -> None:
        words, classes = self.class_words, self.classes
        if self.form == "comparison":
            if classes != (0.0, 1.0):
                found = (
                    f"the classes {', '.join(f'{value:g}' for value in classes)}" if classes else "no classes of steps"
                )
                raise ConfigError(
                    "model.head is comparison, which answers with the classes 0 (second better) and 1 (first better), "
                    f"but the objective has {found}; set objective to {{type: process}}"
                )
            return
        wanted = len(classes) or (2 if len(words) == 2 else 1)
        if len(words) != wanted:
            raise ConfigError(
                f"model.head.words names {len(words)} classes ({', '.join(map(repr, words))}); the objective has "
                f"{wanted}, from the worst to the best"
            )
        if self.form != "conversation" and not classes:
            raise ConfigError(
                f"model.head.form is {self.form}, in which words judge whole turns, but the objective token_outcome "
                "reads every token; use the objective process, or form conversation"
            )
        if self.form != "turns" and self.shown_words == "labels":
            raise ConfigError(
                f"model.head.shown_words is labels, but form {self.form} has no earlier turns; use form turns"
            )

    @override
    def spec(self) -> HeadSpec:
        """Return the class of causal language models."""
        return HeadSpec("language_model")

    @property
    @override
    def reads_outcomes(self) -> bool:
        """Return whether the reward is read at the last token of a response, and could be at any."""
        return not self.classes and self.form == "conversation"

    @override
    def outputs(self, model: RewardModel, hidden: Float[Tensor, "row feature"]) -> Float[Tensor, "row output"]:
        """Return the log-probabilities of the class words; of a single one gain · logit + bias."""
        if model.gain_and_bias is None:
            return class_log_probabilities(model.core, hidden, self.class_tokens)
        gain, bias = model.gain_and_bias.unbind()
        return gain * _logits_of(model.core, hidden, torch.tensor(self.class_tokens, device=hidden.device)) + bias

    @override
    def outputs_in(self, logits: Float[Tensor, "row logit"], model: RewardModel) -> Float[Tensor, "row output"]:
        """Return those of the class words among the logits of the vocabulary."""
        columns = list(self.class_tokens)
        if model.gain_and_bias is None:
            return torch.log_softmax(logits, dim=-1)[:, columns]
        gain, bias = model.gain_and_bias.unbind()
        return gain * logits[:, columns] + bias

    @override
    def described_in(self, recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> ScoringRecipe:
        """Return the recipe with everything that it says of the head, the tokens of its words among it.

        The words that answer a comparison become the tokens that they are right after the rendered text. Nothing is
        appended to a comparison, since its answer follows its last token. The words that judge steps in turns become
        the tokens that they are in an assistant's turn.

        Raises:
            ModelError: when a word is not one token, or two words are the same one.
        """
        described = self._with_tokens(recipe.model_copy(update=self.recipe_fields()), tokenizer)
        if len(set(described.class_tokens)) < len(described.class_tokens):
            raise ModelError(
                f"the class words {', '.join(map(repr, self.class_words))} are the tokens "
                f"{', '.join(map(str, described.class_tokens))} here; each class needs a token of its own"
            )
        return described

    def _with_tokens(self, described: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> ScoringRecipe:
        """Return the recipe with its tokenizer-dependent fields: the tokens of the words, and none appended to them."""
        match self.form:
            case "conversation":
                own = tuple(token_of(word, tokenizer) for word in self.class_words)
                return described.model_copy(update={"class_tokens": own})
            case "turns" | "one_turn":
                template, special = described.chat_template, described.special_tokens
                in_turns = word_tokens(self.class_words, tokenizer, template, special_tokens=special)
                return described.model_copy(update={"class_tokens": in_turns, "final_token": None})
            case "comparison":
                encoder = described.comparison_encoder(tokenizer)
                found = [encoder.answer_token(word) for word in self.class_words]
                tokens = tuple(
                    token_of(word, tokenizer) if after is None else after
                    for word, after in zip(self.class_words, found, strict=True)
                )
                return described.model_copy(update={"class_tokens": tokens, "final_token": None})
            case _:
                assert_never(self.form)


COMPARISON = LanguageModelHead(classes=(0.0, 1.0), class_words=("B", "A"), form="comparison")
"""A language model that says which of two responses in one text is better: A, the first, or B, the second."""


def token_of(word: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the one token that ``word`` is.

    Raises:
        ModelError: when it is none or several.
    """
    ids = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1:
        raise ModelError(
            f"the class word {word!r} is {len(ids)} tokens ({ids}); it must be one, as in {word.strip()!r}"
        )
    return ids[0]


def vocabulary_logits(core: PreTrainedModel, head: Any, hidden: Float[Tensor, "row feature"]) -> Tensor:
    """Return the logits ``[row, token]`` of a language-model head as the model itself would, in at least float32."""
    return scaled_logits(core, at_least_float32(head(hidden.to(head.weight.dtype))))


def scaled_logits(core: PreTrainedModel, logits: Tensor) -> Tensor:
    """Return logits scaled and capped as the model does: soft cap of Gemma 2, scale of Cohere, divisor of Granite."""
    config: dict[str, Any] = core.config.get_text_config().to_dict()
    if config.get("logits_scaling"):
        logits = logits / config["logits_scaling"]
    if config.get("logit_scale"):
        logits = logits * config["logit_scale"]
    cap = config.get("final_logit_softcapping")
    return logits if not cap else torch.tanh(logits / cap) * cap


def language_head_of(core: PreTrainedModel) -> nn.Module:
    """Return the vocabulary head of a causal language model."""
    head = core.get_output_embeddings()
    assert isinstance(head, nn.Module)
    return head


def _logits_of(
    core: PreTrainedModel, hidden: Float[Tensor, "row feature"], tokens: Int[Tensor, " class"]
) -> Float[Tensor, "row class"]:
    """Return the logits of some tokens in at least float32, outside autocast: rewards need more than eight bits.

    No other row of the vocabulary is multiplied.
    """
    head: Any = language_head_of(core)
    with torch.autocast(hidden.device.type, enabled=False):
        logits = nn.functional.linear(at_least_float32(hidden), at_least_float32(head.weight[tokens]))
        bias = getattr(head, "bias", None)
        return scaled_logits(core, logits if bias is None else logits + bias[tokens])


def class_log_probabilities(
    core: PreTrainedModel, hidden: Float[Tensor, "row feature"], tokens: Sequence[int]
) -> Float[Tensor, "row class"]:
    """Return the log-probability, over the whole vocabulary, of each of ``tokens`` after each row.

    Logits and normaliser are both in at least float32, so that no probability exceeds 1 in half precision.
    """
    columns = torch.tensor(tokens, device=hidden.device)

    def block(rows: Tensor) -> Tensor:
        return _logits_of(core, rows, columns) - _log_normaliser(core, rows)

    return _in_blocks(block, hidden)


def _log_normaliser(core: PreTrainedModel, rows: Float[Tensor, "row feature"]) -> Float[Tensor, "row 1"]:
    """Return the logarithm of the sum over the vocabulary of the exponentials of its logits, in at least float32.

    The weights of a head in half precision are widened a block at a time, outside autocast.
    """
    head: Any = language_head_of(core)
    if head.weight.dtype not in (torch.bfloat16, torch.float16):
        return torch.logsumexp(vocabulary_logits(core, head, rows), dim=-1, keepdim=True)
    blocks = torch.arange(len(head.weight), device=rows.device).split(_COLUMNS)
    parts = [torch.logsumexp(_logits_of(core, rows, tokens), dim=-1) for tokens in blocks]
    return torch.logsumexp(torch.stack(parts, dim=-1), dim=-1, keepdim=True)


def token_log_likelihood(
    core: PreTrainedModel,
    head: nn.Module,
    hidden: Float[Tensor, "token feature"],
    targets: Int[Tensor, " token"],
) -> Float[Tensor, " token"]:
    """Return the log-probability of each target after its row of ``hidden``."""

    def block(rows: Tensor, wanted: Tensor) -> Tensor:
        logits = vocabulary_logits(core, head, rows)
        return -nn.functional.cross_entropy(logits, wanted, reduction="none")

    return _in_blocks(block, hidden, targets)


def log_likelihoods(model: RewardModel, batch: TokenBatch) -> Float[Tensor, " token"]:
    """Return the log-probability, in at least float32, of each token of a batch that was built for its tokens.

    A token that responses share is worked out once.
    """
    places, of = torch.unique(torch.stack([batch.token_before, batch.token_at]), dim=1, return_inverse=True)
    hidden = model.features_at(batch, places[0])
    targets = batch.input_ids.flatten()[places[1]]
    return token_log_likelihood(model.core, language_head_of(model.core), hidden, targets)[of]


def _in_blocks(function: Any, *tensors: Tensor) -> Tensor:
    """Apply ``function`` to blocks of rows; in the backward pass each block is worked out again, so one is held."""
    blocks = zip(*(each.split(_VOCABULARY_ROWS) for each in tensors), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([function(*block) for block in blocks])
    return torch.cat([checkpoint(function, *block, use_reentrant=False) for block in blocks])


def keep_language_model(model: RewardModel, source: str | None, *, trust_remote_code: bool = False) -> None:
    """Make ``model`` tell the likelihood of response tokens (``Rewards.log_likelihood``).

    A model whose own head is the vocabulary uses that. Any other gets a vocabulary head beside its reward head: that of
    the causal language model in ``source``, from which it was made; or, made from nothing (``source`` None) or from a
    model that ties them, its own input embeddings. It is trained with the backbone, and under adapters frozen with it.

    Raises:
        ModelError: when the model is an encoder, or ``source`` holds no vocabulary head.
    """
    if model.is_classifier:
        raise ModelError(
            f"{model.recipe.architecture} predicts no tokens, so its objective can have no language-model loss; set "
            "the coefficient of that loss to 0"
        )
    model.tells_likelihood = True
    if isinstance(model.head, LanguageModelHead):
        return
    head = None if source is None else _head_of(source, model.recipe.dtype, trust_remote_code=trust_remote_code)
    model.language_head = _tied_head(model) if head is None else head
    weight = next(model.network.parameters())
    model.language_head.to(weight.device)
    if any("lora_" in name for name, _ in model.network.named_parameters()):
        model.language_head.requires_grad_(False)


def is_tied(model: RewardModel) -> bool:
    """Return whether the vocabulary head beside the reward head is the model's own input embeddings."""
    head, embedding = model.language_head, model.core.get_input_embeddings()
    return head is not None and getattr(head, "weight", None) is embedding.weight


def _tied_head(model: RewardModel) -> nn.Linear:
    embedding = model.core.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    head = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False, device="meta")
    head.weight = embedding.weight
    return head


def _head_of(source: str, dtype: str, *, trust_remote_code: bool) -> nn.Module | None:
    """Return the vocabulary head of the causal language model in ``source``; None where it is its input embeddings."""
    source = resolve_source(source)
    spec = HeadSpec("language_model")
    loaded = load_network(source, dtype=dtype, spec=spec, trust_remote_code=trust_remote_code)
    head, embedding = loaded.network.get_output_embeddings(), loaded.network.get_input_embeddings()
    if isinstance(embedding, nn.Embedding) and getattr(head, "weight", None) is embedding.weight:
        return None
    if loaded.missing or not isinstance(head, nn.Module):
        raise ModelError(
            f"{source} holds no vocabulary head (it lacks {', '.join(loaded.missing[:3])}), but the objective has a "
            "language-model loss; start from the causal language model, or set the coefficient of that loss to 0"
        )
    return head
