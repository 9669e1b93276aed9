"""From a config to an objective."""

from __future__ import annotations

from typing import assert_never

from plaudit.objectives.config import (
    BradleyTerry,
    ObjectiveConfig,
    Odin,
    Outcome,
    PlackettLuce,
    Process,
    Regression,
    TokenOutcome,
    TopOne,
)
from plaudit.objectives.objective import ItemLosses, Needs, Objective
from plaudit.objectives.preference_objectives import BradleyTerryObjective, OdinObjective
from plaudit.objectives.process_objective import ProcessObjective
from plaudit.objectives.ranking_objectives import RankingObjective
from plaudit.objectives.response_objectives import OutcomeObjective, RegressionObjective, TokenOutcomeObjective

__all__ = ["ItemLosses", "Needs", "Objective", "build_objective"]


def build_objective(config: ObjectiveConfig) -> Objective:
    """Return the objective that ``config`` describes."""
    match config:
        case BradleyTerry():
            return BradleyTerryObjective(config)
        case PlackettLuce() | TopOne():
            return RankingObjective(config)
        case Regression():
            return RegressionObjective(config)
        case Outcome():
            return OutcomeObjective(config)
        case TokenOutcome():
            return TokenOutcomeObjective(config)
        case Process():
            return ProcessObjective(config)
        case Odin():
            return OdinObjective(config)
        case _:
            assert_never(config)
