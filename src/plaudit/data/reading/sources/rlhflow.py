"""RLHFlow's chats: of a pairwise preference model, and of a process or outcome model.

In the first both responses stand in one prompt and the better one's letter after it; in the second the user says a step
and the assistant answers + or -.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.math_shepherd import TAG, split_problem
from plaudit.data.reading.sources.source import CodeFormat, RowOptions
from plaudit.data.schema.group import TWO_CLASSES, Group, Message, Preference, Step
from plaudit.data.schema.steps import join_steps
from plaudit.errors import DataError

TAGS = ("[CONTEXT]", "[RESPONSE A]", "[RESPONSE B]")
ANSWERS = ("A", "B", "Same")
VERDICTS = {"+": 1.0, "-": 0.0}

_TURN = re.compile(r"(?:\A|\n)[ \t]*<turn> (user|assistant)\n")
_LATER_STEP = re.compile(r"(?<!\w)Step 2\s*:")


def read_pair(row: Row, options: RowOptions) -> Group:
    """Return the group of one comparison: responses (chosen, rejected) and one preference, wherever they stood.

    The user turn is ``[CONTEXT] … [RESPONSE A] … [RESPONSE B] …``; the assistant answers ``A``, ``B``, or ``Same``,
    a tie (probability ½, responses in the order A, B). A context with ``<turn> user`` and ``<turn> assistant`` lines
    is a conversation, any other one user turn. White space around each text belongs to the format.

    Raises:
        DataError: naming the turn; also where a tag is missing.
        UnusableRowError: where the text holds a tag more than once, the turns of the context do not alternate, or
            the responses are empty or equal.
    """
    name, given = fields.one_of(row, ("messages", "conversations"))
    turns = fields.messages(given, name)
    if [turn.role for turn in turns] != ["user", "assistant"]:
        raise DataError(f"{name} has {len(turns)} turns; it must hold one user turn and one assistant turn")
    answer = turns[1].content.strip()
    if answer not in ANSWERS:
        raise DataError(f"{name}[1].content is {fields.found(turns[1].content)}; allowed: {', '.join(ANSWERS)}")
    context, first, second = _parts(turns[0].content, f"{name}[0].content")
    first, second = fields.compared(first, second)
    responses = (second, first) if answer == "B" else (first, second)
    preference = Preference(0, 1, probability=0.5 if answer == "Same" else None)
    return fields.group(row, _conversation(context), responses, (preference,))


def _parts(content: str, name: str) -> list[str]:
    """Return the three texts that follow the tags, stripped."""
    for tag in TAGS:
        if tag not in content:
            raise DataError(f"{name} is {fields.found(content)}; it must hold {', '.join(TAGS)}")
    if any(content.count(tag) > 1 for tag in TAGS):
        raise UnusableRowError("text holds a tag of the format more than once")
    before, *parts = re.split("|".join(map(re.escape, TAGS)), content)
    if before.strip() or sorted(TAGS, key=content.index) != list(TAGS):
        raise DataError(
            f"{name} is {fields.found(content)}; it must hold {', '.join(TAGS)} in this order, and open with the first"
        )
    return [part.strip() for part in parts]


def _conversation(context: str) -> tuple[Message, ...]:
    before, *rest = _TURN.split(context)
    if not rest:
        return (Message("user", before),)
    roles = rest[::2]
    if before.strip() or roles != [("user", "assistant")[index % 2] for index in range(len(roles))]:
        raise UnusableRowError("turns of the context do not alternate")
    turns = tuple(Message(role, content.strip()) for role, content in zip(roles, rest[1::2], strict=True))
    return fields.answerable(turns)


def read_process(row: Row, options: RowOptions) -> Group:
    """Return the group of one judged solution.

    Several exchanges are a process row: the first user turn holds the problem and step 1, each later one a step, and
    the steps are joined by the ``step_separator`` of the options with labels 1 (+) and 0 (-). A single exchange is an
    outcome row: the verdict is the outcome of the whole response; where no ``Step 2:`` stands in it, the response is
    one step and the verdict is also the label of that step. Step tags (``ки``) are removed.

    Problem and solution are one text in these rows. They are split before ``Step 1:``, the mark of the data made by
    Mistral; rows without it (those of DeepSeek) cannot be split without guessing, and are unusable.

    Raises:
        DataError: naming the turn.
        UnusableRowError: where problem and first step cannot be told apart, or a step is blank.
    """
    name, given = fields.one_of(row, ("conversations", "messages"))
    turns = fields.messages(given, name)
    labels = _labels(turns, name)
    problem, first = split_problem(TAG.sub("", turns[0].content))
    texts = [first, *(TAG.sub("", turn.content) for turn in turns[2::2])]
    if not all(content.strip() for content in texts):
        raise UnusableRowError("a labelled step holds no text")
    response, steps = join_steps(list(zip(texts, labels, strict=True)), options.step_separator)
    outcomes = None
    labelled: tuple[tuple[Step, ...], ...] | None = (steps,)
    if len(labels) == 1:
        outcomes = (labels[0] == 1.0,)
        labelled = None if _LATER_STEP.search(response) else labelled
    classes = None if labelled is None else TWO_CLASSES
    given = {"outcomes": outcomes, "steps": labelled, "step_classes": classes}
    return fields.group(row, (Message("user", problem),), (response,), **given)


def _labels(turns: tuple[Message, ...], name: str) -> list[float]:
    """Return the verdicts of a chat that must alternate between user and assistant."""
    if not turns or len(turns) % 2:
        raise DataError(f"{name} has {len(turns)} turns; it must hold pairs of a user turn and a verdict")
    for index, turn in enumerate(turns):
        expected = ("user", "assistant")[index % 2]
        if turn.role != expected:
            raise DataError(f"{name}[{index}].role is {fields.found(turn.role)}; it must be {expected}")
    labels: list[float] = []
    for index, turn in enumerate(turns[1::2]):
        verdict = VERDICTS.get(turn.content.strip())
        if verdict is None:
            raise DataError(f"{name}[{2 * index + 1}].content is {fields.found(turn.content)}; allowed: + or -")
        labels.append(verdict)
    return labels


def _chat(row: Row) -> Sequence[object]:
    """Return the turns of a row, or nothing where it has none."""
    given = row.get("messages") if row.get("conversations") is None else row.get("conversations")
    return given if fields.is_list(given) else ()


def _shows_context(row: Row) -> bool:
    """Return whether ``row`` is a chat that opens with the tag of a context."""
    first = next(iter(_chat(row)), None)
    content = first.get("content") if isinstance(first, dict) else None
    return isinstance(content, str) and content.lstrip().startswith(TAGS[0])


def _shows_verdicts(row: Row) -> bool:
    """Return whether ``row`` is a chat in which every assistant turn is + or -."""
    turns = _chat(row)
    if len(turns) < 2 or not all(isinstance(turn, dict) for turn in turns):
        return False
    return all(turn.get("content") in tuple(VERDICTS) for turn in turns[1::2] if isinstance(turn, dict))


FORMATS = (
    CodeFormat(
        name="rlhflow_pair",
        optional=("messages", "conversations"),
        shown=_shows_context,
        reader=read_pair,
    ),
    CodeFormat(
        name="rlhflow_process",
        optional=("messages", "conversations"),
        shown=_shows_verdicts,
        reader=read_process,
    ),
)
