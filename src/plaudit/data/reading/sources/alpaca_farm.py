"""An instruction, two outputs and the number of the better one: OffsetBias's rows, and AlpacaFarm's with an input.

Source: Park et al. (2024), OffsetBias; Dubois et al. (2023), AlpacaFarm.
"""

from __future__ import annotations

from plaudit.data.reading.sources.declared import Choice, PairFormat
from plaudit.data.reading.sources.fields import Row, UnusableRowError, required_text, text
from plaudit.data.reading.sources.source import PARQUET_COPY, SCRIPT_NOTE, Source
from plaudit.data.schema.group import Message

WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n### Response:"
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
"""AlpacaFarm's prompts ``v0_inputs_noinputs``, which its reward models and policies were trained with."""

_CITATION = "Dubois et al. (2023), AlpacaFarm, arXiv:2305.14387"


def _prompt(row: Row) -> tuple[Message, ...]:
    """Return one user turn in AlpacaFarm's template, with or without the input."""
    instruction = required_text(row, "instruction")
    if not instruction.strip():
        raise UnusableRowError("empty turn in the prompt")
    given = row.get("input")
    context = "" if given is None else text(given, "input")
    if not context:
        return (Message("user", WITHOUT_INPUT.format(instruction=instruction)),)
    return (Message("user", WITH_INPUT.format(instruction=instruction, input=context)),)


FORMATS = (
    PairFormat(
        name="offsetbias",
        prompt="instruction",
        responses=("output_1", "output_2"),
        better=Choice("label", (1, 2)),
        sources=(
            Source(
                name="offsetbias",
                hub="NCSOFT/offsetbias",
                licence="BSD-3-Clause",
                citation="Park et al. (2024), OffsetBias, arXiv:2407.06551",
                rows={"train": 8_504},
                note="Counter-examples to the biases of judges: meant to be added to other data.",
            ),
        ),
    ),
    PairFormat(
        name="alpaca_farm",
        keys=("instruction", "output_1", "output_2", "preference"),
        optional=("input",),
        prompt=_prompt,
        responses=("output_1", "output_2"),
        better=Choice("preference", (1, 2)),
        sources=(
            Source(
                name="alpaca_farm_human",
                hub="tatsu-lab/alpaca_farm",
                subset="alpaca_human_preference",
                licence="CC BY-NC 4.0",
                citation=_CITATION,
                rows={"preference": None},
                revision=PARQUET_COPY,
                note=f"About 9,690 rows. raw_preference is not read: its scale is not published. {SCRIPT_NOTE}",
            ),
            Source(
                name="alpaca_farm_gpt4",
                hub="tatsu-lab/alpaca_farm",
                subset="alpaca_gpt4_preference",
                licence="CC BY-NC 4.0",
                citation=_CITATION,
                rows={"preference": None},
                revision=PARQUET_COPY,
                note=f"About 19,500 rows. {SCRIPT_NOTE}",
            ),
        ),
    ),
)
