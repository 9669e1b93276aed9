"""Saving and loading reward models, and loading plain causal language models.

Loading is strict: anything that would silently change a reward is an error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from plaudit.errors import CheckpointError, ModelError, OutputError
from plaudit.models import backbone
from plaudit.models.backbone import LoadedNetwork, checkpoint_file, restore_head
from plaudit.models.checkpoint import fingerprint, foreign
from plaudit.models.checkpoint.foreign import PublishedGate, SeparatedSteps
from plaudit.models.checkpoint.four_bit import without_quantization
from plaudit.models.checkpoint.recipe import (
    RECIPE_FILE,
    Quantization,
    QuantizationChoice,
    ScoringRecipe,
    check_special_tokens,
    own_template,
    read_recipe,
    resolve_template,
    save_recipe,
    template_hash,
)
from plaudit.models.classes import has_head
from plaudit.models.heads.head import HeadSpec
from plaudit.models.heads.kinds import head_of
from plaudit.models.parity import LayoutProof, check_causal, choose_layout
from plaudit.models.positions import longest_conversation
from plaudit.models.reward_model import RewardModel, core_of
from plaudit.outputs import check_folder, replacing_folder

_ADAPTER = "adapter_config.json"
MODEL_FILES = (
    "config.json",
    "generation_config.json",
    RECIPE_FILE,
    _ADAPTER,
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.jinja",
    "README.md",
    ".gitattributes",
)
"""Names of the files of a saved model and its tokenizer; README.md is its model card."""

_log = logging.getLogger(__name__)


def load_reward_model(
    source: str,
    *,
    layout: str = "auto",
    dtype: str | None = None,
    device: str | None = None,
    strict: bool = True,
    trust_remote_code: bool = False,
    quantization: QuantizationChoice | None = None,
    steps: SeparatedSteps | None = None,
) -> tuple[RewardModel, LayoutProof]:
    """Return the reward model in a directory or hub id, in evaluation mode, and the proof of its layout.

    A checkpoint of plaudit brings its scoring recipe; for any other sequence classifier with one output the recipe
    is worked out from its tokenizer (``models.foreign``). One with several outputs is a model of attributes where its
    config says so; ArmoRM's gated layout is read without its code. ``strict=False`` turns the end-token check of
    foreign checkpoints into a warning. ``trust_remote_code`` allows code of the model's repository, and the import of a
    custom head that its recipe names. ``dtype`` and ``quantization`` override the recipe's, and stand in the recipe of
    the loaded model. ``quantization="none"`` loads the weights in full. ``steps`` describes another's process model.

    Raises:
        CheckpointError: a missing head, another template, a doubled BOS, a pad token read as an end.
        ModelError: when there is no model or tokenizer.
        LayoutError: when a layout that was asked for by name is not exact for this model.
        MissingExtraError: when it is to be quantised, and bitsandbytes is not installed.
    """
    source = backbone.resolve_source(source)
    directory, adapter = Path(source), Path(source) / _ADAPTER
    is_gated = foreign.is_published_gate(source)
    trust_remote_code = trust_remote_code and not is_gated
    config = None if adapter.exists() else backbone.load_config_of(source, trust_remote_code=trust_remote_code)
    recipe = _own_recipe(source, trust_remote_code=trust_remote_code)
    published = foreign.published_gate(source, config) if is_gated and recipe is None and config is not None else None
    if config is not None and published is None:
        _check_class(source, _asked(recipe, steps), config)
    spec = _spec(source, config, recipe, published, steps)
    wanted_dtype = dtype or (recipe.dtype if recipe else "float32")
    quantized = _quantization(quantization, recipe)
    place = device or backbone.default_device()
    tokenizer = backbone.load_tokenizer(source, trust_remote_code=trust_remote_code)
    if recipe is not None:
        recipe = recipe.model_copy(update={"dtype": wanted_dtype})
        _check_recipe(source, recipe, tokenizer)
    load = partial(backbone.load_network, dtype=wanted_dtype, spec=spec, trust_remote_code=trust_remote_code)
    load = partial(load, quantization=quantized, device=place)
    filled = () if published is None else ("score.weight",)
    network = _load_adapter(directory, load, spec, tokenizer) if config is None else _load_whole(source, load, filled)
    core = core_of(network)
    if recipe is None:
        read = published or steps
        inferred = foreign.inferred_recipe(source, core, tokenizer, wanted_dtype, spec=spec, read=read, strict=strict)
        recipe = inferred.model_copy(update=_file_hashes(source))
    _check_tokens(source, recipe, core)
    recipe = recipe.model_copy(update={"quantization": quantized})
    _refuse_doubled_tokens(source, recipe, tokenizer)
    _complete_head(core, source, recipe, published)
    model = RewardModel(network, tokenizer, recipe)
    _move(model, place)
    model.eval()
    return model, choose_layout(model, layout)


def _asked(recipe: ScoringRecipe | None, steps: SeparatedSteps | None) -> HeadSpec:
    """Return the head that the class of a checkpoint must hold."""
    if recipe is not None:
        return head_of(recipe).spec()
    return HeadSpec() if steps is None else HeadSpec("token", len(steps.classes))


def _refuse_doubled_tokens(source: str, recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> None:
    problem = check_special_tokens(recipe, tokenizer)
    if problem:
        raise CheckpointError(f"{source}: {problem}; correct the template or the tokenizer's settings")


def _own_recipe(source: str, *, trust_remote_code: bool) -> ScoringRecipe | None:
    """Return the scoring recipe that a checkpoint brings, unless it asks for code that may not be imported."""
    file = checkpoint_file(source, RECIPE_FILE)
    recipe = None if file is None else read_recipe(file.parent)
    if recipe is not None and recipe.custom_head is not None and not trust_remote_code:
        raise CheckpointError(
            f"{source} has a custom head, {recipe.custom_head.path}; pass trust_remote_code=True to import it"
        )
    return recipe


def _complete_head(core: PreTrainedModel, source: str, recipe: ScoringRecipe, published: PublishedGate | None) -> None:
    """Give the head its full precision and a gate, which from_pretrained does not."""
    backbone.head_in_float32(core, recipe.read_out)
    if published is None:
        head_of(recipe).restore(core, source)
    if recipe.dtype in ("bfloat16", "float16"):
        restore_head(core, source)
    if published is not None:
        foreign.fill_published(core, published)


def _quantization(wanted: QuantizationChoice | None, recipe: ScoringRecipe | None) -> Quantization | None:
    """Return the quantisation of the weights: as asked for, or else as the recipe says."""
    match wanted:
        case None:
            return None if recipe is None else recipe.quantization
        case "none":
            return None
        case "4bit":
            return "4bit"
        case _:
            raise ModelError(f"quantization is {wanted!r}; it must be '4bit', 'none', or None for what the recipe says")


def _move(model: RewardModel, device: str) -> None:
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the model cannot be put on device {device!r}: {str(error).splitlines()[0]}") from error


def save_reward_model(model: RewardModel, directory: Path) -> None:
    """Write the model, its tokenizer and its scoring recipe to ``directory``, atomically.

    Sequence classifiers of transformers load it as it is; an adapter is saved as adapter plus head. An earlier model of
    plaudit is replaced, after the new one is whole.

    Raises:
        ModelError: when its weights were quantised on loading, so that the originals are not known.
        OutputError: when the directory cannot be written, or holds anything but a model of plaudit.
    """
    check_model_folder(directory)
    try:
        with replacing_folder(directory) as temporary:
            write_reward_model(model, temporary)
    except SafetensorError as error:
        raise OutputError(f"cannot write {directory}: {error}") from error


def check_model_folder(directory: Path) -> None:
    """Raise OutputError where a directory is there and holds anything but a model of plaudit."""
    check_folder(directory, marker=RECIPE_FILE, names=MODEL_FILES, kind="a model")


def write_reward_model(
    model: RewardModel,
    directory: Path,
    state_dict: dict[str, torch.Tensor] | None = None,
    *,
    gain_and_bias: torch.Tensor | None = None,
) -> None:
    """Write the files of a checkpoint into an existing directory.

    ``state_dict`` replaces the network's own weights, ``gain_and_bias`` those of the model, where they are sharded.
    """
    if model.recipe.quantization is not None and not isinstance(model.network, PeftModel):
        raise ModelError(
            "a model that was quantised on loading cannot be saved: its weights are rounded; save adapters that were "
            "trained on top of it, or load it with quantization='none'"
        )
    model.tokenizer.chat_template = model.recipe.chat_template
    kept = model.core.config._attn_implementation
    model.core.config._attn_implementation = None
    try:
        model.network.save_pretrained(str(directory), state_dict=state_dict)
    finally:
        model.core.config._attn_implementation = kept
    if isinstance(model.network, PeftModel):
        # The folder names its base in full precision; the recipe says that rewards were read on top of it in 4 bit.
        without_quantization(model.core.config).save_pretrained(directory)
    model.tokenizer.save_pretrained(directory)
    hashes = _file_hashes(str(directory))
    model.recipe = model.recipe.model_copy(update=hashes)
    save_recipe(model.saved_recipe(gain_and_bias), directory)


def _file_hashes(source: str) -> dict[str, str | None]:
    """Return the hashes of the files that fix a reward beside weights and recipe, as fields of a recipe."""
    tokenizer, settings, config = (
        checkpoint_file(source, name)
        for name in (fingerprint.TOKENIZER_FILE, fingerprint.TOKENIZER_CONFIG_FILE, fingerprint.CONFIG_FILE)
    )
    return {
        "tokenizer_hash": fingerprint.tokenizer_hash(tokenizer, settings),
        "config_hash": fingerprint.config_hash(config),
    }


_HASHED = {
    "tokenizer_hash": (fingerprint.TOKENIZER_FILE, "the tokenizer"),
    "config_hash": (fingerprint.CONFIG_FILE, "what the model computes"),
}


def _check_files(source: str, recipe: ScoringRecipe) -> None:
    """Refuse a tokenizer or a config other than that of the recipe; one of an older version does not tell."""
    found = _file_hashes(source)
    if recipe.tokenizer_hash is None and recipe.config_hash is None:
        _log.warning(
            "%s: its %s, of an older version, holds no hash of the tokenizer and the config, so whether these are the "
            "ones it was trained with is unverified",
            source,
            RECIPE_FILE,
        )
    for name, (file, what) in _HASHED.items():
        wanted = getattr(recipe, name)
        if wanted is not None and found[name] != wanted:
            raise CheckpointError(
                f"{source}: {file} has changed since the model was saved, and with it {what} (hash {found[name]}, the "
                f"recipe says {wanted}); restore the file, or, to load it unverified, set {name} to null in "
                f"{RECIPE_FILE}"
            )


def _check_tokens(source: str, recipe: ScoringRecipe, core: PreTrainedModel) -> None:
    """Refuse a token of the recipe that the model has no embedding for."""
    embedding = core.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    count = embedding.num_embeddings
    named = {"pad_token": (recipe.pad_token,), "class_tokens": recipe.class_tokens}
    named |= {"final_token": () if recipe.final_token is None else (recipe.final_token,)}
    named |= {"gate.opening": () if recipe.gate is None else recipe.gate.opening}
    for name, tokens in named.items():
        for token in tokens:
            if not 0 <= token < count:
                raise CheckpointError(
                    f"{source}: {name} is {token} in {RECIPE_FILE}; the model has embeddings of the tokens 0 to "
                    f"{count - 1}"
                )


def _check_recipe(source: str, recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> None:
    found = tokenizer.chat_template
    if found is None:
        raise CheckpointError(f"{source}: the tokenizer's chat template is missing; the recipe expects one")
    if found != recipe.chat_template:
        raise CheckpointError(
            f"{source}: the tokenizer's chat template (hash {template_hash(str(found))}) is not the one the model was "
            f"trained with (hash {recipe.template_hash}); restore chat_template.jinja, or train again with the new one"
        )
    if len(tokenizer) != recipe.vocabulary:
        raise CheckpointError(
            f"{source}: the tokenizer has {len(tokenizer)} entries, the recipe says {recipe.vocabulary}; "
            "it is another tokenizer"
        )
    _check_files(source, recipe)


def _spec(
    source: str,
    config: PreTrainedConfig | None,
    recipe: ScoringRecipe | None,
    published: PublishedGate | None,
    steps: SeparatedSteps | None,
) -> HeadSpec:
    """Return the outputs of the head: as the recipe or ``steps`` say, or else as the config does; they must agree.

    An adapter brings no config of its own; without a recipe it has one output.
    """
    if steps is not None:
        if recipe is not None or published is not None:
            raise CheckpointError(f"{source} says itself how it is read; leave step_classes and step_separator out")
        return foreign.process_spec(source, config, steps)
    if recipe is None:
        return HeadSpec() if config is None else foreign.inferred_spec(source, config, published)
    spec = head_of(recipe).spec()
    if config is None and recipe.gate is not None:
        raise CheckpointError(f"{source} is an adapter, and its recipe one of a gated model; gates take no adapters")
    if config is not None and spec.task != "language_model" and config.num_labels != spec.outputs:
        wanted = "a scalar reward model has one" if spec.outputs == 1 else f"its recipe says {spec.outputs}"
        raise CheckpointError(f"{source} has {config.num_labels} outputs; {wanted}")
    return spec


def _check_class(source: str, spec: HeadSpec, config: PreTrainedConfig) -> None:
    architectures = config.architectures if isinstance(config.architectures, list) else []
    if not architectures or any(has_head(name, spec, config) for name in architectures):
        return
    if config.to_dict().get("auto_map"):
        raise CheckpointError(
            f"{source} was saved as {architectures[0]}, a class of its own code (auto_map in config.json), which is "
            f"not run here; of such classes only {foreign.PUBLISHED_CLASS} is known"
        )
    if spec.task == "sequence" and architectures[0].endswith("ForTokenClassification"):
        raise CheckpointError(
            f"{source} was saved as {architectures[0]}: a process model whose classes and steps no {RECIPE_FILE} "
            r"describes. State them: plaudit.load(…, step_classes=(0, 1), step_separator='\n'), or save a copy that "
            r"every verb takes: plaudit doctor MODEL --step-classes 0,1 --step-separator '\n' --save COPY"
        )
    wanted = "no reward head" if spec.task == "sequence" else f"not the head of its recipe ({spec.task})"
    raise CheckpointError(
        f"{source} was saved as {architectures[0]}, which has {wanted}; loading it would give random "
        "rewards. Train a head with `plaudit train`"
    )


def _check_nothing_missing(source: str, missing: tuple[str, ...]) -> None:
    if missing:
        raise CheckpointError(
            f"{source} lacks {', '.join(missing[:5])}: these weights would be random, and so would every reward. "
            "Save the head with the model (for LoRA: modules_to_save), or train one with `plaudit train`"
        )


def _check_nothing_left_over(source: str, loaded: LoadedNetwork) -> None:
    prefix = f"{loaded.network.base_model_prefix}."
    left = [
        name
        for name in loaded.unexpected
        if name.startswith(prefix) and name.endswith((".weight", ".bias")) and not name.endswith(".attn.bias")
    ]
    if left:
        raise CheckpointError(
            f"{source} holds weights that its config has no place for: {', '.join(left[:5])}; "
            "config.json is of another model, so every reward would be another one"
        )


def _load_whole(source: str, load: Callable[[str], LoadedNetwork], filled: tuple[str, ...]) -> PreTrainedModel:
    """Return the network; ``filled`` are weights that lie in the files under other names."""
    loaded = load(source)
    _check_nothing_missing(source, tuple(name for name in loaded.missing if name not in filled))
    _check_nothing_left_over(source, loaded)
    return loaded.network


def _load_adapter(
    directory: Path, load: Callable[[str], LoadedNetwork], spec: HeadSpec, tokenizer: PreTrainedTokenizerBase
) -> PeftModel:
    try:
        record = json.loads((directory / _ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{directory / _ADAPTER} cannot be read: {error}") from None
    base = record.get("base_model_name_or_path") if isinstance(record, dict) else None
    if not isinstance(base, str) or not base:
        raise CheckpointError(f"{directory / _ADAPTER} names no base model")
    weights = directory / "adapter_model.safetensors"
    if not weights.exists():
        raise CheckpointError(f"{directory} has an adapter config but no adapter_model.safetensors")
    try:
        with safe_open(weights, framework="pt") as file:
            names = list(file.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{weights} cannot be read: {error}") from None
    base = _base_of(directory, base)
    loaded = load(base)
    has_head = any(".score." in name or ".classifier." in name for name in names)
    # An adapter that says nothing of a head was trained on a frozen one: that of its base.
    if not has_head and spec.task != "language_model" and (loaded.missing or record.get("modules_to_save")):
        raise CheckpointError(f"{directory} holds an adapter without its reward head; save it with modules_to_save")
    _check_nothing_missing(base, tuple(m for m in loaded.missing if not any(n.endswith(f".{m}") for n in names)))
    backbone.ensure_padding(loaded.network, tokenizer)
    return PeftModel.from_pretrained(loaded.network, str(directory))


def _base_of(directory: Path, base: str) -> str:
    """Return where the base of an adapter lies; a relative path is also looked for beside the adapter.

    Raises:
        CheckpointError: when it looks like a path, and there is no such folder.
    """
    places = [Path(base), directory / base, directory.parent / base]
    found = next((place for place in places if place.is_dir()), None)
    if found is not None:
        return str(found)
    if base.startswith(("/", ".", "~")) or base.count("/") > 1:
        raise CheckpointError(
            f"{directory / _ADAPTER}: base_model_name_or_path is {base!r}, and there is no such folder, here or beside "
            "the adapter; correct it"
        )
    return base


_LANGUAGE = HeadSpec("language_model")


def load_language_model(
    source: str,
    *,
    layout: str = "auto",
    dtype: str = "float32",
    device: str | None = None,
    chat_template: str | None = None,
    trust_remote_code: bool = False,
    quantization: Quantization | None = None,
) -> tuple[RewardModel, LayoutProof]:
    """Return the causal language model in a directory or hub id, in evaluation mode, and the proof of its layout.

    It is loaded as it is: no token is added, so its probabilities are those of transformers. Its recipe has no class
    words, since it is used for log-likelihoods of tokens (``log_likelihoods``). ``chat_template`` is as in
    ``resolve_template``; without it the tokenizer's own is taken. With ``quantization`` its linear layers, but not its
    vocabulary head, are quantised on loading.

    Raises:
        CheckpointError: when it is no causal language model, weights are missing, or the template doubles the BOS.
        ModelError: when there is no model, tokenizer or chat template, it is an adapter, or it reads ahead.
        LayoutError: when a layout that was asked for by name is not exact for this model.
        MissingExtraError: when it is to be quantised, and bitsandbytes is not installed.
    """
    source = backbone.resolve_source(source)
    _check_language_class(source, trust_remote_code=trust_remote_code)
    tokenizer = backbone.load_tokenizer(source, trust_remote_code=trust_remote_code)
    if chat_template is None and own_template(tokenizer, source) is None:
        raise ModelError(f"{source} has no chat template, so how its responses were written is unknown; give it one")
    place = device or backbone.default_device()
    loaded = backbone.load_network(
        source,
        dtype=dtype,
        spec=_LANGUAGE,
        trust_remote_code=trust_remote_code,
        quantization=quantization,
        device=place,
    )
    if loaded.missing:
        raise CheckpointError(f"{source} lacks {', '.join(loaded.missing[:5])}: these weights would be random")
    template, special_tokens = resolve_template(chat_template, tokenizer, source, ends=True)
    if backbone.read_out_of(loaded.network) != "last_token":
        raise ModelError(f"{type(loaded.network).__name__} keeps its layers where they are not known to be")
    recipe = backbone.recipe_of(
        loaded.network,
        tokenizer,
        chat_template=template,
        special_tokens=special_tokens,
        max_length=longest_conversation(loaded.network, tokenizer) or 4096,
        dtype=dtype,
        pad_token=_filler(tokenizer.pad_token_id, tokenizer.eos_token_id),
        head="language_model",
        quantization=quantization,
    )
    _refuse_doubled_tokens(source, recipe, tokenizer)
    model = RewardModel(loaded.network, tokenizer, recipe)
    model.to(place)
    model.eval()
    check_causal(model)
    return model, choose_layout(model, layout)


def _check_language_class(source: str, *, trust_remote_code: bool) -> None:
    """Raise ModelError for an adapter, and CheckpointError for a model that was saved as another kind."""
    if (Path(source) / "adapter_config.json").exists():
        raise ModelError(f"{source} holds an adapter; merge it into its base model, and give the merged one")
    config = backbone.load_config_of(source, trust_remote_code=trust_remote_code)
    classes = config.architectures if isinstance(config.architectures, list) else []
    if classes and not any(has_head(name, _LANGUAGE, config) for name in classes):
        raise CheckpointError(f"{source} was saved as {classes[0]}, which is no causal language model")


def _filler(pad: int | None, end: int | None) -> int:
    """Return a token to fill rows with: the mask hides it, so any will do."""
    return pad if pad is not None else end if end is not None else 0
