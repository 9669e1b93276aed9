"""The class that holds a reward head: transformers' own, or one made here on the text backbone where it has none.

transformers has no ``…ForSequenceClassification`` for many decoders (Granite, Cohere, OLMoE, Gemma 3n, most models that
also read images). Such a class is made here of the same parts: the backbone of the causal language model and a linear
layer ``score`` on its last hidden state. It is saved under the names that transformers would give it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, assert_never

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING
from typing_extensions import override

from plaudit.errors import ModelError
from plaudit.models.heads.head import HeadSpec

LANGUAGE_ENDINGS = ("ForCausalLM", "LMHeadModel")

_TEXT_WEIGHTS = {
    r"^(model\.)?language_model\.lm_head\.": "lm_head.",
    r"^language_model\.model\.": "model.",
    r"^model\.language_model\.": "model.",
    r"^language_model\.": "model.",
    r"^model\.text_model\.": "model.",
}
"""Patterns of names of text weights in the checkpoint of a model that also reads images → in that of its text alone."""


@dataclass(frozen=True, slots=True)
class NetworkClass:
    """A class that a network is loaded with, the config that it takes, and new names of weights in the checkpoint.

    ``kind`` is a class of transformers, one of its Auto classes, or one made here (``is_own``).
    """

    kind: Any
    config: PreTrainedConfig
    renamed: dict[str, str]
    is_own: bool = False

    def empty(self, config: PreTrainedConfig, *, trust_remote_code: bool = False) -> PreTrainedModel:
        """Return a network of this class with weights as they are drawn."""
        if self.is_own:
            return self.kind(config)
        return self.kind.from_config(config, trust_remote_code=trust_remote_code)


def network_class(config: PreTrainedConfig, spec: HeadSpec, *, trust_remote_code: bool = False) -> NetworkClass:
    """Return the class for the head ``spec`` on a model of this config.

    Where transformers has one for the model as a whole, it is that; else that for its text; else one made here.

    Raises:
        ModelError: when there is none, with the head that the model could have.
    """
    auto: Any = getattr(transformers, f"AutoModel{spec.class_ending}")
    remote = config.to_dict().get("auto_map") or {}
    if type(config) in auto._model_mapping or (trust_remote_code and auto.__name__ in remote):
        return NetworkClass(auto, config, {})
    text = config.get_text_config()
    renamed = {} if text is config else _TEXT_WEIGHTS
    if type(text) in auto._model_mapping:
        return NetworkClass(auto, text, renamed)
    if spec.task != "language_model" and type(text) in MODEL_MAPPING and not text.is_encoder_decoder:
        return NetworkClass(_own_class(type(text), spec.class_ending), text, renamed, is_own=True)
    raise ModelError(_no_class(config, spec))


def _no_class(config: PreTrainedConfig, spec: HeadSpec) -> str:
    """Return why there is no class for this head, and the head that works, in words."""
    version = transformers.__version__
    opening = f"the model type {config.model_type!r} has no class for this head in transformers {version}"
    if spec.task != "language_model" and language_class_of(config) is not None:
        return f"{opening}, and none can be made of it here; head: {{type: language_model}} works for it"
    return f"{opening}, and none can be made of it here; choose a decoder or an encoder of text"


def language_class_of(config: PreTrainedConfig) -> str | None:
    """Return the name of the class that ``AutoModelForCausalLM`` gives a model of this config, or None."""
    for each in (config, config.get_text_config()):
        name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(each.model_type)
        if name is not None:
            return name
    return None


def has_head(architecture: str, spec: HeadSpec, config: PreTrainedConfig) -> bool:
    """Return whether a checkpoint that was saved as this class holds the head.

    A causal language model is any class that ``AutoModelForCausalLM`` loads: by its name, or, where it also reads
    images, as that of its model type (``Gemma3ForConditionalGeneration``).
    """
    match spec.task:
        case "sequence" | "token":
            return architecture.endswith(spec.class_ending)
        case "language_model":
            if architecture.endswith((*LANGUAGE_ENDINGS, "ForConditionalGeneration")):
                known = language_class_of(config) is not None
                return known or architecture.endswith(LANGUAGE_ENDINGS)
            return architecture == language_class_of(config)
        case _:
            assert_never(spec.task)


class _OfTokens:
    """The parts of a classifier of tokens: the backbone, and ``score`` on every last hidden state."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)  # pyrefly: ignore
        self.num_labels = config.num_labels
        setattr(self, self.base_model_prefix, AutoModel.from_config(config))  # pyrefly: ignore
        self.score = nn.Linear(config.hidden_size, config.num_labels or 1, bias=False)
        self.post_init()  # pyrefly: ignore

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        """Return the logits ``[row, position, output]``."""
        given = {name: value for name, value in kwargs.items() if value is not None}
        backbone = getattr(self, self.base_model_prefix)  # pyrefly: ignore
        hidden = backbone(input_ids=input_ids, attention_mask=attention_mask, **given).last_hidden_state
        return TokenClassifierOutput(logits=self.score(hidden))  # pyrefly: ignore


class _OfSequences(_OfTokens):
    """The parts of a classifier of sequences, read where transformers reads: at the last token that is no padding."""

    @override
    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        """Return the logits ``[row, output]``."""
        logits = super().forward(input_ids, attention_mask, **kwargs).logits
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        padding = getattr(self.config, "pad_token_id", None)  # pyrefly: ignore
        last = (places * (input_ids != (-1 if padding is None else padding))).argmax(dim=-1)
        return SequenceClassifierOutput(logits=logits[torch.arange(len(logits), device=logits.device), last])


@lru_cache
def _own_class(config_type: type[PreTrainedConfig], ending: str) -> type[PreTrainedModel]:
    """Return ``…ForSequenceClassification`` or ``…ForTokenClassification`` on the backbone of a config's class.

    It stands in the backbone's module, so that transformers renames its weights as those of its siblings.
    """
    found: Any = MODEL_MAPPING[config_type]
    backbone: type[PreTrainedModel] = found if isinstance(found, type) else found[0]
    family = next(each for each in backbone.__mro__ if each.__name__.endswith("PreTrainedModel"))
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config_type.model_type, "")
    stem = causal.removesuffix("ForCausalLM") if causal.endswith("ForCausalLM") else backbone.__name__
    parts = _OfSequences if "Sequence" in ending else _OfTokens
    body = {
        "__module__": backbone.__module__,
        "__doc__": f"A linear head on the last hidden state of {backbone.__name__}.",
        "base_model_prefix": backbone.base_model_prefix or "model",
        "config_class": config_type,
    }
    return type(f"{stem.removesuffix('Model')}{ending}", (parts, family), body)
