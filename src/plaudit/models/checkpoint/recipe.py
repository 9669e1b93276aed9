"""The scoring recipe: everything that fixes a reward, kept beside the weights as ``plaudit.json``."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator
from transformers import PreTrainedTokenizerBase

from plaudit.batching.comparison import ComparisonEncoder
from plaudit.batching.encode import Encoder, check_fast
from plaudit.batching.rendering import prints_date, render_turns, with_fixed_date
from plaudit.batching.separated import SeparatedEncoder
from plaudit.batching.truncation import Truncation
from plaudit.batching.turns import Shown, TurnsEncoder, needs_following
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import CheckpointError, ConfigError, DataError, ModelError, closest_or_all
from plaudit.records import Record, RewardScale, first_problem, write_record
from plaudit.statistics.steps import Aggregation, StepReward

RECIPE_FILE = "plaudit.json"

ReadOut = Literal["last_token", "classifier"]
HeadKind = Literal["scalar", "attributes", "gated", "odin", "token", "language_model", "custom"]
Form = Literal["conversation", "turns", "one_turn", "comparison"]
ComparisonMode = Literal["all_pairs", "linear"]
Quantization = Literal["4bit"]
StepToken = Literal["step", "separator"]
QuantizationChoice = Literal["4bit", "none"]
"""A quantisation that overrides that of a recipe."""

_AFFINE = ("attribute_scales", "attribute_locations")
_YOUNGER = ("quantization", "gate", "custom_head", "tokenizer_hash", "config_hash")

_log = logging.getLogger(__name__)

NAMED_TEMPLATES = {
    "plain": (
        "{% for message in messages %}{{ message.role }}: {{ message.content }}"
        "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '\\n\\nassistant: ' }}{% endif %}"
    ),
    "concatenate": "{% for message in messages %}{{ message.content }}{% endfor %}",
}
"""Templates for models that bring none: ``plain`` names each role, ``concatenate`` joins the texts as they are.

A new model gets them with its special tokens written in, see ``with_special_tokens``."""


class GateRule(Record):
    """Reading of the prompt by a gate."""

    opening: Annotated[tuple[int, ...], Field(min_length=1)]
    """Tokens that stand right before a response; the first of them ends the prompt, and there the gate reads."""
    temperature: Annotated[float, Field(gt=0)]
    """Divides the logits of the gate."""


class CustomHeadRule(Record):
    """A head of one's own: the class and its fields."""

    path: Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")]
    """Import path, ``my_package.heads:QuantileHead``."""
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """Its fields."""


class ScoringRecipe(Record):
    """Everything that fixes a reward besides the weights."""

    chat_template: str
    """Jinja template that renders a conversation."""
    special_tokens: bool
    """True where the tokenizer adds its own special tokens (BOS, EOS, CLS, SEP) to the rendered text."""
    final_token: Annotated[int, Field(ge=0)] | None
    """Token appended to conversations that do not end in it."""
    pad_token: Annotated[int, Field(ge=0)]
    """Padding token; never read by plaudit, but by other tools."""
    vocabulary: int
    """Number of entries of the tokenizer."""
    max_length: Annotated[int, Field(gt=0)]
    """Longest conversation in tokens."""
    truncation: Truncation
    """Longer ones: the prompt cut from the left, left out, or, in evaluation only, the end of the response cut."""
    read_out: ReadOut
    """``last_token``: the head reads hidden states of the backbone. ``classifier``: the class's own head."""
    head: HeadKind = "scalar"
    """Kind of head: one reward; one per attribute, also gated; quality and length; of tokens; the model's own; or
    one that a user wrote."""
    attributes: tuple[str, ...] = ()
    """Names of the outputs of a head for attributes, in order."""
    attribute_weights: tuple[float, ...] = ()
    """Weights by which the attributes make the reward of a response, in the units of their ratings; empty: their mean,
    of which the attribute with the widest ratings decides most."""
    attribute_scales: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Multiply the outputs of a head for attributes, which are standardised; empty: they have the ratings' units."""
    attribute_locations: tuple[float, ...] = ()
    """Added to them: the rating for which the output is 0."""
    gate: GateRule | None = None
    """Reading of the prompt by the gate that weighs the attributes; null: there is none."""
    custom_head: CustomHeadRule | None = None
    """The class of a head of kind custom; null for every other."""
    classes: tuple[float, ...] = ()
    """Values of the classes of a step, in the order of the outputs; empty: an outcome model, read at every token."""
    class_tokens: tuple[int, ...] = ()
    """Tokens by which a language model names the classes; a single one is read with a gain and a bias."""
    gain: float = 1.0
    """Multiplies the logit of a single class token."""
    bias: float = 0.0
    """Added to it."""
    form: Form = "conversation"
    """Text form of a group: a conversation per response; its steps, or all of it, as turns; or comparisons."""
    class_words: tuple[str, ...] = ()
    """Texts of the class tokens, which are the assistant's turns where steps are turns."""
    shown_words: Shown = "best"
    """Words that earlier turns showed in training, where steps are turns; in use it is always the best one."""
    comparison_mode: ComparisonMode = "all_pairs"
    """The comparisons that make the rewards: of every pair of responses, or of each with one anchor."""
    step_separator: str = "\n"
    """Separator of the reasoning steps of a response that brings none of its own."""
    step_token: StepToken = "step"
    """Token at which a step is judged: at its own last token, or at that of the separator behind it, as TRL trains."""
    step_reward: StepReward = "not_lowest"
    """Reward of a step: 1 − P(the lowest class); P(the highest); or the mean of the classes, from 0 to 1."""
    aggregation: Aggregation = "last"
    """Aggregation of step rewards into the reward of a response."""
    reward_scale: RewardScale | None = None
    """Scale of the rewards that training gave a head with one reward per response; null where unknown, or where the
    head alone decides it. It changes no reward, so it is not in the hash."""
    architecture: str
    """Model class."""
    dtype: str
    """Precision of the weights."""
    quantization: Quantization | None = None
    """Precision to which the weights of the backbone were rounded on loading; null: none."""
    tokenizer_hash: str | None = None
    """Short hash of the tokenizer's files; null in recipes of older versions, of which it cannot be verified."""
    config_hash: str | None = None
    """Short hash of the fields of config.json that change what the model computes; null as above."""

    @model_validator(mode="after")
    def _one_weight_scale_and_location_per_attribute(self) -> Self:
        if self.attribute_weights and len(self.attribute_weights) != len(self.attributes):
            raise ValueError(
                f"there are {len(self.attributes)} attributes and {len(self.attribute_weights)} attribute_weights"
            )
        for name in _AFFINE:
            if len(getattr(self, name)) != (len(self.attributes) if self.attribute_scales else 0):
                raise ValueError(
                    f"there are {len(self.attributes)} attributes, {len(self.attribute_scales)} attribute_scales and "
                    f"{len(self.attribute_locations)} attribute_locations; all attributes have both, or none has"
                )
        return self

    @model_validator(mode="after")
    def _head_is_whole(self) -> Self:
        if (self.head == "gated") != (self.gate is not None) or (self.gate is not None and not self.attributes):
            raise ValueError("a head of kind gated has a gate and attributes, and no other head has a gate")
        if (self.head == "custom") != (self.custom_head is not None):
            raise ValueError("a head of kind custom has a custom_head, and no other head has one")
        return self

    @model_validator(mode="after")
    def _what_is_read_survives_the_cut(self) -> Self:
        if self.truncation == "truncate_response" and (self.form != "conversation" or self.reads_steps):
            what = f"the form {self.form}" if self.form != "conversation" else "rewards of steps"
            raise ValueError(
                f"truncation is truncate_response, but a model of {what} reads what would be cut off; "
                "it must be truncate_prompt or drop"
            )
        return self

    def with_lengths(self, max_length: int | None, truncation: Truncation | None) -> ScoringRecipe:
        """Return the recipe with another longest conversation and another truncation; None keeps its own.

        Raises:
            ConfigError: when the end of responses is to be cut, and the model reads rewards there.
        """
        wanted = {"max_length": max_length, "truncation": truncation}
        changed = self.model_dump() | {name: value for name, value in wanted.items() if value is not None}
        try:
            return ScoringRecipe.model_validate(changed)
        except ValidationError as error:
            raise ConfigError(first_problem(error).removeprefix("Value error, ")) from None

    @property
    def hash(self) -> str:
        """Return a short hash of everything that fixes a reward; younger fields, where absent, leave it as it was."""
        left_out = {"reward_scale"} | (set() if self.attribute_scales else set(_AFFINE))
        left_out |= {"step_reward"} if len(self.classes) < 3 or self.step_reward == "highest" else set()
        left_out |= {"step_token"} if self.step_token == "step" else set()
        left_out |= {name for name in _YOUNGER if getattr(self, name) is None}
        text = json.dumps(self.model_dump(mode="json", exclude=left_out), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs beside the reward: attributes, then their gate weights."""
        return self.attributes + tuple(f"gate:{name}" for name in self.attributes if self.gate is not None)

    @property
    def reads_steps(self) -> bool:
        """Return whether the reward of a response is made from those of its steps: a process model."""
        return self.head in ("token", "language_model") and bool(self.classes) and self.form != "comparison"

    @property
    def reads_outcomes(self) -> bool:
        """Return whether the reward is read at the last token of a response, and could be at any: an outcome model."""
        return self.head in ("token", "language_model") and not self.classes and self.form == "conversation"

    @property
    def template_hash(self) -> str:
        """Return a short hash of the chat template."""
        return template_hash(self.chat_template)

    def encoder(
        self, tokenizer: PreTrainedTokenizerBase, *, for_training: bool = False
    ) -> Encoder | TurnsEncoder | ComparisonEncoder:
        """Return the encoder that renders and tokenises by this recipe, in its form.

        ``for_training`` lets the turns show the labels of the data, where the recipe says so.

        Raises:
            ModelError: when a recipe that cuts the end of responses is to be trained by.
        """
        if for_training and self.truncation == "truncate_response":
            raise ModelError("truncation is truncate_response, which is for evaluation; train with another")
        if self.form == "comparison":
            return self.comparison_encoder(tokenizer)
        return self.response_encoder(tokenizer, for_training=for_training)

    def response_encoder(
        self, tokenizer: PreTrainedTokenizerBase, *, for_training: bool = False
    ) -> Encoder | TurnsEncoder:
        """Return the encoder of one text per response, by which a response gets a reward of its own."""
        if self.form not in ("turns", "one_turn"):
            return self.conversation_encoder(tokenizer)
        return TurnsEncoder(
            **self._rule(tokenizer),
            words=self.class_words,
            word_tokens=self.class_tokens,
            classes=self.classes,
            unit="step" if self.form == "turns" else "response",
            shown=self.shown_words if for_training else "best",
            is_followed=self.form == "turns" and needs_following(tokenizer, self.chat_template),
        )

    def comparison_encoder(self, tokenizer: PreTrainedTokenizerBase) -> ComparisonEncoder:
        """Return the encoder of comparisons of two responses."""
        return ComparisonEncoder(**self._rule(tokenizer))

    def conversation_encoder(self, tokenizer: PreTrainedTokenizerBase) -> Encoder:
        """Return the encoder of whole conversations."""
        rule = self._rule(tokenizer) | {"final_token": self.final_token, "needs_steps": self.reads_steps}
        if self.reads_steps and self.step_token == "separator":
            return SeparatedEncoder(**rule, separator=self.step_separator)
        return Encoder(**rule)

    def _rule(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return the fields that every ``GroupEncoder`` has."""
        check_fast(tokenizer)
        names = ("chat_template", "special_tokens", "max_length", "truncation")
        return {"tokenizer": tokenizer} | {name: getattr(self, name) for name in names}


def reward_in_words(recipe: ScoringRecipe) -> str:
    """Return the weighted sum of attributes that is the reward of a response, as ``0.5 · tone - 2 · length``."""
    terms = [
        f"{'-' if weight < 0 else '+'} {abs(weight):.4g} · {name}"
        for weight, name in zip(recipe.attribute_weights, recipe.attributes, strict=True)
    ]
    return " ".join(terms).removeprefix("+ ")


def template_hash(template: str) -> str:
    """Return a short hash of a chat template."""
    return hashlib.blake2b(template.encode(), digest_size=8).hexdigest()


def save_recipe(recipe: ScoringRecipe, directory: Path) -> None:
    """Write the recipe into a checkpoint, atomically."""
    write_record(directory / RECIPE_FILE, recipe)


def read_recipe(directory: Path) -> ScoringRecipe | None:
    """Return the recipe of a checkpoint, or None where there is none.

    Raises:
        CheckpointError: when the file is not a recipe.
    """
    path = directory / RECIPE_FILE
    if not path.exists():
        return None
    try:
        return ScoringRecipe.model_validate(_of_today(json.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not a scoring recipe: {first_problem(error)}") from None


def _of_today(fields: Any) -> Any:
    """Return the fields of a recipe with what plaudit 0.1 wrote as it is written now.

    It said whether training made differences log-odds. Its reward of a step was P(the highest class), which with two
    classes is 1 − P(the lowest).
    """
    if not isinstance(fields, dict):
        return fields
    kept = {"step_reward": "highest"} | fields
    if "trained_as_log_odds" in kept:
        trained = kept.pop("trained_as_log_odds")
        kept.setdefault("reward_scale", None if trained is None else "log_odds_differences" if trained else "order")
    return kept


def resolve_template(
    template: str | None, tokenizer: PreTrainedTokenizerBase, model: str, *, ends: bool = False
) -> tuple[str, bool]:
    """Return the chat template and whether the tokenizer must add its special tokens.

    ``template`` is None (the tokenizer's own), a name of ``NAMED_TEMPLATES``, a path to a ``.jinja`` file, or Jinja
    source. A model's own template writes its special tokens itself; a named one is made to, and to end conversations in
    the end token where ``ends``. A date that it prints is fixed.

    Raises:
        ModelError: when the tokenizer has none, or the name or the file is unknown.
    """
    if template is not None and template in NAMED_TEMPLATES:
        return with_special_tokens(NAMED_TEMPLATES[template], tokenizer, ends=ends)
    found = own_template(tokenizer, model) if template is None else _written_template(template)
    if found is None:
        raise ModelError(
            f"{model} has no chat template; set model.init.chat_template to a .jinja file or to one of: "
            + ", ".join(NAMED_TEMPLATES)
        )
    if prints_date(found):
        _log.warning("%s: its chat template prints the date, which is fixed here at 26 July 2024", model)
    return with_fixed_date(found), False


def own_template(tokenizer: PreTrainedTokenizerBase, model: str) -> str | None:
    """Return the chat template of a tokenizer, of several named ones that named default; None where it has none.

    Raises:
        ModelError: when none of several is named default.
    """
    found: object = tokenizer.chat_template
    if isinstance(found, dict):
        names = ", ".join(sorted(map(str, found)))
        if "default" not in found:
            raise ModelError(
                f"{model} has the chat templates {names} and none named default; give the one to use as a .jinja file"
            )
        _log.warning("%s has the chat templates %s; default is used", model, names)
        found = found["default"]
    return found if isinstance(found, str) and found else None


def _written_template(template: str) -> str:
    if "{" in template:
        return template
    path = Path(template)
    if path.suffix != ".jinja":
        raise ModelError(f"unknown chat template {template!r}; {closest_or_all(template, NAMED_TEMPLATES)}")
    if not path.is_file():
        raise ModelError(f"model.init.chat_template: {path} does not exist")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"model.init.chat_template: {path} cannot be read: {error}") from None


def with_special_tokens(template: str, tokenizer: PreTrainedTokenizerBase, *, ends: bool) -> tuple[str, bool]:
    """Return a template that writes what the tokenizer puts around a text (CLS and SEP, BOS), and False.

    Then ``apply_chat_template(tokenize=True)``, by which other tools read a saved model, gives the tokens that are read
    here. With ``ends`` a conversation also ends in the end token. Of a tokenizer that does not put its special tokens
    around the text the template comes back as it is, and True: the tokenizer must add them.
    """
    text, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    places = [k for k in range(len(whole) - len(text) + 1) if whole[k : k + len(text)] == text]
    if len(places) != 1:
        return template, True
    opening, closing = whole[: places[0]], whole[places[0] + len(text) :]
    if ends and tokenizer.eos_token_id is not None and closing[-1:] != [tokenizer.eos_token_id]:
        closing = [*closing, tokenizer.eos_token_id]
    before, after = ("".join(tokenizer.convert_ids_to_tokens(ids)) for ids in (opening, closing))
    written = f"{{{{ {before!r} }}}}{template}" if before else template
    if after:
        written += f"{{% if not add_generation_prompt %}}{{{{ {after!r} }}}}{{% endif %}}"
    return written, False


def ends_in(token: int, chat_template: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a short conversation, as a template writes it, ends in a token; False where it refuses one."""
    try:
        text = render_turns(tokenizer, chat_template, (Message("user", "a"), Message("assistant", "b")))
    except DataError:
        return False
    return tokenizer(text, add_special_tokens=False)["input_ids"][-1:] == [token]


def check_special_tokens(recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return a fault of the special tokens of a rendered conversation in words, or None.

    Found: a BOS written twice (by the template and by the tokenizer).
    """
    sample = Group((Message("user", "a"),), ("b", "c"), (Preference(0, 1),))
    text = recipe.encoder(tokenizer).texts(sample)[0]
    ids = tokenizer(text, add_special_tokens=recipe.special_tokens)["input_ids"]
    bos = tokenizer.bos_token_id
    if bos is not None and len(ids) > 1 and ids[0] == bos and ids[1] == bos:
        return "the BOS token stands twice: the chat template writes it and the tokenizer adds it again"
    return None
