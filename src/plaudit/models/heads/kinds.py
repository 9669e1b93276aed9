"""From hidden states to rewards: one function per kind of head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from plaudit.batching.turns import Shown, word_tokens
from plaudit.errors import ModelError
from plaudit.models.backbone import HeadSpec
from plaudit.models.checkpoint.recipe import ComparisonMode, Form, HeadKind, ScoringRecipe
from plaudit.objectives.precision import at_least_float32
from plaudit.statistics.aggregation import Aggregation

_VOCABULARY_ROWS = 1024
"""Rows whose logits over the whole vocabulary are held at a time."""


@dataclass(frozen=True, slots=True)
class HeadChoice:
    """A head to train: its kind, and what its outputs stand for.

    ``words`` are the texts of single tokens by which a language model names the classes; one word alone is read with a
    gain and a bias.
    """

    kind: HeadKind = "scalar"
    attributes: tuple[str, ...] = ()
    classes: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    form: Form = "conversation"
    shown_words: Shown = "best"
    comparison_mode: ComparisonMode = "all_pairs"
    step_separator: str = "\n"
    aggregation: Aggregation = "last"

    def described_in(self, recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> ScoringRecipe:
        """Return the recipe with everything that it says of the head.

        The words that answer a comparison become the tokens that they are right after the rendered text. Nothing is
        appended to a comparison, since its answer follows its last token. The words that judge steps in turns become
        the tokens that they are in an assistant's turn.

        Raises:
            ModelError: when a word is not one token, or two words are the same one.
        """
        described = self._with_tokens(recipe.model_copy(update=self._recipe_fields()), tokenizer)
        if len(set(described.class_tokens)) < len(described.class_tokens):
            raise ModelError(
                f"the class words {', '.join(map(repr, self.words))} are the tokens "
                f"{', '.join(map(str, described.class_tokens))} here; each class needs a token of its own"
            )
        return described

    def _with_tokens(self, described: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> ScoringRecipe:
        """Return the recipe, and what depends on the tokenizer: the tokens of the words, and none appended to them."""
        match self.form:
            case "conversation":
                own = tuple(token_of(word, tokenizer) for word in self.words)
                return described.model_copy(update={"class_tokens": own})
            case "turns" | "one_turn":
                template, special = described.chat_template, described.special_tokens
                in_turns = word_tokens(self.words, tokenizer, template, special_tokens=special)
                return described.model_copy(update={"class_tokens": in_turns, "final_token": None})
            case "comparison":
                encoder = described.comparison_encoder(tokenizer)
                found = [encoder.answer_token(word) for word in self.words]
                tokens = tuple(
                    token_of(word, tokenizer) if after is None else after
                    for word, after in zip(self.words, found, strict=True)
                )
                return described.model_copy(update={"class_tokens": tokens, "final_token": None})
            case _:
                assert_never(self.form)

    def _recipe_fields(self) -> dict[str, Any]:
        return {
            "head": self.kind,
            "attributes": self.attributes,
            "classes": self.classes,
            "class_words": self.words,
            "shown_words": self.shown_words,
            "form": self.form,
            "comparison_mode": self.comparison_mode,
            "step_separator": self.step_separator,
            "aggregation": self.aggregation,
        }

    def spec(self) -> HeadSpec:
        """Return the transformers class and the outputs of the head."""
        return _spec(self.kind, self.attributes, self.classes)


SCALAR = HeadChoice()
"""One reward per response."""

COMPARISON = HeadChoice("language_model", classes=(0.0, 1.0), words=("B", "A"), form="comparison")
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


def head_spec(recipe: ScoringRecipe) -> HeadSpec:
    """Return the transformers class and the outputs of the head that ``recipe`` describes."""
    return _spec(recipe.head, recipe.attributes, recipe.classes)


def _spec(kind: HeadKind, attributes: tuple[str, ...], classes: tuple[float, ...]) -> HeadSpec:
    match kind:
        case "scalar":
            return HeadSpec()
        case "attributes" | "gated":
            return HeadSpec("sequence", len(attributes), attributes)
        case "odin":
            return HeadSpec("sequence", 2, ("quality", "length"))
        case "token":
            return HeadSpec("token", max(1, len(classes)), tuple(f"{value:g}" for value in classes))
        case "language_model":
            return HeadSpec("language_model")
        case _:
            assert_never(kind)


def linear_head(head: nn.Module, features: Float[Tensor, "row feature"]) -> Float[Tensor, "row output"]:
    """Return the outputs of a head, computed in the precision of its weights, outside autocast."""
    with torch.autocast(features.device.type, enabled=False):
        return head(features.to(next(head.parameters()).dtype))


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


def single_logit(core: PreTrainedModel, hidden: Float[Tensor, "row feature"], token: int) -> Float[Tensor, "row one"]:
    """Return the logit of one token after each row: no other row of the vocabulary is multiplied."""
    return _logits_of(core, hidden, torch.tensor([token], device=hidden.device))


def _logits_of(
    core: PreTrainedModel, hidden: Float[Tensor, "row feature"], tokens: Int[Tensor, " class"]
) -> Float[Tensor, "row class"]:
    """Return the logits of some tokens in at least float32, outside autocast: rewards need more than eight bits."""
    head: Any = language_head_of(core)
    with torch.autocast(hidden.device.type, enabled=False):
        logits = nn.functional.linear(at_least_float32(hidden), at_least_float32(head.weight[tokens]))
        bias = getattr(head, "bias", None)
        return scaled_logits(core, logits if bias is None else logits + bias[tokens])


def class_log_probabilities(
    core: PreTrainedModel, hidden: Float[Tensor, "row feature"], tokens: Sequence[int]
) -> Float[Tensor, "row class"]:
    """Return the log-probability, over the whole vocabulary, of each of ``tokens`` after each row.

    What is common to the classes, the logarithm of the sum over the vocabulary, has the precision of the model's head;
    their differences are exact in float32.
    """
    columns = torch.tensor(tokens, device=hidden.device)

    def block(rows: Tensor) -> Tensor:
        normaliser = torch.logsumexp(vocabulary_logits(core, language_head_of(core), rows), dim=-1, keepdim=True)
        return _logits_of(core, rows, columns) - normaliser

    return _in_blocks(block, hidden)


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


def _in_blocks(function: Any, *tensors: Tensor) -> Tensor:
    """Apply ``function`` to blocks of rows; in the backward pass each block is worked out again, so one is held."""
    blocks = zip(*(each.split(_VOCABULARY_ROWS) for each in tensors), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([function(*block) for block in blocks])
    return torch.cat([checkpoint(function, *block, use_reentrant=False) for block in blocks])
