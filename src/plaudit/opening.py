"""Opening of a scorer by the name of a MODEL, as every verb takes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import assert_never

from plaudit.batching.truncation import Truncation
from plaudit.errors import ConfigError, ModelError
from plaudit.models.backbone import resolve_source
from plaudit.models.checkpoint.files import load_language_model, load_reward_model
from plaudit.models.checkpoint.foreign import SeparatedSteps
from plaudit.models.checkpoint.recipe import QuantizationChoice
from plaudit.scoring.ensemble import EnsembleScorer, Rule, scaled_name
from plaudit.scoring.function import load_function
from plaudit.scoring.implicit import DEFAULT_BETA, ImplicitRewardScorer, PerToken
from plaudit.scoring.local.engine import DEFAULT_MAX_TOKENS, RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.remote import load_remote
from plaudit.scoring.scorer import Scorer, ScorerInfo, info_of, with_lengths
from plaudit.statistics.steps import Aggregation

_MINUS = re.compile(r"mean-(\d+\.?\d*|\.\d+)?std")


@dataclass(frozen=True, slots=True)
class _Settings:
    """Settings of every model that a name holds; None means that of its recipe."""

    max_tokens: int | None = None
    aggregation: Aggregation | None = None
    quantization: QuantizationChoice | None = None
    trust_remote_code: bool = False


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
    step_classes: Sequence[float] | None = None,
    step_separator: str | None = None,
) -> RewardScorer | PairwiseScorer:
    """Return the reward model in a directory (a model, or a run that holds one) or of a hub id, ready to score.

    A model that compares two responses in one text comes as a ``PairwiseScorer``, any other as a ``RewardScorer``.
    ``aggregation`` makes the reward of a response from those of its steps, for a process model; the default is that of
    the scoring recipe. ``quantization="4bit"`` rounds the linear layers below the head to four bits on loading, "none"
    does not; the default is that of the recipe. Like ``dtype`` it changes rewards, and so the recipe's hash.
    ``step_classes`` and ``step_separator`` describe a process model of another trainer (a classifier of tokens, as
    TRL's ``PRMTrainer`` saves it): the values of its outputs, ascending, and the text at whose last token a step is
    judged.

    Raises:
        CheckpointError: when loading it would silently change its rewards.
        ConfigError: when steps are to be aggregated of a model that reads none.
        ModelError, LayoutError: when it cannot be loaded, or not in the layout that was asked for.
        MissingExtraError: when it is to be quantised, and bitsandbytes is not installed.
    """
    _hide_progress()
    kind, colon, _ = str(model).partition(":")
    if colon and kind != "package" and not Path(model).exists():
        raise ModelError(
            f"{model} is no single model to load; plaudit.evaluate and plaudit.reward_function take it as it is, and "
            "plaudit.opening.open_scorer gives its scorer"
        )
    source = model_source(str(model))
    loaded, _ = load_reward_model(
        source,
        layout=layout,
        dtype=dtype,
        device=device,
        strict=strict,
        trust_remote_code=trust_remote_code,
        quantization=quantization,
        steps=separated_steps(step_classes, step_separator),
    )
    limit = DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens
    if loaded.recipe.form != "comparison":
        return RewardScorer(loaded, max_tokens=limit, aggregation=aggregation)
    if aggregation is not None:
        raise ConfigError(f"aggregation is {aggregation}, but {source} compares responses and reads no steps")
    return PairwiseScorer(loaded, max_tokens=limit)


def separated_steps(classes: Sequence[float] | None, separator: str | None) -> SeparatedSteps | None:
    """Return the description of a process model of another trainer; None where neither part is given.

    Raises:
        ConfigError: when one is given without the other, or is none.
    """
    if classes is None and separator is None:
        return None
    if classes is None or separator is None:
        raise ConfigError("step_classes and step_separator belong together; give both")
    return SeparatedSteps(tuple(map(float, classes)), separator)


def _hide_progress() -> None:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()


def model_source(name: str) -> str:
    """Return the directory or hub id of the model that ``name`` names: see ``resolve_source``.

    Raises:
        ModelError: when the name is empty, or its package is not there.
    """
    if not name:
        raise ModelError("the name of the model is empty; give a directory or a hub id")
    return resolve_source(name)


def open_scorer(
    model: str,
    *,
    max_tokens: int | None = None,
    aggregation: Aggregation | None = None,
    quantization: QuantizationChoice | None = None,
    max_length: int | None = None,
    truncation: Truncation | None = None,
    trust_remote_code: bool = False,
) -> Scorer:
    """Return the scorer that a command line names; the settings are those of every model in it.

    - ``DIRECTORY``, a run, a hub id or ``package:NAME/FOLDER``: a reward model;
    - ``module:function``: a Python function;
    - ``http://…``: a server, see ``load_remote``;
    - ``ensemble:RULE:MODEL,MODEL,…``: several of these together. RULE is ``mean``, ``minimum``, ``mean-std`` or, with
      another λ, ``mean-0.5std``; ``MODEL@MEAN/STD`` standardises the rewards of a member;
    - ``dpo:POLICY,REFERENCE``: the implicit reward of two language models; ``dpo:POLICY`` without a reference,
      ``dpo-mean:…`` per token, ``dpo:beta=0.05:…`` with another β.

    ``max_tokens``, ``aggregation`` and ``quantization`` are as in ``load``; ``max_length`` and ``truncation`` replace
    those of the scoring recipe. ``trust_remote_code`` is as in ``load``, for every model in a name.

    Raises:
        ConfigError: when a setting is not one of such a model, or a name of the last two forms is not of its form.
        ModelError, CheckpointError: when it cannot be loaded.
    """
    opened = _opened(model, _Settings(max_tokens, aggregation, quantization, trust_remote_code))
    return with_lengths(opened, max_length, truncation, name=model)


def _opened(model: str, settings: _Settings) -> Scorer:
    if model.startswith(("http://", "https://")):
        if settings.aggregation is not None or settings.quantization is not None:
            raise ConfigError(f"{model}: aggregation and quantization are settings of the server; leave them out")
        return load_remote(model)
    kind, colon, rest = model.partition(":")
    if not colon or kind == "package" or Path(model).exists():
        return load(
            model,
            max_tokens=settings.max_tokens,
            aggregation=settings.aggregation,
            quantization=settings.quantization,
            trust_remote_code=settings.trust_remote_code,
        )
    if kind == "ensemble":
        return _open_ensemble(rest, settings)
    if settings.aggregation is not None:
        raise ConfigError(
            f"aggregation is {settings.aggregation}, but {model} gives no rewards to aggregate; leave it out"
        )
    match kind:
        case "dpo":
            return _open_implicit(rest, "sum", settings)
        case "dpo-mean":
            return _open_implicit(rest, "mean", settings)
        case _ if settings.quantization is not None:
            raise ConfigError(
                f"quantization is {settings.quantization}, but {model} is no model whose weights it could round"
            )
        case _:
            return load_function(model)


def _open_ensemble(text: str, settings: _Settings) -> EnsembleScorer:
    """Return the ensemble that ``RULE:MODEL,MODEL,…`` names."""
    word, _, listed = text.partition(":")
    rule, penalty = _parse_rule(word)
    members = listed.split(",")
    if len(members) < 2 or not all(members):
        raise ConfigError(f"ensemble: the members are {listed!r}; there must be two or more with commas between")
    for member in members:
        if member.startswith(("ensemble:", "dpo:", "dpo-mean:")):
            raise ConfigError(
                f"ensemble: {member} cannot be a member in a name; make an EnsembleScorer of it in Python"
            )
    names, found = zip(*map(scaled_name, members), strict=True)
    scales = [scale for scale in found if scale is not None]
    if scales and len(scales) < len(members):
        raise ConfigError(
            "ensemble: some members have a scale (@MEAN/STD) and some have none; give it to all or to none"
        )
    scorers = [_opened(name, settings) for name in names]
    if not scales:
        _check_units(scorers, names)
    return EnsembleScorer(scorers, rule, penalty=penalty, scales=scales or None, names=names)


def _parse_rule(word: str) -> tuple[Rule, float]:
    """Return the rule and the penalty that ``mean``, ``minimum`` or ``mean-0.5std`` names."""
    match word:
        case "mean" | "minimum":
            return word, 1.0
        case _:
            minus = _MINUS.fullmatch(word)
    if minus is None:
        raise ConfigError(f"ensemble: the rule is {word!r}; it must be mean, minimum, mean-std or mean-0.5std, say")
    return "mean_minus_std", float(minus[1] or 1.0)


def _check_units(scorers: Sequence[Scorer], names: Sequence[str]) -> None:
    """Refuse members whose rewards are known to be in different units; those of a function can be in any."""
    units: dict[str, str] = {}
    for scorer, name in zip(scorers, names, strict=True):
        unit = _unit(info_of(scorer))
        if unit is not None:
            units.setdefault(unit, name)
    if len(units) > 1:
        found = ", ".join(f"{name} gives {unit}" for unit, name in units.items())
        raise ConfigError(f"ensemble: {found}; give every member a scale, MODEL@MEAN/STD")


def _unit(info: ScorerInfo) -> str | None:
    """Return the unit of the rewards in words; None where it is not known, or checked by ``EnsembleScorer`` itself.

    Of rewards of which only the order counts, those of one kind of head are taken to be in one unit.
    """
    match info.scale:
        case "log_odds_values" | "log_odds_differences" | "assumed_log_odds_differences":
            return "log-odds"
        case "order":
            head = info.settings.get("head")
            return None if head == "custom" else f"an order only, of a head of kind {head}"
        case "ratings":
            return "gated ratings" if info.settings.get("head") == "gated" else "ratings"
        case "probabilities":
            return "probabilities of steps"
        case "win_rates" | None:
            return None
        case _:
            assert_never(info.scale)


def _open_implicit(text: str, per_token: PerToken, settings: _Settings) -> ImplicitRewardScorer:
    """Return the implicit reward that ``POLICY,REFERENCE`` names, after ``beta=NUMBER:`` if that is there."""
    beta = DEFAULT_BETA
    if text.startswith("beta="):
        word, _, text = text.removeprefix("beta=").partition(":")
        try:
            beta = float(word)
        except ValueError:
            raise ConfigError(f"beta={word}: {word!r} is not a number") from None
    names = text.split(",")
    if len(names) > 2 or not all(names):
        raise ConfigError(f"dpo: the models are {text!r}; they must be POLICY,REFERENCE, or POLICY alone")
    _hide_progress()
    quantization = None if settings.quantization == "none" else settings.quantization
    opened = partial(load_language_model, quantization=quantization, trust_remote_code=settings.trust_remote_code)
    policy, *reference = [opened(model_source(name))[0] for name in names]
    return ImplicitRewardScorer(
        policy,
        reference[0] if reference else None,
        beta=beta,
        per_token=per_token,
        max_tokens=DEFAULT_MAX_TOKENS if settings.max_tokens is None else settings.max_tokens,
    )
