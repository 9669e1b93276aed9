"""Small sets of official rows of every benchmark in the catalogue, in the official layouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

Rows = Sequence[Mapping[str, Any]]
Files = Mapping[str, Rows]


def write_official_rows(name: str, folder: Path, *, count: int = 12) -> str:
    """Write ``count`` or more official rows of each of several subsets of benchmark ``name``; return the folder."""
    for file, rows in BUILDERS[name](count).items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
    return str(folder)


def _text(number: int, *, seed: int = 0) -> str:
    """Return a text whose length depends on the numbers, and of which no two are equal."""
    return f"text {seed} {number} " + "x" * ((7 * number + 3 * seed) % 11)


def _solution(number: int, *, steps: int = 4) -> list[str]:
    return [f"step {place} of {number} " + "y" * ((number + 5 * place) % 7) for place in range(steps)]


def _big_bench_mistake(count: int) -> Files:
    def row(number: int) -> dict[str, Any]:
        mistake = None if number % 3 == 0 else number % 4
        return {"input": f"task {number // 2}", "steps": _solution(number), "mistake_index": mistake}

    return {f"{task}.jsonl": [row(n) for n in range(count)] for task in ("dyck_languages", "word_sorting")}


def _judgebench(count: int) -> Files:
    sources = ("mmlu-pro-law", "livebench-reasoning", "livebench-math", "livecodebench")
    rows = [
        {
            "pair_id": f"p{number}",
            "source": sources[number % 4],
            "question": f"question {number}",
            "response_A": _text(number),
            "response_B": _text(number, seed=1),
            "label": "A>B" if number % 3 else "B>A",
        }
        for number in range(2 * count)
    ]
    return {"dataset=judgebench,response_model=gpt-4o-2024-05-13.jsonl": rows}


def _llmbar(count: int) -> Files:
    def rows(seed: int) -> Rows:
        return [
            {
                "input": f"instruction {seed} {number}",
                "output_1": _text(number, seed=seed),
                "output_2": _text(number, seed=seed + 5),
                "label": 1 + number % 2,
            }
            for number in range(count)
        ]

    subsets = ("Natural", "Adversarial/Neighbor", "Adversarial/GPTOut")
    return {f"{subset}/dataset.json": rows(seed) for seed, subset in enumerate(subsets)}


def _pairs(subsets: Sequence[str], count: int, *, field: str, seed: int = 0) -> Rows:
    return [
        {
            "id": f"{subset}-{number}",
            field: subset,
            "prompt": f"prompt {seed} {subset} {number // 2}",
            "chosen": _text(number, seed=seed),
            "rejected": _text(number, seed=seed + 3),
        }
        for subset in subsets
        for number in range(count)
    ]


_REWARD_BENCH_SUBSETS = (
    "alpacaeval-easy",
    "llmbar-natural",
    "refusals-dangerous",
    "donotanswer",
    "math-prm",
    "hep-cpp",
)


def _m_reward_bench(count: int) -> Files:
    return {
        f"{code}/test.jsonl": _pairs(_REWARD_BENCH_SUBSETS, count, field="source", seed=seed)
        for seed, code in enumerate(("deu_Latn", "kor_Hang", "eng_Latn"))
    }


def _ppe_correctness(count: int) -> Files:
    def row(number: int, seed: int) -> dict[str, Any]:
        scores = [(number + place) % 3 == 0 for place in range(6)]
        return {
            "question_id": f"q{number}",
            "prompt": f"problem {seed} {number}",
            **{f"response_{place + 1}": _text(place, seed=seed + number) for place in range(6)},
            "scores": scores,
            "sampled_conflict_pairs": [
                [i, j] for i in range(6) for j in range(6) if scores[i] != scores[j] and (i + j) % 2
            ],
        }

    return {
        f"PPE-{name}-Best-of-K/data/train-0.jsonl": [row(number, seed) for number in range(count)]
        for seed, name in enumerate(("MATH", "GPQA"))
    }


def _ppe_preference(count: int) -> Files:
    winners = ("model_a", "model_b", "tie", "model_a", "tie (bothbad)")
    rows = [
        {
            "question_id": f"v{number}",
            "prompt": f"question {number // 2}",
            "response_1": _text(number),
            "response_2": _text(number, seed=2),
            "model_a": f"m{number % 4}",
            "model_b": f"m{(number + 1 + number // 4 % 3) % 4}",
            "winner": winners[number % 5],
            "language": "English" if number % 4 else "German",
            "hard_prompt": number % 2 == 0,
            "is_code": number % 3 == 0,
        }
        for number in range(4 * count)
    ]
    return {"test.jsonl": rows}


def _prmbench(count: int) -> Files:
    classes = ("redundency", "circular", "confidence", "deception", "multi_solutions")
    rows = [
        {
            "idx": f"{name}_{number}",
            "classification": name,
            "question": f"problem {number // 2}",
            "modified_question": f"problem {number // 2}",
            "modified_process": _solution(number),
            "error_steps": [] if name == "multi_solutions" else [1 + number % 4],
        }
        for name in classes
        for number in range(count)
    ]
    return {"prmbench_preview.jsonl": rows}


def _processbench(count: int) -> Files:
    def row(split: str, number: int) -> dict[str, Any]:
        label = -1 if number % 3 == 0 else number % 4
        return {
            "id": f"{split}-{number}",
            "problem": f"problem {split} {number // 2}",
            "steps": _solution(number),
            "label": label,
        }

    return {f"{split}.json": [row(split, number) for number in range(count)] for split in ("gsm8k", "omnimath")}


def _rag_reward_bench(count: int) -> Files:
    return {
        f"Dataset/{name}.jsonl": _pairs([f"set {seed}"], count, field="subset", seed=seed)
        for seed, name in enumerate(("reason", "citation", "harmless"))
    }


def _code_pref_bench(count: int) -> Files:
    def rows(seed: int) -> Rows:
        return [
            {
                "task_id": f"HumanEval/{number // 2}",
                "instruction": f"instruction {seed} {number // 2}",
                "choices": [_text(number, seed=seed), _text(number, seed=seed + 5)],
                "gt_choice": number % 2,
            }
            for number in range(count)
        ]

    aspects = ("correctness", "efficiency", "security", "human-preference")
    return {f"datasets/eval/{name}-alignment.jsonl": rows(seed) for seed, name in enumerate(aspects)}


def _mr_math(count: int) -> Files:
    def row(number: int) -> dict[str, object]:
        wrong = number % 3 == 0
        return {
            "id": number,
            "question": f"problem {number}",
            "model_output_step_format": [[f"step {k} of {number}", "more"] for k in range(3)],
            "model_output_solution_correctness": "wrong" if wrong else "correct",
            "model_output_solution_first_error_step": 1 + number % 2 if wrong else "N/A",
        }

    return {"dataset/mr-math_invalid_errors.jsonl": [row(number) for number in range(count)]}


def _reward_bench(count: int) -> Files:
    return {
        "filtered.jsonl": _pairs(_REWARD_BENCH_SUBSETS, count, field="subset"),
        "anthropic_helpful.jsonl": _pairs(["anthropic_helpful"], count, field="subset", seed=4),
    }


def _reward_bench_2(count: int) -> Files:
    rows: list[dict[str, Any]] = [
        {
            "id": f"{subset}-{number}",
            "subset": subset,
            "prompt": f"prompt {subset} {number}",
            "chosen": [_text(number)],
            "rejected": [_text(number, seed=seed) for seed in (1, 2, 3)],
        }
        for subset in ("Factuality", "Math", "Focus")
        for number in range(count)
    ]
    for number in range(count):
        for kind, right in (("ref", 1), ("tied", 3)):
            rows.append(
                {
                    "id": f"{kind}:{number}",
                    "subset": "Ties",
                    "prompt": f"name a thing {kind} {number}",
                    "chosen": [_text(number, seed=k) for k in range(right)],
                    "rejected": [_text(number, seed=10 + k) for k in range(2)],
                }
            )
    return {"test.jsonl": rows}


def _rewardmath(count: int) -> Files:
    rows = [
        {
            "problem_id": f"{number}",
            "problem": f"problem {number}",
            "solution_type": "chosen" if place == 0 else "rejected",
            "solution_reference": "human_to_GPT-4" if place == 0 else f"model {place}",
            "eval_solution": _solution(10 * number + place, steps=2 + place % 3),
            "subject": "algebra" if number % 2 else "geometry",
        }
        for number in range(count)
        for place in range(10)
    ]
    return {"RewardMATH.jsonl": rows}


def _rm_bench(count: int) -> Files:
    def rows(seed: int) -> Rows:
        return [
            {
                "id": number,
                "prompt": f"prompt {seed} {number}",
                "chosen": [_text(number, seed=seed + k) for k in range(3)],
                "rejected": [_text(number, seed=seed + 20 + k) for k in range(3)],
            }
            for number in range(count)
        ]

    files = ("chat", "code", "safety-refuse", "safety-response")
    return {f"{name}_filtered.json": rows(seed) for seed, name in enumerate(files)}


def _rmb(count: int) -> Files:
    def turns(number: int) -> Rows:
        return [{"role": "user", "content": f"question {number // 2}"}]

    pairs = [
        {
            "pair_uid": f"u{number}",
            "conversation_input": turns(number),
            "chosen": {"answer": _text(number)},
            "reject": {"answer": _text(number, seed=1)},
        }
        for number in range(count)
    ]
    lists = [
        {
            "bon_uid": f"b{number}",
            "conversation_input": turns(number),
            "bon_best": {"answer": _text(number)},
            "loser_list": [{"answer": _text(number, seed=seed)} for seed in (1, 2, 3)],
        }
        for number in range(count)
    ]
    return {
        "Pairwise_set/Helpfulness/Chat/Discussion.json": pairs,
        "Pairwise_set/Harmlessness/S1.json": pairs,
        "BoN_set/Helpfulness/Chat/Discussion.json": lists,
        "BoN_set/Harmlessness/S2.json": lists,
    }


BUILDERS: dict[str, Callable[[int], Files]] = {
    "big_bench_mistake": _big_bench_mistake,
    "code_pref_bench": _code_pref_bench,
    "judgebench": _judgebench,
    "llmbar": _llmbar,
    "m_reward_bench": _m_reward_bench,
    "mr_math": _mr_math,
    "ppe_correctness": _ppe_correctness,
    "ppe_preference": _ppe_preference,
    "prmbench": _prmbench,
    "processbench": _processbench,
    "rag_reward_bench": _rag_reward_bench,
    "reward_bench": _reward_bench,
    "reward_bench_2": _reward_bench_2,
    "rewardmath": _rewardmath,
    "rm_bench": _rm_bench,
    "rmb": _rmb,
}


@pytest.fixture(scope="session")
def official_rows() -> Callable[..., str]:
    """Return a function that writes official rows of a benchmark, by its name, to a folder."""
    return write_official_rows
