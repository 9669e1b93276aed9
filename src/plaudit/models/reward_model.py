"""The reward model: a backbone, a read-out position, a head. It takes any layout and never looks at padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, assert_never

import torch
from jaxtyping import Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.batch import Layout, TokenBatch
from plaudit.models.attention.interface import ATTENTION_NAME
from plaudit.models.backbone import head_parameters
from plaudit.models.checkpoint.recipe import GateRule, ScoringRecipe
from plaudit.models.heads.gate import GATE, Gate, gate_rows
from plaudit.models.heads.kinds import (
    class_log_probabilities,
    language_head_of,
    linear_head,
    single_logit,
    token_log_likelihood,
)
from plaudit.models.heads.read_out import FOREST_ARGUMENT, restrict_last_layer
from plaudit.objectives.precision import at_least_float32
from plaudit.objectives.rewards import Rewards

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
    float32; for encoders the class's own classifier runs. ``recipe.head`` says what the outputs mean.

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
        if recipe.head == "language_model" and len(recipe.class_tokens) == 1:
            self.gain_and_bias = nn.Parameter(torch.tensor([recipe.gain, recipe.bias], dtype=torch.float32))
        restrict_last_layer(core)
        self.use_layout(layout)

    @property
    def core(self) -> PreTrainedModel:
        """Return the sequence classifier itself, under any adapter."""
        return core_of(self.network)

    @property
    def gate(self) -> Gate:
        """Return the gate of a gated head."""
        gate = self.core.get_submodule(GATE)
        assert isinstance(gate, Gate)
        return gate

    def saved_recipe(self, gathered: Float[Tensor, " 2"] | None = None) -> ScoringRecipe:
        """Return the scoring recipe with what training changes in it: the gain and the bias.

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
        """Return what the head says of the batch, in at least float32; attributes are in the units of their ratings.

        A gated head also tells what the prompt weighs the attributes by: it reads the end of the prompt, so that is
        worked out once for all responses that share the prompt in the batch. Where what the recipe names does not stand
        right before a response, its reward is not a number.

        Heads that look at steps or tokens do so for the steps of the batch, and for the response tokens of a batch that
        was built for them; those without classes, outcome models, also at the end of each response. The likelihood of
        the response tokens is there for a model that was told to tell it (``tells_likelihood``).
        """
        if self.recipe.gate is not None:
            return self._gated(batch, self.recipe.gate)
        rows = self._rows_read(batch)
        if self.recipe.read_out == "classifier":
            return self._named(self.classified(batch, rows), batch)
        if not self.tells_likelihood or not len(batch.token_before):
            return self._named(self.outputs_from(self.features_at(batch, rows)), batch)
        hidden = self.features_at(batch, torch.cat([rows, batch.token_before]))
        rewards = self._named(self.outputs_from(hidden[: len(rows)]), batch)
        targets = batch.input_ids.flatten()[batch.token_at]
        head = language_head_of(self.core) if self.language_head is None else self.language_head
        likelihood = token_log_likelihood(self.core, head, hidden[len(rows) :], targets)
        return rewards._replace(log_likelihood=likelihood)

    def _gated(self, batch: TokenBatch, rule: GateRule) -> Rewards:
        """Return the attributes at the ends of the responses, their gate weights, and the rewards made of both."""
        rows, found = gate_rows(batch, rule.opening)
        prompts, prompt_of = torch.unique(rows, return_inverse=True)
        hidden = self.features_at(batch, torch.cat([batch.response_end, prompts]))
        ends, at_prompts = hidden.split([batch.num_responses, len(prompts)])
        told = self._named(self.outputs_from(ends), batch)
        assert told.attributes is not None
        gate = self.gate
        weights = linear_head(gate, at_prompts)[prompt_of].masked_fill(~found[:, None], torch.nan)
        return told._replace(response=gate.reward(told.attributes, weights), gate=weights)

    def _rows_read(self, batch: TokenBatch) -> Int[Tensor, " row"]:
        """Return the positions that the head looks at: of steps, tokens and ends of responses, in this order."""
        if self.recipe.head not in ("token", "language_model"):
            return batch.response_end
        ends = [batch.response_end] if self.recipe.reads_outcomes else []
        return torch.cat([batch.step_end, batch.token_at, *ends])

    def classified(self, batch: TokenBatch, rows: Int[Tensor, " row"]) -> Float[Tensor, "row output"]:
        """Return the outputs of the class's own head: of each sequence, or of the tokens at ``rows``."""
        logits = self.network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        return at_least_float32(logits.flatten(0, 1)[rows] if logits.ndim == 3 else logits)

    def outputs_from(self, hidden: Float[Tensor, "row feature"]) -> Float[Tensor, "row output"]:
        """Return the head's outputs for read-out hidden states, in at least float32."""
        if self.recipe.head != "language_model":
            return at_least_float32(linear_head(self.core.get_submodule("score"), hidden))
        tokens = self.recipe.class_tokens
        if self.gain_and_bias is None:
            return class_log_probabilities(self.core, hidden, tokens)
        gain, bias = self.gain_and_bias.unbind()
        return gain * single_logit(self.core, hidden, tokens[0]) + bias

    def rewards_from(self, features: Float[Tensor, "response feature"]) -> Float[Tensor, " response"]:
        """Return a scalar head's rewards for read-out hidden states, computed in at least float32."""
        return self.outputs_from(features)[:, 0]

    def _named(self, outputs: Float[Tensor, "row output"], batch: TokenBatch) -> Rewards:
        """Return the outputs under the names that objectives and scorers read them by."""
        match self.recipe.head:
            case "scalar":
                return Rewards(response=outputs[:, 0])
            case "attributes" | "gated":
                return self._in_units(outputs)
            case "odin":
                return Rewards(attributes=outputs, head_weight=self._head_weight())
            case "token" | "language_model":
                num_steps, num_tokens = len(batch.step_end), len(batch.token_at)
                right = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, -1] - outputs[:, 0]
                tokens, ends = right[num_steps : num_steps + num_tokens], right[num_steps + num_tokens :]
                response = ends if self.recipe.reads_outcomes else None
                return Rewards(response=response, steps=outputs[:num_steps], tokens=tokens)
            case _:
                assert_never(self.recipe.head)

    def _in_units(self, outputs: Float[Tensor, "response attribute"]) -> Rewards:
        """Return the attributes in the units of their ratings: what a standardised head gives · scale + location."""
        if not self.recipe.attribute_scales:
            return Rewards(attributes=outputs)
        scale, location = map(outputs.new_tensor, (self.recipe.attribute_scales, self.recipe.attribute_locations))
        return Rewards(attributes=outputs * scale + location, attribute_scale=scale)

    def _head_weight(self) -> Float[Tensor, "attribute feature"]:
        """Return the weights of the last linear layer of the head."""
        weights = [weight for _, weight in head_parameters(self.core) if weight.ndim == 2]
        return at_least_float32(weights[-1])

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        # transformers has given the method another name, and warns of the old one
        enable = getattr(self.core, "activation_checkpointing_enable", self.core.gradient_checkpointing_enable)
        enable(gradient_checkpointing_kwargs or {"use_reentrant": False})
        if isinstance(self.network, PeftModel):
            self.core.enable_input_require_grads()
