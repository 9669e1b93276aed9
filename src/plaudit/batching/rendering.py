"""Chat templates: a conversation as text, with the date fixed and the loops of the template bounded."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from transformers import PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.data.schema.group import Message
from plaudit.errors import DataError

MAX_LOOPS = 1_000_000
"""Rounds that loops over ``range``, nested in one another, may make in one conversation."""

_FIXED_DATE = datetime.datetime(2024, 7, 26)
_DATE_MACRO = "{% macro strftime_now(format) %}"


def render_turns(
    tokenizer: PreTrainedTokenizerBase,
    chat_template: str,
    turns: Sequence[Message],
    *,
    generation_prompt: bool = False,
) -> str:
    """Return the text of a conversation, with the opening of an assistant turn under ``generation_prompt``.

    Raises:
        DataError: when the template refuses the conversation, or loops too often.
    """
    try:
        _check_loops(chat_template)
        rendered = tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in turns],
            chat_template=with_fixed_date(chat_template),
            tokenize=False,
            add_generation_prompt=generation_prompt,
        )
    except Exception as error:
        # A template is foreign code: besides TemplateError it may divide by zero or add a number to a text.
        words = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        raise DataError(f"the chat template refuses this conversation: {' '.join(words.split())}") from None
    assert isinstance(rendered, str)
    return rendered


@functools.lru_cache(maxsize=64)
def _check_loops(chat_template: str) -> None:
    """Refuse a template whose nested loops over ``range`` would not come to an end in reasonable time.

    transformers hands no functions on to a template, so none can count while it runs. Looked at are numbers that the
    template itself writes or sets; loops over turns and texts are as long as these are.

    Raises:
        TemplateError: when they count to more than ``MAX_LOOPS``.
    """
    tree = Environment(extensions=["jinja2.ext.loopcontrols", _Generation]).parse(chat_template)
    known = {
        each.target.name: value
        for each in tree.find_all(nodes.Assign)
        if isinstance(each.target, nodes.Name) and isinstance(value := _number(each.node, {}), int)
    }
    if _rounds(tree, known) > MAX_LOOPS:
        raise TemplateError(f"its loops count to more than {MAX_LOOPS:,}")


class _Generation(Extension):
    """The block ``generation`` of transformers, which marks what the assistant says."""

    tags = {"generation"}  # noqa: RUF012 - as jinja declares it

    @override
    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _rounds(node: nodes.Node, known: Mapping[str, int]) -> int:
    """Return the most rounds that ranges below a node make, those of nested loops multiplied."""
    inner = max((_rounds(child, known) for child in node.iter_child_nodes()), default=1)
    if isinstance(node, nodes.For):
        body = max((_rounds(child, known) for child in node.body), default=1)
        return max(inner, _rounds(node.iter, known) * body)
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "range":
        bounds = [_number(each, known) for each in node.args]
        numbers = [each for each in bounds if each is not None]
        if numbers and len(numbers) == len(bounds):
            return max(1, len(range(*numbers)))
    return inner


def _number(node: nodes.Node, known: Mapping[str, int]) -> int | None:
    """Return the whole number that an expression is, where the template alone decides that."""
    if isinstance(node, nodes.Name):
        return known.get(node.name)
    try:
        value = node.as_const() if isinstance(node, nodes.Expr) else None
    except (nodes.Impossible, OverflowError):
        return None
    return value if isinstance(value, int) else None


def dates_in(chat_template: str) -> Literal["today", "fixed"] | None:
    """Return which date a template prints, if any: that of the day, or a fixed one."""
    if "strftime_now" not in chat_template:
        return None
    return "fixed" if _DATE_MACRO in chat_template else "today"


def prints_date(chat_template: str) -> bool:
    """Return whether a template prints the date of the day."""
    return dates_in(chat_template) == "today"


def with_fixed_date(chat_template: str) -> str:
    """Return the template with a ``strftime_now`` of its own that always tells the same date: 26 July 2024.

    transformers hands no functions on to a saved template, so a macro fills the date in.
    """
    if not prints_date(chat_template):
        return chat_template
    padded = {f"%{code}": _FIXED_DATE.strftime(f"%{code}") for code in "aAbBdHIjmMpSyY"}
    short = {f"%-{code}": str(int(padded[f"%{code}"])) for code in "dHIjmMSy"}
    steps = "".join(f" | replace('{code}', '{text}')" for code, text in (padded | short).items())
    return f"{_DATE_MACRO}{{{{ format{steps} }}}}{{% endmacro %}}\n{chat_template}"
