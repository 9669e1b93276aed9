"""RLHFlow's chats of a process or outcome model: the user says a step, the assistant answers + or -."""

from __future__ import annotations

import re

from plaudit.data.reading.sources.fields import Row, UnusableRowError, found, identity, is_list, messages, one_of
from plaudit.data.reading.sources.math_shepherd import TAG, split_problem
from plaudit.data.schema.group import Group, Message, Step
from plaudit.data.schema.steps import join_steps
from plaudit.errors import DataError

MESSAGE_FIELDS = ("conversations", "messages")
FIELDS = frozenset({*MESSAGE_FIELDS, "id", "source"})

VERDICTS = {"+": 1.0, "-": 0.0}

_LATER_STEP = re.compile(r"(?<!\w)Step 2\s*:")


def is_verdicts(value: object) -> bool:
    """Return whether ``value`` is a chat in which every assistant turn is + or -."""
    if not is_list(value) or len(value) < 2 or not all(isinstance(turn, dict) for turn in value):
        return False
    return all(turn.get("content") in tuple(VERDICTS) for turn in value[1::2] if isinstance(turn, dict))


def group_from_row(row: Row, separator: str = "\n") -> Group:
    """Return the group of one judged solution.

    Several exchanges are a process row: the first user turn holds the problem and step 1, each later one a step, and
    the steps are joined by ``separator`` with labels 1 (+) and 0 (-). A single exchange is an outcome row: the verdict
    is the outcome of the whole response; where no ``Step 2:`` stands in it, the response is one step and the verdict
    is also the label of that step. Step tags (``ки``) are removed.

    Problem and solution are one text in these rows. They are split before ``Step 1:``, the mark of the data made by
    Mistral; rows without it (those of DeepSeek) cannot be split without guessing, and are unusable.

    Raises:
        DataError: naming the turn.
        UnusableRowError: where problem and first step cannot be told apart, or a step is blank.
    """
    name, given = one_of(row, MESSAGE_FIELDS)
    turns = messages(given, name)
    labels = _labels(turns, name)
    problem, first = split_problem(TAG.sub("", turns[0].content))
    texts = [first, *(TAG.sub("", turn.content) for turn in turns[2::2])]
    if not all(content.strip() for content in texts):
        raise UnusableRowError("a labelled step holds no text")
    response, steps = join_steps(list(zip(texts, labels, strict=True)), separator)
    outcomes = None
    labelled: tuple[tuple[Step, ...], ...] | None = (steps,)
    if len(labels) == 1:
        outcomes = (labels[0] == 1.0,)
        labelled = None if _LATER_STEP.search(response) else labelled
    identifier, source = identity(row)
    return Group(
        (Message("user", problem),), (response,), outcomes=outcomes, steps=labelled, id=identifier, source=source
    )


def _labels(turns: tuple[Message, ...], name: str) -> list[float]:
    """Return the verdicts of a chat that must alternate between user and assistant."""
    if not turns or len(turns) % 2:
        raise DataError(f"{name} has {len(turns)} turns; it must hold pairs of a user turn and a verdict")
    for index, turn in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if turn.role != expected:
            raise DataError(f"{name}[{index}].role is {found(turn.role)}; it must be {expected}")
    labels: list[float] = []
    for index, turn in enumerate(turns[1::2]):
        verdict = VERDICTS.get(turn.content.strip())
        if verdict is None:
            raise DataError(f"{name}[{2 * index + 1}].content is {found(turn.content)}; allowed: + or -")
        labels.append(verdict)
    return labels
