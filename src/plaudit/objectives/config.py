"""Which objectives can be trained, as a closed union."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from plaudit.config import Config


class BradleyTerry(Config):
    """Bradley–Terry on preferences, with margin, soft labels, smoothing and centering."""

    type: Literal["bradley_terry"] = "bradley_terry"
    """Name of the objective."""
    use_margin: bool = False
    """Ask chosen to lead by the margin that the data give (Llama 2). Data without margins count as margin 0."""
    margin_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Multiplies the margins of the data."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of labels taken to be flipped."""
    centering: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Coefficient of the squared sum of both rewards; 0.01 is the usual value where rewards must be comparable."""
    weight: Literal["pair", "group"] = "pair"
    """``pair``: every preference weighs 1. ``group``: the preferences of a group share a weight of 1 (InstructGPT)."""


ObjectiveConfig = BradleyTerry
