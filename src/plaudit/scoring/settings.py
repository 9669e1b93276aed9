"""What fixes the rewards of a scorer besides its weights: told in full, and, of lengths, changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from pydantic import JsonValue

from plaudit.batching.lengths import Truncation
from plaudit.errors import ConfigError
from plaudit.models.backbone import longest_conversation
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.reward_model import RewardModel
from plaudit.scoring import ensemble
from plaudit.scoring.ensemble import EnsembleScorer
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.load import AnyScorer
from plaudit.scoring.local import engine
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.remote.scorer import RemoteScorer
from plaudit.scoring.scorer import Scorer

Settings = Mapping[str, JsonValue]


def with_lengths(scorer: AnyScorer, max_length: int | None, truncation: Truncation | None, *, name: str) -> AnyScorer:
    """Return the scorer with another longest conversation and another truncation in its recipe; None keeps its own.

    Both change rewards, and with them ``recipe_hash``. Of several models, ``name``, each is changed.

    Raises:
        ConfigError: when the backbone has no positions for so long a conversation; when the end of responses is to be
            cut of what reads rewards there, or tells no cuts; when there is no model whose recipe it could change.
    """
    if max_length is None and truncation is None:
        return scorer
    match scorer:
        case RewardScorer():
            _change(scorer.model, max_length, truncation, name)
            return RewardScorer(
                scorer.model,
                max_tokens=scorer.max_tokens,
                proof=scorer.proof,
                aggregation=scorer.recipe.aggregation if scorer.recipe.reads_steps else None,
            )
        case PairwiseScorer():
            _change(scorer.model, max_length, truncation, name)
            return PairwiseScorer(scorer.model, mode=scorer.mode, max_tokens=scorer.max_tokens, proof=scorer.proof)
        case ImplicitRewardScorer():
            _check_cut(truncation, name, "reads every token of a response")
            for model in (scorer.policy, scorer.reference):
                if model is not None:
                    _change(model, max_length, truncation, name)
            return ImplicitRewardScorer(
                scorer.policy,
                scorer.reference,
                beta=scorer.beta,
                per_token=scorer.per_token,
                step_separator=scorer.step_separator,
                max_tokens=scorer.max_tokens,
            )
        case EnsembleScorer():
            _check_cut(truncation, name, "puts members together that may be cut differently")
            return EnsembleScorer(
                [
                    _member(each, max_length, truncation, each_name)
                    for each, each_name in zip(scorer.members, scorer.names, strict=True)
                ],
                scorer.rule,
                penalty=scorer.penalty,
                scales=scorer.scales,
                names=scorer.names,
            )
        case FunctionScorer() | RemoteScorer():
            raise ConfigError(f"{name} has no scoring recipe here; --max-length and --truncation are of a model")
        case _:
            assert_never(scorer)


def _member(scorer: Scorer, max_length: int | None, truncation: Truncation | None, name: str) -> Scorer:
    kinds = (RewardScorer, PairwiseScorer, ImplicitRewardScorer, EnsembleScorer, FunctionScorer, RemoteScorer)
    if not isinstance(scorer, kinds):
        raise ConfigError(f"{name} has no scoring recipe here; --max-length and --truncation are of a model")
    return with_lengths(scorer, max_length, truncation, name=name)


def _change(model: RewardModel, max_length: int | None, truncation: Truncation | None, name: str) -> None:
    limit = longest_conversation(model.core, model.tokenizer)
    if max_length is not None and limit is not None and max_length > limit:
        raise ConfigError(f"max_length is {max_length}, but {name} has positions for {limit} tokens only")
    if max_length is not None and max_length < 2:
        raise ConfigError(f"max_length is {max_length}; it must be at least 2")
    try:
        model.recipe = model.recipe.with_lengths(max_length, truncation)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def _check_cut(truncation: Truncation | None, name: str, why: str) -> None:
    if truncation == "truncate_response":
        raise ConfigError(f"truncation is truncate_response, but {name} {why}; it must be truncate_prompt or drop")


def settings_of(scorer: Scorer) -> Settings:
    """Return what fixes the rewards of ``scorer`` besides its weights, as far as it is known; {} of a function."""
    match scorer:
        case RewardScorer():
            return scorer.recipe.model_dump(mode="json")
        case PairwiseScorer():
            return _dump(scorer.model.recipe.model_copy(update={"comparison_mode": scorer.mode}))
        case ImplicitRewardScorer():
            models = {"policy": scorer.policy, "reference": scorer.reference}
            recipes = {key: None if model is None else _dump(model.recipe) for key, model in models.items()}
            own = {"beta": scorer.beta, "per_token": scorer.per_token, "step_separator": scorer.step_separator}
            return {**recipes, **own}
        case EnsembleScorer():
            named = zip(scorer.names, scorer.members, strict=True)
            members: dict[str, JsonValue] = {name: dict(settings_of(each)) for name, each in named}
            scales: JsonValue = None
            if scorer.scales is not None:
                scales = [{"mean": each.mean, "std": each.std} for each in scorer.scales]
            return {"rule": scorer.rule, "penalty": scorer.penalty, "scales": scales, "members": members}
        case _:
            return {}


def window_of(scorer: Scorer) -> int:
    """Return how many groups ``scorer`` batches together, from the first on; 1 where that is not by their number.

    A scorer that starts again at a multiple of it makes the same batches.
    """
    match scorer:
        case RewardScorer() | ImplicitRewardScorer():
            return engine.WINDOW
        case EnsembleScorer():
            return ensemble.WINDOW if any(window_of(each) > 1 for each in scorer.members) else 1
        case _:
            return 1


def _dump(recipe: ScoringRecipe) -> dict[str, JsonValue]:
    return recipe.model_dump(mode="json")
