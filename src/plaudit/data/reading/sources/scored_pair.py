"""Preferences whose two sides are rated: RLHFlow's standard format, Tulu 3 405B, UltraFeedback binarized, Capybara.

The margin is the chosen response's rating less the rejected one's: 0 where the ratings are equal, absent where one is
missing.
"""

from __future__ import annotations

from plaudit.data.reading.sources import trl
from plaudit.data.reading.sources.declared import PairFormat, Rating, Turns
from plaudit.data.reading.sources.fields import Row, answerable, compared, is_list
from plaudit.data.reading.sources.rlhflow import CITATION as _RLHFLOW
from plaudit.data.reading.sources.source import NO_LICENCE_OF_ITS_OWN, Source
from plaudit.data.reading.sources.ultrafeedback import CITATION as _ULTRAFEEDBACK

_RATINGS = (
    Rating("score", ("score_chosen", "score_rejected"), agrees=True, margin=True),
    Rating("score", ("chosen_score", "rejected_score"), agrees=True, margin=True),
    Rating("rating", ("chosen-rating", "rejected-rating"), agrees=True, margin=True),
    Rating("rating", ("rating_chosen", "rating_rejected"), agrees=True, margin=True),
    Rating("rating", ("chosen_rating", "rejected_rating"), agrees=True, margin=True),
)


def _shows_ratings(row: Row) -> bool:
    """Return whether ``row`` has both sides of a preference, and a place for the rating of each."""
    has_sides = row.get("chosen") is not None and row.get("rejected") is not None
    return has_sides and any(row.keys() >= set(rating.columns) for rating in _RATINGS)


def _sides(row: Row) -> tuple[Turns, str, str]:
    """Return the two sides as in ``trl``; where they are whole conversations, a ``prompt`` beside them is ignored."""
    if all(_is_whole(row.get(name)) for name in ("chosen", "rejected")):
        row = {name: value for name, value in row.items() if name != "prompt"}
    prompt, chosen, rejected = trl.sides(row)
    return answerable(prompt), *compared(chosen, rejected)


def _is_whole(side: object) -> bool:
    """Return whether ``side`` is a list of messages that opens with another turn than the assistant's."""
    return is_list(side) and bool(side) and isinstance(side[0], dict) and side[0].get("role") != "assistant"


def _standard(name: str, hub: str, rows: str) -> Source:
    """Return a data set in RLHFlow's standard format, whose publisher rounds the number of rows."""
    return Source(
        name=name,
        hub=f"RLHFlow/{hub}",
        licence=NO_LICENCE_OF_ITS_OWN,
        citation=_RLHFLOW,
        note=f"The publisher shows the number of rows rounded: about {rows}.",
    )


FORMATS = (
    PairFormat(
        name="scored_pair",
        optional=("prompt", "chosen", "rejected"),
        shown=_shows_ratings,
        sides=_sides,
        ratings=_RATINGS,
        sources=(
            Source(
                name="ultrafeedback_binarized",
                hub="HuggingFaceH4/ultrafeedback_binarized",
                licence="MIT",
                citation=f"Tunstall et al. (2023), Zephyr, arXiv:2310.16944; {_ULTRAFEEDBACK}",
                rows={
                    "train_prefs": 61_135,
                    "test_prefs": 2_000,
                    "train_sft": 61_135,
                    "test_sft": 1_000,
                    "train_gen": 61_135,
                    "test_gen": 1_000,
                },
                note="The preferences are train_prefs and test_prefs; the other splits repeat their prompts.",
            ),
            Source(
                name="ultrafeedback_cleaned",
                hub="argilla/ultrafeedback-binarized-preferences-cleaned",
                licence="MIT",
                citation=f"Argilla (2023), UltraFeedback Binarized Preferences Cleaned; {_ULTRAFEEDBACK}",
                rows={"train": 60_917},
                note="Chosen by the mean of the four ratings; without the prompts of TruthfulQA.",
            ),
            Source(
                name="capybara_dpo",
                hub="argilla/distilabel-capybara-dpo-7k-binarized",
                licence="Apache-2.0",
                citation="Argilla (2024), Capybara-DPO 7K binarized; Daniele (2023), Amplify-Instruct, LDJnr/Capybara",
                rows={"train": 7_563},
            ),
            Source(
                name="tulu3_405b",
                hub="allenai/llama-3.1-tulu-3-405b-preference-mixture",
                licence=trl.TULU_LICENCE,
                citation=trl.TULU_3,
                rows={"train": 360_924},
            ),
            Source(
                name="preference_700k",
                hub="hendrydong/preference_700K",
                licence=NO_LICENCE_OF_ITS_OWN,
                citation=_RLHFLOW,
                rows={"train": 700_000},
                note="The scores come from its parts, each on a scale of its own; null in parts without any.",
            ),
            Source(
                name="rlhflow_ultrafeedback",
                hub="RLHFlow/UltraFeedback-preference-standard",
                licence=NO_LICENCE_OF_ITS_OWN,
                citation=_RLHFLOW,
                rows={"train": 340_025},
                note="Every two responses of a prompt that differ in fine-grained score.",
            ),
            _standard("rlhflow_helpsteer", "Helpsteer-preference-standard", "37,100"),
            _standard("rlhflow_hh_helpful", "HH-RLHF-Helpful-standard", "115,000"),
            _standard("rlhflow_hh_harmless", "HH-RLHF-Harmless-and-RedTeam-standard", "42,300"),
            _standard("rlhflow_orca", "Orca-distibalel-standard", "6,930"),
            _standard("rlhflow_capybara", "Capybara-distibalel-Filter-standard", "14,800"),
            _standard("rlhflow_code_ultrafeedback", "CodeUltraFeedback-standard", "50,200"),
            _standard("rlhflow_ultrainteract", "UltraInteract-filtered-standard", "162,000"),
            _standard("rlhflow_saferlhf_30k", "PKU-SafeRLHF-30K-standard", "26,900"),
            _standard("rlhflow_math_dpo", "Argilla-Math-DPO-standard", "2,420"),
            _standard("rlhflow_prometheus2", "Prometheus2-preference-standard", "200,000"),
            _standard("rlhflow_shp", "SHP-standard", "93,300"),
        ),
    ),
)
