"""RLHFlow's rows of a pairwise preference model: both responses in one prompt, the better one's letter after it."""

from __future__ import annotations

import re

from plaudit.data.reading.sources.fields import Row, UnusableRowError, found, identity, is_list, messages, one_of
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

MESSAGE_FIELDS = ("messages", "conversations")
FIELDS = frozenset({*MESSAGE_FIELDS, "id", "source"})

TAGS = ("[CONTEXT]", "[RESPONSE A]", "[RESPONSE B]")
ANSWERS = ("A", "B", "Same")

_TURN = re.compile(r"(?:\A|\n)[ \t]*<turn> (user|assistant)\n")


def is_pair(value: object) -> bool:
    """Return whether ``value`` is a chat that opens with the tag of a context."""
    if not is_list(value) or not value or not isinstance(value[0], dict):
        return False
    content = value[0].get("content")
    return isinstance(content, str) and content.lstrip().startswith(TAGS[0])


def group_from_row(row: Row) -> Group:
    """Return the group of one comparison: responses (chosen, rejected) and one preference, wherever they stood.

    The user turn is ``[CONTEXT] … [RESPONSE A] … [RESPONSE B] …``; the assistant answers ``A``, ``B``, or ``Same``,
    a tie (probability ½, responses in the order A, B). A context with ``<turn> user`` and ``<turn> assistant`` lines
    is a conversation, any other one user turn. White space around each text belongs to the format.

    Raises:
        DataError: naming the turn; also where a tag is missing.
        UnusableRowError: where the text holds a tag more than once, the turns of the context do not alternate, or
            the responses are empty or equal.
    """
    name, given = one_of(row, MESSAGE_FIELDS)
    turns = messages(given, name)
    if [turn.role for turn in turns] != ["user", "assistant"]:
        raise DataError(f"{name} has {len(turns)} turns; it must hold one user turn and one assistant turn")
    answer = turns[1].content.strip()
    if answer not in ANSWERS:
        raise DataError(f"{name}[1].content is {found(turns[1].content)}; allowed: {', '.join(ANSWERS)}")
    context, first, second = _parts(turns[0].content, f"{name}[0].content")
    if not first or not second:
        raise UnusableRowError("empty response")
    if first == second:
        raise UnusableRowError("chosen equals rejected")
    responses = (second, first) if answer == "B" else (first, second)
    preference = Preference(0, 1, probability=0.5 if answer == "Same" else None)
    identifier, source = identity(row)
    return Group(_conversation(context), responses, (preference,), id=identifier, source=source)


def _parts(content: str, name: str) -> list[str]:
    """Return the three texts that follow the tags, stripped."""
    for tag in TAGS:
        if tag not in content:
            raise DataError(f"{name} is {found(content)}; it must hold {', '.join(TAGS)}")
    if any(content.count(tag) > 1 for tag in TAGS):
        raise UnusableRowError("text holds a tag of the format more than once")
    before, *parts = re.split("|".join(map(re.escape, TAGS)), content)
    if before.strip() or sorted(TAGS, key=content.index) != list(TAGS):
        raise DataError(
            f"{name} is {found(content)}; it must hold {', '.join(TAGS)} in this order, and open with the first"
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
    if not all(turn.content for turn in turns):
        raise UnusableRowError("empty turn in the prompt")
    if turns[-1].role == "assistant":
        raise UnusableRowError("prompt ends in an assistant turn")
    return turns
