"""The reward model: a backbone, a read-out position, a head. It takes any layout and never looks at padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.batch import Layout, TokenBatch
from plaudit.errors import ModelError
from plaudit.models.attention.interface import ATTENTION_NAME
from plaudit.models.attention.read_out import FOREST_ARGUMENT, restrict_last_layer
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.heads.gate import GATE, Gate
from plaudit.models.heads.head import Head
from plaudit.models.heads.kinds import head_of
from plaudit.models.heads.language_model import LanguageModelHead, language_head_of, token_log_likelihood
from plaudit.objectives.numerics import at_least_float32
from plaudit.objectives.objective import Rewards

_FEW = 0.25
"""Share of the positions up to which the last layer is worked out for the rows that are read alone."""


def core_of(network: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the sequence classifier itself, under any adapter."""
    core = network.get_base_model() if isinstance(network, PeftModel) else network
    assert isinstance(core, PreTrainedModel)
    return core


class RewardModel(nn.Module):
    """A network of transformers read as a reward model.

    ``network`` is a ``*ForSequenceClassification``, ``*ForTokenClassification`` or ``*ForCausalLM`` (or a PEFT model
    around one), so every checkpoint loads there too. For decoders the head reads hidden states of the backbone, in
    float32; for encoders the class's own classifier runs. ``head`` decodes the outputs.

    With ``tells_likelihood`` it also gives the likelihood of response tokens, for objectives that ask for it: under
    ``language_head``, which takes part in training and is no part of a checkpoint, or else under the model's own.
    """

    def __init__(
        self,
        network: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        recipe: ScoringRecipe,
        *,
        layout: Layout = "padded",
    ) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.recipe = recipe
        core = self.core
        self._padded_attention: str = core.config._attn_implementation or "eager"
        self._layout: Layout = "padded"
        self.language_head: nn.Module | None = None
        self.tells_likelihood = False
        self.gain_and_bias: nn.Parameter | None = None
        head = self.head
        if isinstance(head, LanguageModelHead) and len(head.class_tokens) == 1:
            self.gain_and_bias = nn.Parameter(torch.tensor([recipe.gain, recipe.bias], dtype=torch.float32))
        restrict_last_layer(core)
        self.use_layout(layout)

    @property
    def core(self) -> PreTrainedModel:
        """Return the sequence classifier itself, under any adapter."""
        return core_of(self.network)

    @property
    def head(self) -> Head:
        """Return the head that the recipe describes."""
        return head_of(self.recipe)

    @property
    def is_classifier(self) -> bool:
        """Return whether the class's own classifier reads whole padded sequences, as of an encoder."""
        return self.recipe.read_out == "classifier"

    @property
    def gate(self) -> Gate:
        """Return the gate of a gated head."""
        gate = self.core.get_submodule(GATE)
        assert isinstance(gate, Gate)
        return gate

    def saved_recipe(self, gathered: Float[Tensor, " 2"] | None = None) -> ScoringRecipe:
        """Return the scoring recipe with the trained gain and bias.

        ``gathered`` holds both where the model's own are sharded.
        """
        if self.gain_and_bias is None:
            return self.recipe
        gain, bias = (self.gain_and_bias if gathered is None else gathered).tolist()
        return self.recipe.model_copy(update={"gain": gain, "bias": bias})

    @property
    def config(self) -> PreTrainedConfig:
        """Return the transformers config, where trainers look for it."""
        return self.core.config

    @property
    def _no_split_modules(self) -> Any:
        """Return the layers that sharding must keep whole, where trainers look for them."""
        return self.core._no_split_modules

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.network.parameters()).device

    @property
    def layout(self) -> Layout:
        """Return the layout that batches for this model must have."""
        return self._layout

    def use_layout(self, layout: Layout) -> None:
        """Switch to another layout: the attention implementation changes, the weights do not."""
        wanted = self._padded_attention if layout == "padded" else ATTENTION_NAME
        if self.core.config._attn_implementation != wanted:
            self.core.set_attn_implementation(wanted)
        self._layout = layout

    def features(self, batch: TokenBatch) -> Float[Tensor, "response feature"]:
        """Return the last layer's hidden state at the last token of each response."""
        return self.features_at(batch, batch.response_end)

    def features_at(self, batch: TokenBatch, rows: Int[Tensor, " row"]) -> Float[Tensor, "row feature"]:
        """Return the last layer's hidden states at ``rows`` of the flattened batch.

        Where few rows are read, the last layer works for them alone.
        """
        if batch.forest is not None and len(rows) <= _FEW * batch.num_tokens:
            batch = replace(batch, forest=batch.forest.reading(rows))
        return self.hidden_states(batch)[rows]

    def hidden_states(self, batch: TokenBatch) -> Float[Tensor, "position feature"]:
        """Return the last layer's hidden states of all positions of the batch, flattened.

        Where the batch's forest names the rows that are read, the others are meaningless.
        """
        core = self.core
        backbone = getattr(core, core.base_model_prefix)
        arguments: dict[str, Any] = {"position_ids": batch.position_ids, "use_cache": False}
        if batch.layout == "padded":
            arguments["attention_mask"] = batch.attention_mask
        else:
            arguments[FOREST_ARGUMENT] = batch.forest
        return backbone(input_ids=batch.input_ids, **arguments).last_hidden_state.flatten(0, 1)

    @override
    def forward(self, batch: TokenBatch) -> Rewards:
        """Return the rewards of the batch, in at least float32; attributes are in the units of their ratings.

        Heads that look at steps or tokens do so for the steps of the batch, and for the response tokens of a batch that
        was built for them; those without classes, outcome models, also at the end of each response. The likelihood of
        the response tokens is there for a model that was told to tell it (``tells_likelihood``).
        """
        head = self.head
        if not self.tells_likelihood or not len(batch.token_before):
            return head.rewards(self, batch)
        rows = head.rows(batch)
        hidden = self.features_at(batch, torch.cat([rows, batch.token_before]))
        rewards = head.read(head.outputs(self, hidden[: len(rows)]), batch, self)
        targets = batch.input_ids.flatten()[batch.token_at]
        language_head = language_head_of(self.core) if self.language_head is None else self.language_head
        likelihood = token_log_likelihood(self.core, language_head, hidden[len(rows) :], targets)
        return rewards._replace(log_likelihood=likelihood)

    def classified(self, batch: TokenBatch, rows: Int[Tensor, " row"]) -> Float[Tensor, "row output"]:
        """Return the outputs of the class's own head: of each sequence, or of the tokens at ``rows``."""
        logits = self.network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        return at_least_float32(logits.flatten(0, 1)[rows] if logits.ndim == 3 else logits)

    def outputs_from(self, hidden: Float[Tensor, "row feature"]) -> Float[Tensor, "row output"]:
        """Return the head's outputs for read-out hidden states, in at least float32."""
        return self.head.outputs(self, hidden)

    def rewards_from(self, features: Float[Tensor, "response feature"]) -> Float[Tensor, " response"]:
        """Return a scalar head's rewards for read-out hidden states, computed in at least float32."""
        return self.outputs_from(features)[:, 0]

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations.

        Raises:
            ModelError: when transformers cannot do so for this class (ALBERT, MPNet).
        """
        # transformers has given the method another name, and warns of the old one
        enable = getattr(self.core, "activation_checkpointing_enable", self.core.gradient_checkpointing_enable)
        try:
            enable(gradient_checkpointing_kwargs or {"use_reentrant": False})
        except ValueError as error:
            raise ModelError(
                f"gradient checkpointing: {error} The same steps come out without it; set step.gradient_checkpointing "
                "to false and, if memory runs short, step.max_tokens lower"
            ) from None
        if isinstance(self.network, PeftModel):
            self.core.enable_input_require_grads()
