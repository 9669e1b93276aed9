"""Rows of the files and hub data sets that recipes name: the same columns and formats, made-up texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from plaudit.data.reading.options import DataFile
from plaudit.data.reading.write import write_groups
from plaudit.objectives.config import ObjectiveConfig

COUNT = 16

Row = dict[str, Any]


def write_rows(path: Path, data: DataFile, objective: ObjectiveConfig, groups: Any) -> None:
    """Write rows like those of ``data``; ``groups`` stand in for plaudit's own files."""
    is_public = {"hh_rlhf", "ultrafeedback"} & set(data.path.split("/"))
    if data.format == "groups" or (data.format == "auto" and not is_public):
        write_groups(path, groups)
    else:
        rows = _maker(data, objective)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _maker(data: DataFile, objective: ObjectiveConfig) -> Iterator[Row]:
    makers: dict[str, Callable[[], Iterator[Row]]] = {
        "ultrafeedback": ultrafeedback,
        "hendrydong/preference_700K": preference_700k,
        "allenai/llama-3.1-tulu-3-8b-preference-mixture": tulu_mixture,
        "RLHFlow/pair-preference-dataset-mix1": pair_preferences,
        "RLHFlow/Mistral-PRM-Data": process_chats,
        "RLHFlow/Mistral-ORM-Data": outcome_chats,
    }
    if data.path in makers:
        return makers[data.path]()
    match data.format:
        case "responses":
            attributes = objective.attributes if objective.type == "regression" else ()
            return rated(attributes, ranks_from=data.ranks_from)
        case "outcome":
            return outcomes()
        case "stepwise":
            return steps()
        case _:
            return transcripts()


def transcripts() -> Iterator[Row]:
    """hh-rlhf."""
    for i in range(COUNT):
        opening = f"\n\nHuman: question {i}\n\nAssistant: "
        yield {"chosen": f"{opening}good answer {i}", "rejected": f"{opening}bad answer"}


def chats(i: int) -> tuple[list[Row], list[Row]]:
    """Two conversations of row i that differ in the last turn."""
    prompt = [{"role": "user", "content": f"question {i}"}]
    if i % 3 == 0:
        prompt += [{"role": "assistant", "content": "which?"}, {"role": "user", "content": f"the {i}th"}]
    sides = (f"good answer {i}", "bad answer")
    chosen, rejected = ([*prompt, {"role": "assistant", "content": side}] for side in sides)
    return chosen, rejected


def preference_700k() -> Iterator[Row]:
    """hendrydong/preference_700K."""
    for i in range(COUNT):
        chosen, rejected = chats(i)
        yield {"rejected": rejected, "rejected_score": 1.0, "chosen_score": 4.0, "chosen": chosen}


def tulu_mixture() -> Iterator[Row]:
    """allenai/llama-3.1-tulu-3-8b-preference-mixture."""
    for i in range(COUNT):
        chosen, rejected = chats(i)
        first = chosen[0]["content"]
        yield {"id": f"t{i}", "prompt": first, "chosen": chosen, "rejected": rejected, "source": f"part {i % 2}"}


def pair_preferences() -> Iterator[Row]:
    """RLHFlow/pair-preference-dataset-mix1."""
    for i in range(COUNT):
        first, second = (f"good answer {i}", "bad answer") if i % 2 else ("bad answer", f"good answer {i}")
        text = f"[CONTEXT] \n\n<turn> user\n question {i}\n [RESPONSE A] {first} [RESPONSE B] {second} \n"
        answer = "A" if i % 2 else "B"
        yield {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]}


def process_chats() -> Iterator[Row]:
    """RLHFlow/Mistral-PRM-Data."""
    for i in range(COUNT):
        turns: list[Row] = []
        for k in range(1, 4):
            step = f"Step {k}: {k} plus {i} is {k + i}."
            turns.append({"role": "user", "content": f"question {i} {step}" if k == 1 else step})
            turns.append({"role": "assistant", "content": "-" if k == 3 and i % 2 else "+"})
        yield {"conversations": turns}


def outcome_chats() -> Iterator[Row]:
    """RLHFlow/Mistral-ORM-Data."""
    for i in range(COUNT):
        solution = f"question {i} Step 1: 1 plus {i} is {1 + i}. ки\nStep 2: the answer is {i}. ки"
        verdict = {"role": "assistant", "content": "-" if i % 2 else "+"}
        yield {"conversations": [{"role": "user", "content": solution}, verdict]}


def rated(attributes: tuple[str, ...], *, ranks_from: str | None) -> Iterator[Row]:
    """K = 3 responses with ratings of ``attributes``, one of them missing, and ranks."""
    for i in range(COUNT):
        responses = [f"good answer {i}", "an answer", "bad"]
        ratings = {name: [5, None if k == 0 else 3, 1] for k, name in enumerate(attributes)}
        if ranks_from is not None:
            yield {"prompt": f"question {i}", "responses": responses, "ratings": ratings | {ranks_from: [3, 2, 2]}}
        else:
            yield {"prompt": f"question {i}", "responses": responses, "ratings": ratings, "ranks": [1, 2, 3]}


def outcomes() -> Iterator[Row]:
    """One response with its outcome in each row."""
    for i in range(COUNT):
        yield {"prompt": f"question {i}", "response": f"the answer is {i}", "label": i % 2 == 0}


def steps() -> Iterator[Row]:
    """Two steps with labels in each row."""
    for i in range(COUNT):
        yield {"prompt": f"question {i}", "steps": [f"two plus {i}", f"gives {2 + i}"], "labels": [True, i % 2 == 0]}


def ultrafeedback() -> Iterator[Row]:
    """openbmb/UltraFeedback: four completions with a rating of each aspect, some of them N/A."""
    aspects = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    for i in range(COUNT):
        completions = [
            {
                "response": f"answer {k} {i}",
                "annotations": {
                    name: {"Rating": "N/A" if (k, name) == (0, "honesty") else str(1 + (k + i) % 4)} for name in aspects
                },
            }
            for k in range(4)
        ]
        yield {"instruction": f"question {i}", "source": "part", "models": [], "completions": completions}
