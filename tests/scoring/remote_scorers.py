"""Groups for a reward server, and scorers that ask it."""

from __future__ import annotations

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.http import Endpoint
from plaudit.scoring.remote import RemoteScorer, Template


def group(*responses, prompt="hi", id="0"):
    pairs = (Preference(0, 1),) if len(responses) > 1 else ()
    return Group(conversation(prompt), responses, pairs, id=id)


def quick(url, shape, *, retries=2, timeout=60.0, **options):
    """A scorer that waits next to nothing between its tries."""
    return RemoteScorer(Endpoint(url, timeout, retries, backoff_seconds=0.001), shape, **options)


def plain():
    return Template("plain", "", special_tokens=True, tokenizer=None)


def rewards_of_length(body):
    """The answer of an OpenRLHF server whose model likes long texts."""
    numbers = [float(len(text)) for text in body["query"]]
    return 200, {"rewards": numbers, "scores": numbers, "extra_logs": {"dummy_scores": numbers}}
