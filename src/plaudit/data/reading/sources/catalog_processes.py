"""The public sets of labelled reasoning steps, and of solutions judged as a whole in the same layout."""

from __future__ import annotations

from plaudit.data.reading.sources.source import Source

_RLHFLOW = "Xiong et al. (2024), An Implementation of Generative PRM, github.com/RLHFlow/RLHF-Reward-Modeling"
_DEEPSEEK = "Rows without 'Step 1:' between problem and solution cannot be split, and are left out."

PROCESSES: tuple[Source, ...] = (
    Source(
        name="prm800k",
        hub="tasksource/PRM800K",
        format="prm800k",
        licence="MIT",
        citation="Lightman et al. (2023), Let's Verify Step by Step, arXiv:2305.20050",
        columns=("question", "label"),
        rows={"phase1_train": None, "phase1_test": None, "phase2_train": None, "phase2_test": None},
        note="A copy of the files of github.com/openai/prm800k: each split here is the file NAME.jsonl.",
    ),
    Source(
        name="math_shepherd",
        hub="peiyi9979/Math-Shepherd",
        format="math_shepherd",
        licence="none stated",
        citation="Wang et al. (2024), Math-Shepherd, arXiv:2312.08935",
        columns=("input", "label"),
        rows={"train": None},
        note="About 445,000 rows.",
    ),
    Source(
        name="rlhflow_prm_mistral",
        hub="RLHFlow/Mistral-PRM-Data",
        format="rlhflow_process",
        licence="none stated",
        citation=_RLHFLOW,
        columns=("conversations",),
        rows={"train": None},
        note="About 273,000 solutions by Mistral-7B.",
    ),
    Source(
        name="rlhflow_prm_deepseek",
        hub="RLHFlow/Deepseek-PRM-Data",
        format="rlhflow_process",
        licence="none stated",
        citation=_RLHFLOW,
        columns=("conversations",),
        rows={"train": None},
        note=f"About 253,000 solutions by deepseek-math-7b-instruct. {_DEEPSEEK}",
    ),
    Source(
        name="rlhflow_orm_mistral",
        hub="RLHFlow/Mistral-ORM-Data",
        format="rlhflow_process",
        licence="none stated",
        citation=_RLHFLOW,
        columns=("conversations",),
        rows={"train": 273_226},
        note="The solutions of rlhflow_prm_mistral with one verdict each.",
    ),
    Source(
        name="rlhflow_orm_deepseek",
        hub="RLHFlow/Deepseek-ORM-Data",
        format="rlhflow_process",
        licence="none stated",
        citation=_RLHFLOW,
        columns=("conversations",),
        rows={"train": 252_950},
        note=f"The solutions of rlhflow_prm_deepseek with one verdict each. {_DEEPSEEK}",
    ),
)
