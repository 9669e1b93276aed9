"""The public mixtures, and the sets that RLHFlow brought into its standard format: pairs of whole conversations."""

from __future__ import annotations

from plaudit.data.reading.sources.source import Source

_TULU_3 = "Lambert et al. (2024), Tulu 3, arXiv:2411.15124"
_RLHFLOW = "Dong et al. (2024), RLHF Workflow: From Reward Modeling to Online RLHF, arXiv:2405.07863"
_PARTS = "ODC-BY 1.0; parts have licences of their own, some non-commercial"
_NONE_STATED = "none stated; those of its parts"
_SIDES = ("chosen", "rejected")
_UNCOUNTED = "The publisher shows the number of rows rounded: about"


def _standard(name: str, hub: str, rows: str) -> Source:
    """Return a data set in RLHFlow's standard format; its scores are read where it has them."""
    return Source(
        name=name,
        hub=f"RLHFlow/{hub}",
        format="scored_pair",
        licence=_NONE_STATED,
        citation=_RLHFLOW,
        columns=_SIDES,
        rows={"train": None},
        note=f"{_UNCOUNTED} {rows}.",
    )


MIXTURES: tuple[Source, ...] = (
    Source(
        name="tulu3_8b",
        hub="allenai/llama-3.1-tulu-3-8b-preference-mixture",
        format="trl",
        licence=_PARTS,
        citation=_TULU_3,
        columns=("prompt", *_SIDES),
        rows={"train": None},
        note="The card gives 271,409 rows in its header and 272,898 in its text.",
    ),
    Source(
        name="tulu3_70b",
        hub="allenai/llama-3.1-tulu-3-70b-preference-mixture",
        format="trl",
        licence=_PARTS,
        citation=_TULU_3,
        columns=("prompt", *_SIDES),
        rows={"train": 334_367},
        note="An older state of the card says 337,186 pairs.",
    ),
    Source(
        name="tulu3_405b",
        hub="allenai/llama-3.1-tulu-3-405b-preference-mixture",
        format="scored_pair",
        licence=_PARTS,
        citation=_TULU_3,
        columns=("prompt", *_SIDES, "chosen_rating", "rejected_rating"),
        rows={"train": 360_924},
    ),
    Source(
        name="tulu2_5",
        hub="allenai/tulu-2.5-preference-data",
        format="trl",
        licence=_PARTS,
        citation="Ivison et al. (2024), Unpacking DPO and PPO, arXiv:2406.09279",
        columns=_SIDES,
        note="One split for each of its data sets, such as hh_rlhf or alpaca_farm_human_pref; all have one layout.",
    ),
    Source(
        name="preference_700k",
        hub="hendrydong/preference_700K",
        format="scored_pair",
        licence=_NONE_STATED,
        citation=_RLHFLOW,
        columns=_SIDES,
        rows={"train": 700_000},
        note="The scores come from its parts, each on a scale of its own; null in parts without any.",
    ),
    Source(
        name="rlhflow_pairs_80k_safety",
        hub="RLHFlow/pair_data_v2_80K_wsafety",
        format="rlhflow_pair",
        licence=_NONE_STATED,
        citation=_RLHFLOW,
        columns=("messages",),
        rows={"train": None},
        note="Between 100,000 and 1,000,000 rows.",
    ),
    Source(
        name="rlhflow_ultrafeedback",
        hub="RLHFlow/UltraFeedback-preference-standard",
        format="scored_pair",
        licence=_NONE_STATED,
        citation=_RLHFLOW,
        columns=(*_SIDES, "chosen_score", "rejected_score"),
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
)
