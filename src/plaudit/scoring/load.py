"""From the name of a model to something that scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from plaudit.errors import ConfigError, ModelError
from plaudit.models.checkpoint.files import load_reward_model
from plaudit.models.checkpoint.recipe import Quantization, QuantizationChoice, ScoringRecipe
from plaudit.models.language_model import load_language_model
from plaudit.scoring.ensemble import EnsembleScorer, Rule, Scale
from plaudit.scoring.function import FunctionScorer, load_function
from plaudit.scoring.implicit import DEFAULT_BETA, ImplicitRewardScorer, PerToken
from plaudit.scoring.local.engine import DEFAULT_MAX_TOKENS, RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.remote.scorer import RemoteScorer
from plaudit.scoring.remote.url import load_remote
from plaudit.statistics.aggregation import Aggregation

RUN_MODEL = "model"

AnyScorer = RewardScorer | PairwiseScorer | FunctionScorer | EnsembleScorer | ImplicitRewardScorer | RemoteScorer
"""What a name can stand for."""

_IMPLICIT: dict[str, PerToken] = {"dpo": "sum", "dpo-mean": "mean"}
_RULES: dict[str, Rule] = {"mean": "mean", "minimum": "minimum"}
_MINUS = re.compile(r"mean-(\d+\.?\d*|\.\d+)?std")
_SCALED = re.compile(r"(?P<model>.+)@(?P<mean>[-+.\deE]+)/(?P<std>[-+.\deE]+)")


def load(
    model: str | Path,
    *,
    layout: str = "auto",
    dtype: str | None = None,
    device: str | None = None,
    max_tokens: int | None = None,
    aggregation: Aggregation | None = None,
    strict: bool = True,
    trust_remote_code: bool = False,
    quantization: QuantizationChoice | None = None,
) -> RewardScorer | PairwiseScorer:
    """Return the reward model in a directory (a model, or a run that holds one) or of a hub id, ready to score.

    A model that compares two responses in one text comes as a ``PairwiseScorer``, any other as a ``RewardScorer``.
    ``aggregation`` is how the rewards of its steps make that of a response, for a process model; absent means what its
    scoring recipe says. ``quantization="4bit"`` rounds the linear layers below the head to four bits on loading, "none"
    does not, absent means what the recipe says; like ``dtype`` it changes rewards, and with them the recipe's hash.

    Raises:
        CheckpointError: when loading it would silently change its rewards.
        ConfigError: when steps are to be aggregated of a model that reads none.
        ModelError, LayoutError: when it cannot be loaded, or not in the layout that was asked for.
        MissingExtraError: when it is to be quantised, and bitsandbytes is not installed.
    """
    disable_progress_bar()
    source = model_source(str(model))
    loaded, proof = load_reward_model(
        source,
        layout=layout,
        dtype=dtype,
        device=device,
        strict=strict,
        trust_remote_code=trust_remote_code,
        quantization=quantization,
    )
    limit = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
    if loaded.recipe.form != "comparison":
        return RewardScorer(loaded, max_tokens=limit, proof=proof, aggregation=aggregation)
    if aggregation is not None:
        raise ConfigError(f"aggregation is {aggregation}, but {source} compares responses and reads no steps")
    return PairwiseScorer(loaded, max_tokens=limit, proof=proof)


def model_source(name: str) -> str:
    """Return the directory or hub id of the model that ``name`` names: of a run its model.

    Raises:
        ModelError: when the name is empty.
    """
    if not name:
        raise ModelError("the name of the model is empty; give a directory or a hub id")
    directory = Path(name)
    if (directory / RUN_MODEL / "config.json").exists() and not (directory / "config.json").exists():
        return str(directory / RUN_MODEL)
    return name


def load_scorer(
    model: str,
    *,
    max_tokens: int | None = None,
    aggregation: Aggregation | None = None,
    quantization: QuantizationChoice | None = None,
) -> AnyScorer:
    """Return the scorer that a command line names; ``quantization`` is that of every model in it.

    - ``DIRECTORY`` or a hub id: a reward model;
    - ``module:function``: a Python function;
    - ``http://…``: a server, see ``load_remote``;
    - ``ensemble:RULE:MODEL,MODEL,…``: several of these together. RULE is ``mean``, ``minimum``, ``mean-std`` or, with
      another λ, ``mean-0.5std``; ``MODEL@MEAN/STD`` standardises the rewards of a member;
    - ``dpo:POLICY,REFERENCE``: the implicit reward of two language models; ``dpo:POLICY`` without a reference,
      ``dpo-mean:…`` per token, ``dpo:beta=0.05:…`` with another β.

    Raises:
        ConfigError: when steps are to be aggregated of what gives them no rewards, or a name of the last two forms is
            not of its form; when a Python function is to be quantised.
        ModelError, CheckpointError: when it cannot be loaded.
    """
    if model.startswith(("http://", "https://")):
        if aggregation is not None or quantization is not None:
            raise ConfigError(f"{model}: aggregation and quantization are settings of the server; leave them out")
        return load_remote(model)
    kind, colon, rest = model.partition(":")
    if not colon or Path(model).exists():
        return load(model, max_tokens=max_tokens, aggregation=aggregation, quantization=quantization)
    if kind == "ensemble":
        return _load_ensemble(rest, max_tokens=max_tokens, aggregation=aggregation, quantization=quantization)
    if aggregation is not None:
        raise ConfigError(f"aggregation is {aggregation}, but {model} gives no rewards to aggregate; leave it out")
    if kind in _IMPLICIT:
        wanted = None if quantization == "none" else quantization
        return _load_implicit(rest, per_token=_IMPLICIT[kind], max_tokens=max_tokens, quantization=wanted)
    if quantization is not None:
        raise ConfigError(f"quantization is {quantization}, but {model} is no model whose weights it could round")
    return load_function(model)


def _load_ensemble(
    text: str, *, max_tokens: int | None, aggregation: Aggregation | None, quantization: QuantizationChoice | None
) -> EnsembleScorer:
    """Return the ensemble that ``RULE:MODEL,MODEL,…`` names."""
    word, _, listed = text.partition(":")
    minus = _MINUS.fullmatch(word)
    if word not in _RULES and minus is None:
        raise ConfigError(f"ensemble: the rule is {word!r}; it must be mean, minimum, mean-std or mean-0.5std, say")
    members = listed.split(",")
    if len(members) < 2 or not all(members):
        raise ConfigError(f"ensemble: the members are {listed!r}; there must be two or more with commas between")
    for member in members:
        if member.startswith(("ensemble:", *(f"{kind}:" for kind in _IMPLICIT))):
            raise ConfigError(
                f"ensemble: {member} cannot be a member in a name; make an EnsembleScorer of it in Python"
            )
    found = [_SCALED.fullmatch(member) for member in members]
    scaled = [each for each in found if each is not None]
    if scaled and len(scaled) < len(members):
        raise ConfigError(
            "ensemble: some members have a scale (@MEAN/STD) and some have none; give it to all or to none"
        )
    scales = [Scale(_number(each["mean"], each[0]), _number(each["std"], each[0])) for each in scaled]
    names = [each["model"] for each in scaled] or members
    scorers = [
        load_scorer(name, max_tokens=max_tokens, aggregation=aggregation, quantization=quantization) for name in names
    ]
    if not scales:
        _check_units(scorers, names)
    return EnsembleScorer(
        scorers,
        "mean_minus_std" if minus else _RULES[word],
        penalty=float(minus[1]) if minus and minus[1] else 1.0,
        scales=scales or None,
        names=names,
    )


def _check_units(scorers: Sequence[AnyScorer], names: Sequence[str]) -> None:
    """Refuse members whose rewards are known to be in different units; those of a function can be in any."""
    units: dict[str, str] = {}
    for scorer, name in zip(scorers, names, strict=True):
        if isinstance(scorer, RewardScorer):
            units.setdefault(_unit(scorer.recipe), name)
    if len(units) > 1:
        found = ", ".join(f"{name} gives {unit}" for unit, name in units.items())
        raise ConfigError(f"ensemble: {found}; give every member a scale, MODEL@MEAN/STD")


def _unit(recipe: ScoringRecipe) -> str:
    """Return in words what the rewards of a model with this recipe are."""
    if recipe.head == "attributes":
        return "ratings"
    if recipe.head == "gated":
        return "gated ratings"
    if recipe.reads_steps and recipe.aggregation != "log_odds":
        return "probabilities of steps"
    return "log-odds"


def _load_implicit(
    text: str, *, per_token: PerToken, max_tokens: int | None, quantization: Quantization | None
) -> ImplicitRewardScorer:
    """Return the implicit reward that ``POLICY,REFERENCE`` names, after ``beta=NUMBER:`` if that is there."""
    beta = DEFAULT_BETA
    if text.startswith("beta="):
        word, _, text = text.removeprefix("beta=").partition(":")
        beta = _number(word, f"beta={word}")
    names = text.split(",")
    if len(names) > 2 or not all(names):
        raise ConfigError(f"dpo: the models are {text!r}; they must be POLICY,REFERENCE, or POLICY alone")
    disable_progress_bar()
    policy, *reference = [load_language_model(model_source(name), quantization=quantization)[0] for name in names]
    return ImplicitRewardScorer(
        policy,
        reference[0] if reference else None,
        beta=beta,
        per_token=per_token,
        max_tokens=DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens,
    )


def _number(word: str, place: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ConfigError(f"{place}: {word!r} is not a number") from None
