"""AlpacaFarm's preference rows: an instruction with an optional input, two outputs and the number of the better one."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import Row, UnusableRowError, compared, identity, place, required, text
from plaudit.data.schema.group import Group, Message, Preference

OUTPUTS = ("output_1", "output_2")
NUMBERS = (1, 2)
FIELDS = frozenset({"instruction", "input", *OUTPUTS, "preference", "id", "source"})

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


def is_pair(row: Row) -> bool:
    """Return whether ``row`` has an instruction, two outputs and a preference."""
    return row.keys() >= {"instruction", *OUTPUTS, "preference"}


def group_from_row(row: Row) -> Group:
    """Return the group of one pair: responses (1, 2) and one preference.

    The prompt is one user turn in AlpacaFarm's template, with or without the input. ``preference`` is 1 or 2, the
    number of the better output. Source: Dubois et al. (2023), AlpacaFarm.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the instruction or an output is blank, or the outputs are the same.
    """
    prompt = (Message("user", _prompt(row)),)
    responses = compared(*(text(required(row, name), name) for name in OUTPUTS))
    better = place(required(row, "preference"), "preference", NUMBERS)
    identifier, source = identity(row)
    return Group(prompt, responses, (Preference(better, 1 - better),), id=identifier, source=source)


def _prompt(row: Row) -> str:
    instruction = text(required(row, "instruction"), "instruction")
    if not instruction.strip():
        raise UnusableRowError("empty turn in the prompt")
    given = row.get("input")
    context = "" if given is None else text(given, "input")
    if not context:
        return WITHOUT_INPUT.format(instruction=instruction)
    return WITH_INPUT.format(instruction=instruction, input=context)
