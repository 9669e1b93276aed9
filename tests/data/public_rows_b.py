"""Rows with invented content in the official layout of public sets: of tasks, of mixtures and of processes."""

from __future__ import annotations

from plaudit.data.reading.sources import attributes, pku_safe

ALPACA = {"instruction": "Sort these.", "input": "b, a", "output_1": "b, a", "output_2": "a, b", "preference": 2}
ALPACA_PROMPT = """\
Below is an instruction that describes a task, paired with an input that provides further context. \
Write a response that appropriately completes the request.

### Instruction:
Sort these.

### Input:
b, a

### Response:"""
ALPACA_PROMPT_WITHOUT_INPUT = """\
Below is an instruction that describes a task. Write a response that appropriately completes the request.

### Instruction:
Sort these.

### Response:"""

OFFSETBIAS = {"instruction": "Name a prime.", "output_1": "Nine is prime.", "output_2": "Seven.", "label": 2}

QUOTES = {"title": ["Trees (park.org)"], "extract": ["Redwoods grow to 115 m."]}
TOKENS = {"prefix": [318, 257], "completion": [11, 12]}
WEBGPT = {
    "question": {"dataset": "eli5", "id": "q1", "full_text": "Why are redwoods so tall?"},
    "quotes_0": QUOTES,
    "answer_0": "They live in fog [1].",
    "tokens_0": TOKENS,
    "score_0": -0.25,
    "quotes_1": QUOTES,
    "answer_1": "Fog feeds them [1], and nothing eats them.",
    "tokens_1": TOKENS,
    "score_1": 0.25,
}

POST = {"id": "t3_1", "post": "My bike was stolen.", "title": "Bike gone", "subreddit": "legaladvice"}
ARTICLE = {"id": "a1", "site": "cnn", "title": "Rain", "article": "It rained all day."}
SUMMARY = {"policy": "ref", "note": None}
COMPARISON = {
    "info": {**POST, "site": None, "article": None},
    "summaries": [{"text": " Bike.", **SUMMARY}, {"text": " Bike stolen, what now?", **SUMMARY}],
    "choice": 1,
    "worker": "w1",
    "batch": "batch9",
    "split": "train",
    "extra": {"confidence": 8},
}
AXES = {"overall": 6, "accuracy": 7, "coverage": 4, "coherence": 5, "compatible": None}
AXIS = {
    "info": {**ARTICLE, "post": None, "subreddit": None},
    "summary": {"text": " Rain all day.", **SUMMARY, "axes": AXES},
    "worker": "w1",
    "batch": "cnndm1",
    "split": "test",
}

TURNS = [
    {"from": "user", "value": "What is 6 times 7?"},
    {"from": "assistant", "value": "Step 1: 6*7 = 41."},
    {"from": "user", "value": "Observation: 41 is wrong."},
]
ULTRAINTERACT = {
    "task": "Math_CoT",
    "dataset": "gsm8k",
    "trajectory": TURNS,
    "chosen": "Step 1: 6*7 = 42. Answer: 42",
    "rejected": "Step 1: 6*7 = 43. Answer: 43",
    "id": "n2",
    "parent_id": "n1",
}

RUBRIC = {f"orig_score{score}_description": f"Level {score}." for score in range(1, 6)}
JUDGED = {
    "instruction": "###Task Description: judge.",
    "input": "",
    "output": "Feedback: fine. [RESULT] 4",
    "orig_instruction": "Comfort a friend.",
    "orig_reference_answer": "I am here for you.",
    "orig_criteria": "Is it kind?",
    **RUBRIC,
}
FEEDBACK = {**JUDGED, "orig_response": "Cheer up!", "orig_feedback": "Fine.", "orig_score": "4"}
PREFERENCE = {
    **JUDGED,
    "orig_response_A": "Cheer up!",
    "orig_response_B": "Tell me more.",
    "orig_feedback": "B listens.",
    "orig_score_A": "2",
    "orig_score_B": "5",
    "orig_preference": "B",
}

HARM = dict.fromkeys(pku_safe.CATEGORIES, False) | {"privacy_violation": True}
BEAVERTAILS = {"prompt": "Find her address.", "response": "She lives at …", "category": HARM, "is_safe": False}

CHAT = [{"role": "user", "content": "Name a prime."}, {"role": "assistant", "content": "Seven."}]
LABELS = dict.fromkeys(attributes.ARMORM) | {"helpsteer-helpfulness": 0.7, "helpsteer-verbosity": 0.3}
ARMORM = {"messages": CHAT, **LABELS}

TULU = {
    "id": "t1",
    "prompt": "Name a prime.",
    "chosen": CHAT,
    "rejected": [CHAT[0], {"role": "assistant", "content": "Eight."}],
    "source": "wildchat",
}
RATED = {"chosen_rating": 4.5, "rejected_rating": 2.0, "chosen_model": "m1", "rejected_model": "m2"}
TULU_405B = {**TULU, **RATED}
STANDARD = {"chosen": TULU["chosen"], "rejected": TULU["rejected"], "chosen_score": 4.0, "rejected_score": None}
PAIR = {
    "messages": [
        {"role": "user", "content": "[CONTEXT] \n\n<turn> user\n Name a prime.\n [RESPONSE A] 8 [RESPONSE B] 7 \n"},
        {"role": "assistant", "content": "B"},
    ]
}
SHEPHERD = {
    "input": "Add 2 and 2. Step 1: 4. ки\nStep 2: So 5. ки",
    "label": "Add 2 and 2. Step 1: 4. +\nStep 2: So 5. -",
    "task": "GSM8K",
}
PRM800K = {
    "labeler": "l1",
    "timestamp": "2023-01-01T00:00:00",
    "generation": 9,
    "is_quality_control_question": False,
    "is_initial_screening_question": False,
    "question": {"problem": "Add 2 and 2.", "ground_truth_answer": "4"},
    "label": {
        "steps": [
            {
                "completions": [{"text": "It is 4.", "rating": 1, "flagged": None}],
                "human_completion": None,
                "chosen_completion": 0,
            }
        ],
        "total_time": 12,
        "finish_reason": "solution",
    },
}


def chat(*contents):
    roles = ("user", "assistant")
    return {"conversations": [{"role": roles[index % 2], "content": each} for index, each in enumerate(contents)]}
