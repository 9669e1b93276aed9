"""The config of a training run, read by ``plaudit train``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from plaudit.config import Config
from plaudit.data.mixing.config import MixtureConfig
from plaudit.data.reading.options import DataFile
from plaudit.objectives.config import BradleyTerry, ObjectiveConfig
from plaudit.statistics.steps import Aggregation, StepReward


class PretrainedInit(Config):
    """Start from a model directory or a hub id."""

    type: Literal["pretrained"] = "pretrained"
    """Kind of start."""
    path: str
    """Directory or hub id of a transformers model; a reward head that it has is kept."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights; the head stays in float32."""
    quantization: Literal["4bit"] | None = None
    """``4bit``: load the linear layers below the head in NF4 and train adapters on them (QLoRA); needs bitsandbytes."""
    chat_template: str | None = None
    """Chat template: null for the tokenizer's own, or ``plain`` where it has none; else ``plain``, ``concatenate``, a
    .jinja file, or Jinja source."""
    trust_remote_code: bool = False
    """Run code that the model repository brings."""


class ScratchInit(Config):
    """Start from nothing: a byte-level BPE trained on the training texts and a small random Llama."""

    type: Literal["scratch"] = "scratch"
    """Kind of start."""
    hidden_size: Annotated[int, Field(gt=0, le=65_536)] = 128
    """Width."""
    num_layers: Annotated[int, Field(gt=0, le=1024)] = 2
    """Layers."""
    num_heads: Annotated[int, Field(gt=0)] = 4
    """Attention heads."""
    init_std: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.02
    """Standard deviation of the random weights; narrow models learn sooner with more, 0.05 say."""
    vocabulary: Annotated[int, Field(ge=300, le=10**6)] = 1024
    """Most entries of the tokenizer."""
    tokenizer_groups: Annotated[int, Field(gt=0)] = 20_000
    """Groups whose texts the tokenizer is trained on."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of twice num_heads {self.num_heads}; "
                "each head needs an even width of its own"
            )
        return self


class LoRA(Config):
    """Low-rank adapters (Hu et al., 2021); the head is always trained and saved whole."""

    rank: Annotated[int, Field(gt=0)] = 16
    """Rank."""
    alpha: Annotated[int, Field(gt=0)] = 32
    """Scale; the adapter is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout inside the adapters."""
    targets: str | tuple[str, ...] = "all-linear"
    """Modules that get adapters."""
    merge: bool = True
    """Merge the adapters into the weights of the final model."""


class TokenHeadSection(Config):
    """A classifier of tokens, read at the end of each reasoning step or at every response token."""

    type: Literal["token"] = "token"
    """Kind of head."""
    step_separator: Annotated[str, Field(min_length=1)] = "\n"
    """Separator of the steps of a response that brings none of its own."""
    step_reward: StepReward = "not_lowest"
    """Reward of a step: 1 − P(the lowest class), P(the ``highest``), or the ``mean`` of the classes, from 0 to 1."""
    aggregation: Aggregation = "last"
    """Aggregation of step rewards into the reward of a response."""

    def fields_of_head(self) -> dict[str, Any]:
        """Return the fields of the head."""
        return self.model_dump(exclude={"type"})


class LanguageModelHeadSection(Config):
    """The language model's own head: words name the classes, and are predicted where a step ends."""

    type: Literal["language_model"]
    """Kind of head."""
    words: Annotated[tuple[str, ...], Field(min_length=1)] = ("-", "+")
    """One word per class, each one token, from the worst to the best; a single word is read with a gain and a bias."""
    form: Literal["conversation", "turns", "one_turn"] = "conversation"
    """``turns``: each step is a user turn, answered with a word; ``one_turn``: the whole response is one."""
    shown_words: Literal["best", "labels"] = "best"
    """Words of earlier turns in training: always the best one, as in use, or those of the labels, as RLHFlow trains."""
    step_separator: Annotated[str, Field(min_length=1)] = "\n"
    """Separator of the steps of a response that brings none of its own."""
    step_reward: StepReward = "not_lowest"
    """Reward of a step: 1 − P(the lowest class), P(the ``highest``), or the ``mean`` of the classes, from 0 to 1."""
    aggregation: Aggregation = "last"
    """Aggregation of step rewards into the reward of a response."""

    def fields_of_head(self) -> dict[str, Any]:
        """Return the fields of the head."""
        return self.model_dump(exclude={"type", "words"}) | {"class_words": self.words}


class ComparisonHeadSection(Config):
    """The language model's own head, which says which of two responses in one text is better (RLHFlow's pair-pm).

    It goes with the objective ``process``: each preference is one comparison, whose label is the probability that the
    response named first is the better one.
    """

    type: Literal["comparison"] = "comparison"
    """Kind of head."""
    words: tuple[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]] = ("A", "B")
    """Words that say that the first, and that the second response is better, each one token."""
    orders: Literal["drawn", "both"] = "drawn"
    """In training: which response of a preference is named first is ``drawn`` from the seed; or ``both`` orders."""
    mode: Literal["all_pairs", "linear"] = "all_pairs"
    """In use: compare every pair of a group, or (``linear``) each response with one anchor and deduce the rest."""

    def fields_of_head(self) -> dict[str, Any]:
        """Return the fields of the head; the answer for the second response comes first, as the worse class."""
        return {"form": "comparison", "class_words": self.words[::-1], "comparison_mode": self.mode}


class CustomHeadSection(Config):
    """A head of your own: a subclass of ``CustomHead``. Every further key is a field of it."""

    model_config = ConfigDict(extra="allow")

    type: Literal["custom"]
    """Kind of head."""
    path: Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")]
    """Import path, ``my_package.heads:QuantileHead``."""


HeadSection = TokenHeadSection | LanguageModelHeadSection | ComparisonHeadSection | CustomHeadSection


class ModelSection(Config):
    """The model and how it sees text."""

    init: Annotated[PretrainedInit | ScratchInit, Field(discriminator="type")]
    """Start of the weights."""
    head: Annotated[HeadSection, Field(discriminator="type")] | None = None
    """The head, where the objective leaves a choice; null for its default. Every objective takes a custom one."""
    layout: Literal["auto", "shared_prefix", "packed", "padded"] = "auto"
    """Layout of groups as tensors; ``auto`` takes the fastest one that is proved exact for the model."""
    max_length: Annotated[int, Field(gt=1)] | None = None
    """Longest conversation in tokens; null for the model's own limit, at most 4096."""
    truncation: Literal["truncate_prompt", "drop"] = "truncate_prompt"
    """A conversation (prompt and one response) that is longer: cut its prompt from the left, or drop the response."""
    lora: LoRA | None = None
    """Train adapters instead of all weights."""
    tiny: str | None = None
    """The model that a tiny random one stands in for, written by ``--tiny``; null for a real model."""

    @field_validator("init", mode="before")
    @classmethod
    def _type_of_start(cls, value: Any) -> Any:
        """Take a start that names a path and no type for ``pretrained``, and one with sizes alone for ``scratch``."""
        if isinstance(value, Mapping) and "type" not in value and value:
            return {"type": "pretrained" if "path" in value else "scratch", **value}
        return value

    @property
    def trusts_code(self) -> bool:
        """Return whether the trained model needs code to be imported: of a head that a user wrote, or of its base."""
        from_base = isinstance(self.init, PretrainedInit) and self.init.trust_remote_code
        return from_base or isinstance(self.head, CustomHeadSection)

    @model_validator(mode="after")
    def _adapters_apart_have_a_base(self) -> Self:
        if self.lora is not None and not self.lora.merge and isinstance(self.init, ScratchInit):
            raise ValueError(
                "lora.merge is false, but a model made from scratch leaves no base that its adapters could be put on; "
                "set lora.merge to true"
            )
        return self

    @model_validator(mode="after")
    def _quantised_weights_are_trained_by_adapters_apart(self) -> Self:
        if not isinstance(self.init, PretrainedInit) or self.init.quantization is None:
            return self
        if self.lora is None:
            raise ValueError(
                f"init.quantization is {self.init.quantization}, but weights in 4 bit cannot be trained; add lora, "
                "whose adapters are trained on top of them (lora.merge: false)"
            )
        if self.lora.merge:
            raise ValueError(
                f"init.quantization is {self.init.quantization} and lora.merge is true, but adapters merged into "
                "weights in 4 bit are rounded with them, and every reward changes; set lora.merge to false"
            )
        return self


class DataSection(Config):
    """Training and held-out groups."""

    train: tuple[DataFile, ...] = ()
    """Files to train on."""
    mixture: MixtureConfig | Annotated[str, Field(min_length=1)] | None = None
    """A mixture to train on in their place, or the YAML file of one; its ``held_out`` set is evaluated on."""
    held_out: tuple[DataFile, ...] = ()
    """Files to evaluate on; where there are none, ``held_out_share`` of the prompts is split off."""
    held_out_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the prompts split off for evaluation, by prompt and never by row; 0 evaluates on nothing."""
    split_seed: int = 0
    """Seed of the split."""

    @model_validator(mode="after")
    def _says_what_to_train_on(self) -> Self:
        if bool(self.train) == (self.mixture is not None):
            raise ValueError("give either train, the files to train on, or mixture, the config of a mixture")
        return self


class OptimSection(Config):
    """AdamW and its schedule."""

    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-5
    """Peak learning rate."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """Shape after warm-up; linear and cosine end at 0."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps in which the learning rate rises linearly from 0."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Decoupled weight decay; biases and norms are left out."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of the moments."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are clipped to this norm; 0 does not clip."""


class StepSection(Config):
    """Optimiser step, memory, logging and checkpoints."""

    groups_per_step: Annotated[int, Field(gt=0)] = 64
    """Groups of one optimiser step, over all devices."""
    max_tokens: Annotated[int, Field(gt=0)] = 8192
    """Positions of one forward and backward on one device; changes memory and speed, never the result."""
    epochs: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Passes over the data."""
    max_steps: Annotated[int, Field(gt=0, le=10**9)] | None = None
    """Stop after this many steps instead."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the head, the order of the data and everything else that is drawn."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """``bfloat16`` runs the backbone under autocast; weights, losses and the head keep their precision."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass."""
    threads: Annotated[int, Field(gt=0, le=4096)] | None = None
    """CPU threads; null for PyTorch's choice."""
    log_every: Annotated[int, Field(gt=0)] | None = None
    """Steps between rows of ``metrics.jsonl``; null for 10, or less where a run would have fewer than 20 rows."""
    evaluate_every: Annotated[int, Field(gt=0)] | None = None
    """Steps between evaluations; null evaluates at the end only."""
    evaluate_groups: Annotated[int, Field(gt=0)] = 1000
    """Most groups of an evaluation during training."""
    save_every: Annotated[int, Field(gt=0)] | None = None
    """Steps between checkpoints; null keeps none but the final model."""
    keep_checkpoints: Annotated[int, Field(gt=0)] = 2
    """Checkpoints kept."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Trackers of transformers that get every metric too (``tensorboard``, ``wandb`` …)."""
    trainer_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of ``transformers.TrainingArguments`` (``fsdp``, ``deepspeed`` …); none of those above."""


class PushSection(Config):
    """The hub: each checkpoint as a commit while training runs, and the final model with its card at the end."""

    repo: Annotated[str, Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$")]
    """Repository, ``owner/name``; it is made where it does not exist."""
    private: bool = False
    """Make it a private one."""
    revision: str | None = None
    """Branch to push to; null for the main one."""


class TrainConfig(Config):
    """A training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the run: letters, digits, dots, dashes and underscores."""
    model: ModelSection
    """The model and how it sees text."""
    data: DataSection
    """Training and held-out groups."""
    objective: ObjectiveConfig = BradleyTerry()
    """The training loss."""
    optim: OptimSection = OptimSection()
    """AdamW and its schedule."""
    step: StepSection = StepSection()
    """Optimiser step, memory, logging and checkpoints."""
    push: PushSection | None = None
    """Repository of the hub that the model is pushed to; null for none."""

    @model_validator(mode="after")
    def _quantised_weights_are_not_sharded(self) -> Self:
        init, kwargs = self.model.init, self.step.trainer_kwargs
        sharding = [name for name in ("fsdp", "deepspeed") if kwargs.get(name)]
        if isinstance(init, PretrainedInit) and init.quantization is not None and sharding:
            raise ValueError(
                f"model.init.quantization is {init.quantization} and step.trainer_kwargs has {sharding[0]}, but "
                "weights in 4 bit are not sharded: every process holds all of them; leave one of the two out"
            )
        return self

    @field_validator("objective", mode="before")
    @classmethod
    def _bradley_terry_unless_said(cls, value: Any) -> Any:
        """Take an objective that names no type for Bradley–Terry."""
        if isinstance(value, dict) and "type" not in value:
            return {"type": "bradley_terry"} | value
        return value
