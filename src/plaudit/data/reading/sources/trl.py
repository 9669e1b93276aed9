"""Preference data as ``{chosen, rejected}``: TRL's layouts, text or messages, and the transcripts of hh-rlhf."""

from __future__ import annotations

import re

from plaudit.data.reading.sources import fields
from plaudit.data.reading.sources.declared import PairFormat
from plaudit.data.reading.sources.fields import Row, UnusableRowError
from plaudit.data.reading.sources.source import NO_LICENCE_OF_ITS_OWN, Source
from plaudit.data.schema.group import Message
from plaudit.errors import DataError

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_transcript(value: object) -> bool:
    """Return whether ``value`` is text that opens with a Human or Assistant turn."""
    return isinstance(value, str) and value.lstrip().startswith(("Human:", "Assistant:"))


def transcript(value: str, name: str) -> tuple[Message, ...]:
    """Return the turns of a transcript, stripped; a blank line and ``Human:`` or ``Assistant:`` opens one.

    Consecutive turns of one role stay apart. A name inside a paragraph opens no turn.
    """
    if not is_transcript(value):
        raise DataError(f"{name} is {fields.found(value)}; a transcript must open with 'Human:' or 'Assistant:'")
    parts = _TURN.split("\n\n" + value.lstrip())
    return tuple(
        Message(_ROLES[speaker], content.strip()) for speaker, content in zip(parts[1::2], parts[2::2], strict=True)
    )


def split_transcripts(chosen: str, rejected: str) -> tuple[tuple[Message, ...], str, str]:
    """Return the common prompt and the two last assistant turns.

    Raises:
        UnusableRowError: where the two dialogues are the same, differ before the last turn, do not end in a
            turn of the assistant, or hold an empty turn. Nothing is repaired by guessing.
    """
    if chosen == rejected:
        raise UnusableRowError("chosen equals rejected")
    prompt, *responses = _last_turns(transcript(chosen, "chosen"), transcript(rejected, "rejected"))
    return fields.answerable(prompt), *fields.compared(*responses)


def _sides(row: Row) -> tuple[tuple[Message, ...], str, str]:
    return split_transcripts(fields.required_text(row, "chosen"), fields.required_text(row, "rejected"))


def _shows_transcripts(row: Row) -> bool:
    return row.get("prompt") is None and is_transcript(row.get("chosen")) and is_transcript(row.get("rejected"))


Pair = tuple[tuple[Message, ...], str, str]

_HH = "Bai et al. (2022), Training a Helpful and Harmless Assistant with RLHF, arXiv:2204.05862"
TULU_3 = "Lambert et al. (2024), Tulu 3, arXiv:2411.15124"
TULU_LICENCE = "ODC-BY 1.0; parts have licences of their own, some non-commercial"
_SKYWORK = "Liu et al. (2024), Skywork-Reward: Bag of Tricks for Reward Modeling in LLMs, arXiv:2410.18451"


def _hh(folder: str, train: int, test: int) -> Source:
    """Return one folder of hh-rlhf."""
    return Source(
        name=f"hh_rlhf_{folder.replace('-', '_')}",
        hub="Anthropic/hh-rlhf",
        data_dir=folder,
        licence="MIT",
        citation=_HH,
        rows={"train": train, "test": test},
    )


def sides(row: Row) -> Pair:
    """Return the prompt, the chosen and the rejected response of a row.

    With a ``prompt``, the sides are the responses, or messages that continue it (or repeat it first, as some
    public sets do). Without, the prompt is the common start of the two message lists, or the dialogue of two
    transcripts.

    Raises:
        DataError: naming the field.
        UnusableRowError: where the sides are equal or the dialogues differ before the last turn.
    """
    chosen, rejected = fields.required(row, "chosen"), fields.required(row, "rejected")
    has_prompt = row.get("prompt") is not None
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _texts(row, chosen, rejected, has_prompt)
    if not fields.is_list(chosen) or not fields.is_list(rejected):
        raise DataError(
            f"chosen is {_kind(chosen)} and rejected is {_kind(rejected)}; both must be strings or lists of messages"
        )
    given = fields.messages(chosen, "chosen"), fields.messages(rejected, "rejected")
    return _last_turns(*(_continued(row, *given) if has_prompt else given))


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "a string"
    return "a list" if fields.is_list(value) else fields.found(value)


def _texts(row: Row, chosen: str, rejected: str, has_prompt: bool) -> Pair:
    if has_prompt:
        conversation = fields.prompt(row)
        if chosen == rejected:
            raise UnusableRowError("chosen equals rejected")
        return conversation, chosen, rejected
    if not is_transcript(chosen) or not is_transcript(rejected):
        raise DataError(
            "prompt is missing, and chosen and rejected are plain text: where the prompt ends cannot be "
            "known; give a prompt, message lists, or transcripts that open with 'Human:'"
        )
    return split_transcripts(chosen, rejected)


def _continued(
    row: Row, chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return the two full conversations of a row that has a ``prompt`` and message lists."""
    conversation = fields.prompt(row)
    repeated = [side[0].role != "assistant" for side in (chosen, rejected) if side]
    if len(repeated) < 2 or not any(repeated):
        return conversation + chosen, conversation + rejected
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if isinstance(row["prompt"], str):
            repeats = any(turn == conversation[0] for turn in side)
        else:
            repeats = side[: len(conversation)] == conversation
        if not repeats:
            raise DataError(f"{name} opens with a {side[0].role} turn, but does not repeat the prompt")
    return chosen, rejected


def _last_turns(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> Pair:
    """Return the common leading messages and the two last assistant turns."""
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if not side:
            raise DataError(f"{name} is an empty list; it must end in an assistant message")
    if chosen == rejected:
        raise UnusableRowError("chosen equals rejected")
    if chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
        raise UnusableRowError("last turn is not the assistant's")
    if chosen[:-1] != rejected[:-1]:
        raise UnusableRowError("dialogues differ before the last turn")
    return chosen[:-1], chosen[-1].content, rejected[-1].content


FORMATS = (
    PairFormat(
        name="hh",
        optional=("chosen", "rejected"),
        shown=_shows_transcripts,
        sides=_sides,
        margin="margin",
        sources=(
            Source(
                name="hh_rlhf",
                hub="Anthropic/hh-rlhf",
                licence="MIT",
                citation=_HH,
                rows={"train": 160_800, "test": 8_552},
                note="All four folders together; the transcripts of red-team-attempts are no preferences.",
            ),
            _hh("helpful-base", 43_835, 2_354),
            _hh("helpful-rejection-sampled", 52_421, 2_749),
            _hh("helpful-online", 22_007, 1_137),
            _hh("harmless-base", 42_537, 2_312),
        ),
    ),
    PairFormat(
        name="trl",
        optional=("prompt", "chosen", "rejected"),
        shown=lambda row: row.get("chosen") is not None and row.get("rejected") is not None,
        sides=sides,
        margin="margin",
        sources=(
            Source(
                name="skywork_v0_1",
                hub="Skywork/Skywork-Reward-Preference-80K-v0.1",
                licence=NO_LICENCE_OF_ITS_OWN,
                citation=_SKYWORK,
                rows={"train": 81_973},
                note="4,957 pairs overlap with RewardBench; v0.2 is without them.",
            ),
            Source(
                name="skywork_v0_2",
                hub="Skywork/Skywork-Reward-Preference-80K-v0.2",
                licence=NO_LICENCE_OF_ITS_OWN,
                citation=_SKYWORK,
                rows={"train": 77_016},
            ),
            Source(
                name="tulu3_8b",
                hub="allenai/llama-3.1-tulu-3-8b-preference-mixture",
                licence=TULU_LICENCE,
                citation=TULU_3,
                note="The card gives 271,409 rows in its header and 272,898 in its text.",
            ),
            Source(
                name="tulu3_70b",
                hub="allenai/llama-3.1-tulu-3-70b-preference-mixture",
                licence=TULU_LICENCE,
                citation=TULU_3,
                rows={"train": 334_367},
                note="An older state of the card says 337,186 pairs.",
            ),
            Source(
                name="tulu2_5",
                hub="allenai/tulu-2.5-preference-data",
                licence=TULU_LICENCE,
                citation="Ivison et al. (2024), Unpacking DPO and PPO, arXiv:2406.09279",
                rows={},
                note="One split for each of its sets, such as hh_rlhf or alpaca_farm_human_pref; all have one layout.",
            ),
        ),
    ),
)
