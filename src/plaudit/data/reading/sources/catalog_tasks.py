"""The public sets of one task each: summaries, answers from the web, reasoning, safety, judging by a rubric."""

from __future__ import annotations

from plaudit.data.reading.sources import armorm, beavertails
from plaudit.data.reading.sources.source import Source

_ALPACA_FARM = "Dubois et al. (2023), AlpacaFarm, arXiv:2305.14387"
_ALPACA_COLUMNS = ("instruction", "input", "output_1", "output_2", "preference")
_SUMMARIES = "Stiennon et al. (2020), Learning to summarize from human feedback, arXiv:2009.01325"
_NONE_STATED = "none stated"
_PARQUET = "refs/convert/parquet"
_SCRIPT = (
    "The repository holds a loading script, which datasets no longer runs: the hub's Parquet copy is read, which was "
    "not tried here."
)

TASKS: tuple[Source, ...] = (
    Source(
        name="alpaca_farm_human",
        hub="tatsu-lab/alpaca_farm",
        subset="alpaca_human_preference",
        format="alpaca_farm",
        licence="CC BY-NC 4.0",
        citation=_ALPACA_FARM,
        columns=_ALPACA_COLUMNS,
        rows={"preference": None},
        revision=_PARQUET,
        note=f"About 9,690 rows. raw_preference is not read: its scale is not published. {_SCRIPT}",
    ),
    Source(
        name="alpaca_farm_gpt4",
        hub="tatsu-lab/alpaca_farm",
        subset="alpaca_gpt4_preference",
        format="alpaca_farm",
        licence="CC BY-NC 4.0",
        citation=_ALPACA_FARM,
        columns=_ALPACA_COLUMNS,
        rows={"preference": None},
        revision=_PARQUET,
        note=f"About 19,500 rows. {_SCRIPT}",
    ),
    Source(
        name="armorm_multi_objective",
        hub="RLHFlow/ArmoRM-Multi-Objective-Data-v0.1",
        format="armorm",
        licence=_NONE_STATED,
        citation="Wang et al. (2024), Interpretable Preferences via Multi-Objective Reward Modeling, arXiv:2406.12845",
        columns=("messages", *armorm.ATTRIBUTES),
        rows={"train": None},
        note="Between 100,000 and 1,000,000 rows; each comes from one data set and has the labels of that one only.",
    ),
    Source(
        name="beavertails",
        hub="PKU-Alignment/BeaverTails",
        format="beavertails",
        licence="CC BY-NC 4.0",
        citation="Ji et al. (2023), BeaverTails, arXiv:2307.04657",
        columns=("prompt", "response", "category", beavertails.SAFE),
        rows={"330k_train": None, "330k_test": None, "30k_train": None, "30k_test": None},
        note="About 301,000, 33,400, 27,200 and 3,020 rows: 333,963 and 30,207 labelled responses.",
    ),
    Source(
        name="feedback_collection",
        hub="prometheus-eval/Feedback-Collection",
        format="feedback_collection",
        licence="CC BY 4.0",
        citation="Kim et al. (2023), Prometheus, arXiv:2310.08491",
        columns=("orig_instruction", "orig_response", "orig_score"),
        rows={"train": None},
        note="About 100,000 responses to 20,000 instructions, each with a rubric of its own.",
    ),
    Source(
        name="preference_collection",
        hub="prometheus-eval/Preference-Collection",
        format="preference_collection",
        licence="CC BY 4.0",
        citation="Kim et al. (2024), Prometheus 2, arXiv:2405.01535",
        columns=("orig_instruction", "orig_response_A", "orig_response_B", "orig_preference"),
        rows={"train": None},
        note="About 200,000 pairs, half of them with A as the better one.",
    ),
    Source(
        name="offsetbias",
        hub="NCSOFT/offsetbias",
        format="offsetbias",
        licence="BSD-3-Clause",
        citation="Park et al. (2024), OffsetBias, arXiv:2407.06551",
        columns=("instruction", "output_1", "output_2", "label"),
        rows={"train": 8_504},
        note="Counter-examples to the biases of judges: meant to be added to other data.",
    ),
    Source(
        name="summarize_from_feedback_comparisons",
        hub="openai/summarize_from_feedback",
        subset="comparisons",
        format="summarize_pair",
        licence=_NONE_STATED,
        citation=_SUMMARIES,
        columns=("info", "summaries", "choice"),
        rows={"train": None, "validation": None},
        revision=_PARQUET,
        note=f"About 92,900 and 86,100 rows. extra.confidence is not read: its scale is not published. {_SCRIPT}",
    ),
    Source(
        name="summarize_from_feedback_axis",
        hub="openai/summarize_from_feedback",
        subset="axis",
        format="summarize_axes",
        licence=_NONE_STATED,
        citation=_SUMMARIES,
        columns=("info", "summary"),
        rows={"validation": None, "test": None},
        revision=_PARQUET,
        note=f"No numbers of rows are published. {_SCRIPT}",
    ),
    Source(
        name="ultrainteract",
        hub="openbmb/UltraInteract_pair",
        format="ultrainteract",
        licence="MIT",
        citation="Yuan et al. (2024), Advancing LLM Reasoning Generalists with Preference Trees, arXiv:2404.02078",
        columns=("trajectory", "chosen", "rejected"),
        rows={"train": 219_522},
    ),
    Source(
        name="webgpt_comparisons",
        hub="openai/webgpt_comparisons",
        format="webgpt",
        licence=_NONE_STATED,
        citation="Nakano et al. (2021), WebGPT, arXiv:2112.09332",
        columns=("question", "answer_0", "answer_1", "score_0", "score_1"),
        rows={"train": 19_578},
        revision=_PARQUET,
        note=f"Quotes and tokens are not read. {_SCRIPT}",
    ),
)
