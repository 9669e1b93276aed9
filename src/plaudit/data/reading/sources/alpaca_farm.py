"""An instruction, two outputs and the number of the better one: OffsetBias's rows, and AlpacaFarm's with an input.

Source: Park et al. (2024), OffsetBias; Dubois et al. (2023), AlpacaFarm.
"""

from __future__ import annotations

from plaudit.data.reading.sources.declared import Choice, PairFormat
from plaudit.data.reading.sources.fields import Row, UnusableRowError, required_text, text
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
    ),
    PairFormat(
        name="alpaca_farm",
        keys=("instruction", "output_1", "output_2", "preference"),
        optional=("input",),
        prompt=_prompt,
        responses=("output_1", "output_2"),
        better=Choice("preference", (1, 2)),
    ),
)
