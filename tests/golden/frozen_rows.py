"""Made-up rows in official layouts, for the benchmarks whose official files are not among the shared data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]

NOUNS = (
    "river", "stone", "lamp", "garden", "engine", "letter", "winter", "bridge", "copper", "harbour", "theory",
    "village", "signal", "orchard",
)  # fmt: skip
REWARD_BENCH_SUBSETS = (
    "alpacaeval-easy", "alpacaeval-hard", "mt-bench-easy", "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor",
    "refusals-offensive", "xstest-should-refuse", "donotanswer", "math-prm", "hep-cpp", "hep-go",
)  # fmt: skip
MODELS = ("model-a", "model-b", "model-c", "model-d")


def chance(*names: object) -> float:
    """Return a number from 0 to 1 that depends on ``names`` alone, on any machine."""
    digest = hashlib.sha256("\x00".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def whole(low: int, high: int, *names: object) -> int:
    """Return a whole number from ``low`` to ``high``, both included."""
    return low + int(chance("whole", *names) * (high - low + 1))


def text(*names: object, most: int = 14) -> str:
    """Return a few words; the last one makes it different from every other text."""
    count = whole(1, most, "count", *names)
    words = [NOUNS[whole(0, len(NOUNS) - 1, "word", k, *names)] for k in range(count)]
    return " ".join([*words, hashlib.sha256(repr(names).encode()).hexdigest()[:6]])


def write(path: Path, rows: list[Row]) -> str:
    """Write ``rows`` as JSON Lines, or as one array where the name ends in .json, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(lines, encoding="utf-8")
    return str(path)


def reward_bench(folder: Path) -> str:
    rows = [
        {"prompt": text("rb", subset, k), "chosen": text("rb+", subset, k), "rejected": text("rb-", subset, k),
         "subset": subset, "id": k}
        for subset in REWARD_BENCH_SUBSETS for k in range(whole(5, 10, "rb", subset))
    ]  # fmt: skip
    return write(folder / "filtered.jsonl", rows)


def reward_bench_2(folder: Path) -> str:
    def row(subset: str, id: str, right: int, wrong: int) -> Row:
        sides = {
            "chosen": [text("rb2+", subset, id, k) for k in range(right)],
            "rejected": [text("rb2-", subset, id, k) for k in range(wrong)],
        }
        return {"id": id, "subset": subset, "prompt": text("rb2", subset, id), **sides}

    rows = [
        row(subset, str(k), 1, whole(3, 5, subset, k))
        for subset in ("Factuality", "Precise IF", "Math", "Safety", "Focus") for k in range(14)
    ]  # fmt: skip
    rows += [
        row("Ties", f"{kind}:{k}", 1 if kind == "ref" else 3, 3)
        for kind in ("ref", "tied") for k in range(12)
    ]  # fmt: skip
    return write(folder / "test.jsonl", rows)


def m_reward_bench(folder: Path) -> str:
    for code in ("eng_Latn", "deu_Latn", "fra_Latn", "kor_Hang"):
        rows = [
            {"id": k, "prompt": text("mrb", code, subset, k), "chosen": text("mrb+", code, subset, k),
             "rejected": text("mrb-", code, subset, k), "source": subset}
            for subset in REWARD_BENCH_SUBSETS for k in range(4)
        ]  # fmt: skip
        write(folder / code / "test.jsonl", rows)
    return str(folder)


def rag_reward_bench(folder: Path) -> str:
    for scenario in ("abstain", "citation", "conflict", "harmless", "helpful", "reason"):
        rows = [
            {"prompt": text("rag", scenario, k), "chosen": text("rag+", scenario, k),
             "rejected": text("rag-", scenario, k)}
            for k in range(whole(12, 18, scenario))
        ]  # fmt: skip
        write(folder / f"{scenario}.jsonl", rows)
    return str(folder)


def ppe_correctness(folder: Path) -> str:
    for name in ("MMLU-Pro", "MATH", "GPQA"):
        rows = []
        for index in range(16):
            # Of 12 answers: of 5, 6, 8, 10 or 32 a perfect order had a loss of −1e-17, which was refused as a share.
            truth = [True, False, *(chance("ppe", name, index, k) < 0.5 for k in range(10))]
            conflict = [[i, j] for i in range(12) for j in range(12) if truth[i] != truth[j]]
            pairs = [conflict[whole(0, len(conflict) - 1, name, index, k)] for k in range(5)]
            answers = {f"response_{k + 1}": text("ppe", name, index, k) for k in range(12)}
            rows.append(
                {"question_id": index, "model_name": "m", "prompt": text("ppe", name, index), **answers,
                 "scores": truth, "sampled_conflict_pairs": pairs}
            )  # fmt: skip
        write(folder / f"PPE-{name}-Best-of-K" / "data" / "train-0.jsonl", rows)
    return str(folder)


def ppe_preference(folder: Path) -> str:
    rows = []
    for index in range(150):
        first = whole(0, 3, "ppe model", index)
        second = (first + whole(1, 3, "ppe rival", index)) % 4
        u, share = chance("ppe winner", index), 0.45 + 0.12 * (second - first)
        winner = "tie" if u > 0.93 else "tie (bothbad)" if u > 0.88 else "model_a" if u < 0.88 * share else "model_b"
        rows.append(
            {"question_id": index, "prompt": text("ppe", index), "response_1": text("ppe 1", index),
             "response_2": text("ppe 2", index), "model_a": MODELS[first], "model_b": MODELS[second],
             "winner": winner, "language": ("English", "German")[index % 2], "is_code": index % 3 == 0,
             "hard_prompt": index % 4 == 0}
        )  # fmt: skip
    return write(folder / "test.jsonl", rows)


def rewardmath(folder: Path) -> str:
    rows = [
        {"problem": text("rm", problem), "answer": "1", "solution_reference": "human" if k == 0 else f"model-{k}",
         "eval_solution": [text("rm", problem, k, place) for place in range(whole(1, 5, "rm", problem, k))],
         "solution_type": "chosen" if k == 0 else "rejected", "subject": ("Algebra", "Geometry")[problem % 2],
         "level": 1, "problem_id": problem, "id": 10 * problem + k}
        for problem in range(40) for k in range(10)
    ]  # fmt: skip
    return write(folder / "RewardMATH_direct.json", rows)


def rm_bench(folder: Path) -> str:
    rows = [
        {"id": f"{domain}{k}", "prompt": text("rmb", domain, k), "domain": domain,
         "chosen": [text("rmb+", domain, k, style, most=6 + 6 * style) for style in range(3)],
         "rejected": [text("rmb-", domain, k, style, most=6 + 6 * style) for style in range(3)]}
        for domain in ("chat", "code", "math", "safety-refuse", "safety-response") for k in range(12)
    ]  # fmt: skip
    return write(folder / "total_dataset.json", rows)


def processbench(folder: Path) -> str:
    for split in ("gsm8k", "math", "olympiadbench", "omnimath"):
        rows = []
        for k in range(20):
            count = whole(2, 7, "pb", split, k)
            label = -1 if chance("pb right", split, k) < 0.4 else whole(0, count - 1, "pb label", split, k)
            steps = [text("pb", split, k, place) for place in range(count)]
            rows.append(
                {"id": f"{split}-{k}", "generator": "m", "problem": text("pb", split, k // 2), "steps": steps,
                 "final_answer_correct": label == -1, "label": label}
            )  # fmt: skip
        write(folder / f"{split}.json", rows)
    return str(folder)


def big_bench_mistake(folder: Path) -> str:
    for task in ("word_sorting", "dyck_languages", "tracking_shuffled_objects"):
        rows = []
        for k in range(24):
            count = whole(2, 7, "bbm", task, k)
            mistake = None if chance("bbm right", task, k) < 0.3 else whole(0, count - 1, "bbm mistake", task, k)
            steps = [text("bbm", task, k, place) for place in range(count)]
            rows.append(
                {"input": text("bbm", task, k), "steps": steps, "target": "1", "answer": "2", "mistake_index": mistake}
            )
        write(folder / f"{task}.jsonl", rows)
    return str(folder)


def judgebench(folder: Path) -> str:
    sources = ("livebench-math", "livecodebench", "mmlu-pro-law", "livebench-reasoning")
    rows = [
        {"pair_id": f"{k}", "source": sources[k % 4], "question": text("jb", k), "response_model": "gpt-4o-2024-05-13",
         "response_A": text("jb A", k), "response_B": text("jb B", k),
         "label": "A>B" if chance("jb", k) < 0.5 else "B>A"}
        for k in range(60)
    ]  # fmt: skip
    return write(folder / "pairs.jsonl", rows)


def llmbar(folder: Path) -> str:
    for subset in ("Natural", "Adversarial/Neighbor", "Adversarial/GPTOut"):
        rows = [
            {"input": text("bar", subset, k), "output_1": text("bar 1", subset, k),
             "output_2": text("bar 2", subset, k), "label": whole(1, 2, "bar", subset, k)}
            for k in range(20)
        ]  # fmt: skip
        write(folder / subset / "dataset.json", rows)
    return str(folder)


def prmbench(folder: Path) -> str:
    rows = []
    for kind in ("circular", "deception", "confidence", "missing_condition", "redundency", "multi_solutions"):
        for k in range(10):
            count = whole(3, 8, "prm", kind, k)
            wrong = sorted({whole(1, count, "prm wrong", kind, k, n) for n in range(2)})
            errors = [] if kind == "multi_solutions" else wrong
            question = text("prm", kind, k)
            rows.append(
                {"original_question": question, "modified_question": question, "question": question,
                 "original_process": [text("prm as it was", kind, k)], "reason": "", "idx": f"{kind}_{k}",
                 "modified_process": [text("prm", kind, k, place) for place in range(count)],
                 "modified_steps": errors, "error_steps": errors, "classification": kind}
            )  # fmt: skip
    return write(folder / "prmbench_preview.jsonl", rows)


def rmb(folder: Path) -> str:
    for category in ("Harmlessness/S1", "Helpfulness/Chat/Casual Conversation"):
        pairs, lists = [], []
        for k in range(16):
            prompt = [{"role": "user", "content": text("rmb q", category, k // 2)}]

            def answer(side: str, k: int = k, category: str = category) -> Row:
                return {"answer": text("rmb", side, category, k), "llm_name": f"m {side}"}

            where = {"conversation_input": prompt, "category_path": category}
            pairs.append({"pair_uid": f"{category}{k}", **where, "chosen": answer("+"), "reject": answer("-")})
            loser = [answer(f"-{n}") for n in range(whole(1, 4, "rmb", category, k))]
            lists.append({"bon_uid": f"{category}{k}", **where, "bon_best": answer("best"), "loser_list": loser})
        write(folder / "Pairwise_set" / f"{category}.json", pairs)
        write(folder / "BoN_set" / f"{category}.json", lists)
    return str(folder)


OFFICIAL = {
    "big_bench_mistake": big_bench_mistake,
    "judgebench": judgebench,
    "llmbar": llmbar,
    "m_reward_bench": m_reward_bench,
    "ppe_correctness": ppe_correctness,
    "ppe_preference": ppe_preference,
    "prmbench": prmbench,
    "processbench": processbench,
    "rag_reward_bench": rag_reward_bench,
    "reward_bench": reward_bench,
    "reward_bench_2": reward_bench_2,
    "rewardmath": rewardmath,
    "rm_bench": rm_bench,
    "rmb": rmb,
}
"""Name of the benchmark → what writes its files into a folder and returns the path to load."""


def score(*names: object, lift: float = 0.0) -> float | None:
    """Return a published score on a coarse grid, so that some are equal; a few are missing."""
    if chance("no score", *names) < 0.03:
        return None
    return round(4 * (chance("score", *names) + lift)) / 2


def result(better: float | None, *others: float | None) -> float:
    """Return 1 where one score is above all others, 0 where it is not."""
    known = [each for each in others if each is not None]
    return float(better is not None and len(known) == len(others) and better > max(known))


def reward_bench_results(folder: Path) -> tuple[str, None]:
    rows = []
    for subset in REWARD_BENCH_SUBSETS:
        for k in range(6):
            good, bad = score("rb", subset, k, lift=0.3), score("rb -", subset, k)
            sides = {f"text_{side}": text("rb", side, subset, k) for side in ("chosen", "rejected")}
            rows.append(
                {"id": k, "subset": subset, "scores_chosen": good, "scores_rejected": bad,
                 "results": result(good, bad), **sides}
            )  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    path = folder / "model.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(columns | {"model": "org/model"}), encoding="utf-8")
    return str(path), None


def reward_bench_2_results(folder: Path) -> tuple[str, None]:
    rows: list[Row] = []
    for subset in ("Factuality", "Precise IF", "Math", "Safety", "Focus"):
        for k in range(10):
            scores = [score("rb2", subset, k, n, lift=0.4 * (n == 0)) for n in range(4)]
            known = None if k % 5 == 4 else scores
            outcome = 0.25 if known is None else result(*scores)
            rows.append({"id": f"{k}", "subset": subset, "scores": known, "results": outcome, "num_correct": 1})
    for kind, right in (("ref", 1), ("tied", 3)):
        for k in range(10):
            scores = [score("ties", kind, k, n, lift=0.6 * (n < right)) for n in range(right + 3)]
            rows.append(
                {"id": f"{kind}:{k}", "subset": "Ties", "scores": scores, "results": None, "num_correct": right}
            )
    return write(folder / "model.jsonl", rows), None


def rm_bench_results(folder: Path) -> tuple[str, None]:
    rows = [
        {"id": f"{k}", "domain": domain, "prompt": text("rm", domain, k),
         "chosen": [text("rm+", domain, k, n) for n in range(3)],
         "rejected": [text("rm-", domain, k, n) for n in range(3)],
         "score_chosen": [score("rm+", domain, k, n, lift=0.3) for n in range(3)],
         "score_rejected": [score("rm-", domain, k, n) for n in range(3)]}
        for domain in ("chat", "code", "math", "safety-refuse", "safety-response") for k in range(8)
    ]  # fmt: skip
    return write(folder / "total_dataset_model_REWORD_MODEL_1.json", rows), None


def rmb_results(folder: Path) -> tuple[str, None]:
    rows = []
    for where in ("Harmlessness/S3", "Helpfulness/Chat/Discussion"):
        for k in range(20):
            good, bad = score("rmb", where, k, lift=0.3), score("rmb -", where, k)
            right = chance("rmb judge", where, k) < 0.7 if good is None else result(good, bad)
            rows.append(
                {"pair_uid": f"{k}", "category_path": f"Pairwise_set/{where}", "chosen_reward": good,
                 "reject_reward": bad, "is_correct": int(right)}
            )  # fmt: skip
    return write(folder / "model_result.json", rows), None


def llmbar_results(folder: Path) -> tuple[str, None]:
    def winner(*names: object) -> str | None:
        return None if chance("no winner", *names) < 0.08 else str(whole(1, 2, "winner", *names))

    for subset in ("Natural", "Adversarial/Manual"):
        rows = []
        for k in range(20):
            games = {f"swap = {swap}": {"winner": winner(subset, k, swap)} for swap in (False, True)}
            rows.append(
                {"input": text("bar", subset, k), "output_1": text("bar 1", subset, k),
                 "output_2": text("bar 2", subset, k), "label": whole(1, 2, "label", subset, k),
                 "results": [["a metric", "stop"], games]}
            )  # fmt: skip
        write(folder / subset / "evaluators" / "model" / "Vanilla" / "result.json", rows)
    return str(folder), None


def processbench_results(folder: Path) -> tuple[str, None]:
    for split in ("gsm8k", "math"):
        for half in ("error", "correct"):
            rows = []
            for k in range(16):
                label = -1 if half == "correct" else whole(0, 3, "pb", split, k)
                hit = chance("pb hit", split, half, k)
                said = label if hit < 0.5 else None if hit > 0.95 else whole(-1, 3, "pb said", split, half, k)
                rows.append(
                    {"id": f"{split}-{half}-{k}", "generator": "m", "problem": text("pb", split, half, k),
                     "steps": ["a", "b", "c", "d"], "final_answer_correct": half == "correct", "label": label,
                     "prediction": said, "match": said == label}
                )  # fmt: skip
            write(folder / f"{split}_{half}.jsonl", rows)
    return str(folder), None


def prmbench_results(folder: Path) -> tuple[str, str]:
    data = prmbench(folder / "data")
    rows = []
    for line in Path(data).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        name, count = row["idx"], len(row["modified_process"])
        wrong = set(row["error_steps"])
        hit = [chance("prm said", name, k) < 0.75 for k in range(count)]
        labels = [(k + 1 not in wrong) == hit[k] for k in range(count)]
        idx = f"{row['classification']}_{name.removeprefix(row['classification'] + '_')}"
        rows.append({"task_name": "t", "model_name": "m", "results": {
            "idx": idx, "scores": {"step_level_validity_labels": labels}}})  # fmt: skip
    return write(folder / "responses.jsonl", rows), data


RESULTS = {
    "llmbar": llmbar_results,
    "prmbench": prmbench_results,
    "processbench": processbench_results,
    "reward_bench": reward_bench_results,
    "reward_bench_2": reward_bench_2_results,
    "rm_bench": rm_bench_results,
    "rmb": rmb_results,
}
"""Name of the benchmark → what writes published results of one model, and returns their path and that of the data."""
