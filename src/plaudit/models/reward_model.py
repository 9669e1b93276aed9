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
from plaudit.models.attention import ATTENTION_NAME
from plaudit.models.read_out import FOREST_ARGUMENT, restrict_last_layer
from plaudit.models.recipe import ScoringRecipe


def core_of(network: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return the sequence classifier itself, under any adapter."""
    core = network.get_base_model() if isinstance(network, PeftModel) else network
    assert isinstance(core, PreTrainedModel)
    return core


class RewardModel(nn.Module):
    """A transformers sequence classifier read as a reward model.

    ``network`` is the ``*ForSequenceClassification`` (or a PEFT model around one), so every checkpoint loads there
    too. For decoders the head ``score`` reads the hidden state of each response's last token, in float32; for encoders
    the class's own classifier runs.
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
        restrict_last_layer(core)
        self.use_layout(layout)

    @property
    def core(self) -> PreTrainedModel:
        """Return the sequence classifier itself, under any adapter."""
        return core_of(self.network)

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
        """Return the last layer's hidden states at ``rows`` of the flattened batch; no other row is worked out."""
        if batch.forest is not None:
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
    def forward(self, batch: TokenBatch) -> Float[Tensor, " response"]:
        """Return one reward per response of the batch, in float32 (float64 for a float64 model)."""
        if self.recipe.read_out == "classifier":
            logits = self.network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            return logits[:, 0].float() if logits.dtype != torch.float64 else logits[:, 0]
        return self.rewards_from(self.features(batch))

    def rewards_from(self, features: Float[Tensor, "response feature"]) -> Float[Tensor, " response"]:
        """Return the head's rewards for read-out hidden states, computed in at least float32."""
        head = self.core.get_submodule("score")
        with torch.autocast(features.device.type, enabled=False):
            dtype = next(head.parameters()).dtype
            return head(features.to(dtype)).squeeze(-1)

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.core.gradient_checkpointing_enable(gradient_checkpointing_kwargs or {"use_reentrant": False})
        if isinstance(self.network, PeftModel):
            self.core.enable_input_require_grads()
