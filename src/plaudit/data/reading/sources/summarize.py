"""OpenAI's summarize_from_feedback: two compared summaries of a post or an article, or one rated along several axes.

Blanks around a summary are left out: each opens with one. The id of the post or article is not that of the row, because
its summaries are compared many times; the worker's confidence is not read, because its scale is not published. Several
workers may have rated one summary, so that rows are not joined. Source: Stiennon et al. (2020), with appendix C.
"""

from __future__ import annotations

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.declared import Choice, PairFormat, RatedFormat, Ratings
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.schema.group import Message
from plaudit.errors import DataError

AXES = ("overall", "accuracy", "coverage", "coherence")
POST = "SUBREDDIT: r/{subreddit}\n\nTITLE: {title}\n\nPOST: {post}\n\nTL;DR:"
ARTICLE = "Article:\n{article}\n\nTL;DR:"
"""The queries that the paper's models were trained with, for Reddit posts and for news."""


def _query(row: Row) -> tuple[Message, ...]:
    """Return the text to summarise as one user turn, in the words of the paper: ``info`` is a post or an article."""
    info = fields.mapping(fields.required(row, "info"), "info")
    try:
        kind, given = fields.one_of(info, ("post", "article"))
    except DataError as error:
        raise DataError(f"info.{error}") from None
    content = fields.text(given, f"info.{kind}")
    if not content.strip():
        raise UnusableRowError("there is no text to summarise")
    if kind == "article":
        return (Message("user", ARTICLE.format(article=content)),)
    subreddit, title = (fields.required_text(info, name, "info.") for name in ("subreddit", "title"))
    return (Message("user", POST.format(subreddit=subreddit, title=title, post=content)),)


def _summaries(row: Row) -> tuple[str, str]:
    summaries = fields.items(fields.required(row, "summaries"), "summaries")
    fields.same_length(summaries, 2, "summaries", "sides of a comparison")
    first, second = fields.each(summaries, "summaries", _summary)
    return first, second


def _summary(value: object, name: str) -> str:
    return fields.required_text(fields.mapping(value, name), "text", f"{name}.").strip()


def _rated_summary(row: Row) -> str:
    return _summary(fields.required(row, "summary"), "summary")


def _axes(row: Row) -> Ratings:
    """Return the axes, from 1 to 7 as numbers or as digits, and ``compatible``, 1 or 0; null ones are left out."""
    axes = fields.mapping(
        fields.required(fields.mapping(row["summary"], "summary"), "axes", "summary."), "summary.axes"
    )
    values = {name: fields.on_scale(axes.get(name), f"summary.axes.{name}", 1, 7) for name in AXES}
    compatible = fields.outcome(axes.get("compatible"), "summary.axes.compatible")
    values["compatible"] = None if compatible is None else float(compatible)
    ratings: dict[str, tuple[float | None, ...]] = {
        name: (value,) for name, value in values.items() if value is not None
    }
    if not ratings:
        raise UnusableRowError("no rating is given")
    return ratings


def _shows_axes(row: Row) -> bool:
    summary = row.get("summary")
    return isinstance(row.get("info"), dict) and isinstance(summary, dict) and "axes" in summary


FORMATS = (
    PairFormat(
        name="summarize_pair",
        keys=("info", "summaries", "choice"),
        shown=lambda row: isinstance(row.get("info"), dict) and row.keys() >= {"summaries", "choice"},
        prompt=_query,
        responses=_summaries,
        better=Choice("choice", (0, 1)),
    ),
    RatedFormat(
        name="summarize_axes",
        keys=("info", "summary"),
        shown=_shows_axes,
        prompt=_query,
        response=_rated_summary,
        ratings=_axes,
    ),
)
