"""Comparisons of two summaries, as in OpenAI's summarize_from_feedback."""

from __future__ import annotations

from plaudit.data.reading.sources.fields import (
    Row,
    UnusableRowError,
    compared,
    identity,
    items,
    mapping,
    one_of,
    place,
    required,
    same_length,
    text,
)
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

FIELDS = frozenset({"info", "summaries", "choice", "id", "source"})

PLACES = (0, 1)

POST = "SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"
ARTICLE = "Article:\n{article}\n\nTL;DR:"
"""The queries that the paper's models were trained with, for Reddit posts and for news."""


def is_comparison(row: Row) -> bool:
    """Return whether ``row`` has a text, two summaries and a choice in their places."""
    return isinstance(row.get("info"), dict) and row.keys() >= {"summaries", "choice"}


def group_from_row(row: Row) -> Group:
    """Return the group of ``{info, summaries, choice}``: responses (0, 1) and one preference.

    ``choice`` is the place of the better summary. Blanks around a summary are left out: each opens with one. The id
    of the post or article is not that of the row, because its summaries are compared many times; the worker's
    confidence is not read, because its scale is not published. Source: Stiennon et al. (2020).

    Raises:
        DataError: naming the field.
        UnusableRowError: where there is nothing to summarise, or a summary is blank or equals the other.
    """
    conversation = query(row)
    summaries = items(required(row, "summaries"), "summaries")
    same_length(summaries, 2, "summaries", "sides of a comparison")
    responses = compared(*(_summary(each, f"summaries[{index}]") for index, each in enumerate(summaries)))
    better = place(required(row, "choice"), "choice", PLACES)
    identifier, source = identity(row)
    return Group(conversation, responses, (Preference(better, 1 - better),), id=identifier, source=source)


def _summary(value: object, name: str) -> str:
    return text(required(mapping(value, name), "text", f"{name}."), f"{name}.text").strip()


def query(row: Row) -> tuple[Message, ...]:
    """Return the text to summarise as one user turn, in the words of the paper: ``info`` is a post or an article."""
    info = mapping(required(row, "info"), "info")
    try:
        kind, given = one_of(info, ("post", "article"))
    except DataError as error:
        raise DataError(f"info.{error}") from None
    content = text(given, f"info.{kind}")
    if not content.strip():
        raise UnusableRowError("there is no text to summarise")
    if kind == "article":
        return (Message("user", ARTICLE.format(article=content)),)
    subreddit, title = (text(required(info, name, "info."), f"info.{name}") for name in ("subreddit", "title"))
    return (Message("user", POST.format(subreddit=subreddit, title=title, post=content)),)
