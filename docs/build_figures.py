"""Write the tables of measured figures into README, docs/measured.md and docs/families from the result files.

    python docs/build_figures.py

Sources: ``benchmarks/results/*.json`` (speed) and ``recipes/*/result.json`` (accuracy). The text between the markers
``<!-- figures:NAME -->`` and ``<!-- /figures:NAME -->`` is replaced.
"""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
MEASURED = (ROOT / "README.md", ROOT / "docs" / "measured.md")
FAMILIES = sorted((ROOT / "docs" / "families").glob("*.md"))
NOT_MEASURED = "Not measured here."
STUDY_TABLE = runpy.run_path(str(Path(__file__).with_name("study_tables.py")))["study_table"]
SHOWN = {
    "ranking": ("pairwise_agreement", "top_one", "kendall_tau"),
    "rating": ("spearman", "rmse"),
    "outcome": ("best_of_k", "best_of_k_decidable", "auc", "accuracy"),
    "step": ("step_auc", "step_accuracy", "step_error_f1", "first_error_accuracy", "first_error_f1", "response_auc"),
}
"""Figures of each kind of label that the page of a family shows; the result file holds the others too."""
KINDS = {"kwise": "ranking", "attributes": "rating", "outcome": "outcome", "process": "step"}
"""The kind of label that a family learns from, beside preferences."""
TASKS = {
    "hh": "pairs with the lengths of hh-rlhf",
    "k4": "K = 4 responses, all six pairs",
    "long": "best of 16, prompts of 400 tokens",
    "short": "best of 16, prompts of 25 tokens",
}
BENCHMARKS = {
    "llmbar": "LLMBar",
    "rm_bench": "RM-Bench",
    "judgebench": "JudgeBench",
    "rmb": "RMB",
    "processbench": "ProcessBench",
}
FURTHER = {
    "rm_bench": ("hard", "normal", "easy", "chat", "safety"),
    "judgebench": ("knowledge", "reasoning", "math", "coding"),
    "rmb": ("helpful_pairwise", "helpful_best_of_n", "harmless_pairwise", "harmless_best_of_n"),
    "processbench": ("f1_tuned",),
}
"""Figures of a benchmark that the real run shows below the headline."""


def results(kind: str) -> list[dict[str, Any]]:
    """Return the speed results of a kind, in the order of their file names."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "benchmarks/results").glob("*.json"))
    ]
    return [each for each in found if each.get("benchmark") == kind]


def training_table() -> str:
    """Return training speed beside TRL."""
    rows = [
        "| task | model | precision | plaudit, pairs/s | TRL, pairs/s | ratio | time ÷ bound |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for each in results("training"):
        median = each["median_pairs_per_second"]
        ratio = each["ratio_to_trl"]["shared_prefix"]
        rows.append(
            f"| {TASKS[each['task']]} | {each['shape']} | {each['precision']} | {median['shared_prefix']:.1f} "
            f"| {median['trl']:.1f} | **{ratio:.1f}×** | {each['seconds_over_bound']:.2f} |"
        )
    return "\n".join(rows)


def scoring_table() -> str:
    """Return scoring speed beside transformers."""
    rows = [
        "| task | model | plaudit, s | sorted, s | pipeline, s | ratio to sorted | to pipeline | time ÷ bound |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for each in results("scoring"):
        median = each["median_seconds"]
        rows.append(
            f"| {TASKS[each['task']]} | {each['shape']} | {median['plaudit']:.2f} | {median['padded_sorted']:.2f} "
            f"| {median['pipeline']:.2f} | **{each['ratio_to_padded_sorted']:.1f}×** "
            f"| {each['ratio_to_pipeline']:.1f}× | {each['seconds_over_bound']:.2f} |"
        )
    return "\n".join(rows)


def benchmarks_table() -> str:
    """Return evaluation speed beside the official harnesses; the last column counts the tokens of the whole files."""
    rows = [
        "| benchmark | prompts | comparisons | plaudit, s | harness, s | ratio | tokens, plaudit | tokens, harness "
        "| ratio of tokens, whole files |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for each in results("benchmarks"):
        parts = [(BENCHMARKS[name], part, [part], [part["whole_files"]]) for name, part in each["parts"].items()]
        every = list(each["parts"].values())
        parts.append(("both", each, every, [part["whole_files"] for part in every]))
        for title, timed, counted, whole in parts:
            median, (own, other), (own_whole, other_whole) = timed["median_seconds"], _tokens(counted), _tokens(whole)
            prompts, compared = (sum(part[key] for part in counted) for key in ("prompts", "rows"))
            rows.append(
                f"| {title} | {prompts:,} | {compared:,} | {median['plaudit']:.1f} | {median['harness']:.1f} "
                f"| **{timed['ratio']:.1f}×** | {own:,} | {other:,} | {other_whole / own_whole:.1f}× |"
            )
    return "\n".join(rows)


def speed_sentence() -> str:
    """Return the ranges of the measured ratios of scoring and evaluation, in one sentence."""
    scoring = [each["ratio_to_padded_sorted"] for each in results("scoring")]
    runs = [part["ratio"] for each in results("benchmarks") for part in each["parts"].values()]
    return (
        f"Scoring is {min(scoring):.1f} to {max(scoring):.1f} times as fast as length-sorted padded batches, and a "
        f"benchmark {min(runs):.1f} to {max(runs):.1f} times as fast as in a padded harness, with the same rewards to "
        "1e-5. All measurements, with scripts, commits and dates: [measured](https://github.com/plaudit/plaudit/blob/main/docs/measured.md)."
    )


def _tokens(parts: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the tokens that plaudit and the harness compute, its padding included."""
    own, other = (sum(part["tokens"][side] for part in parts) for side in ("plaudit", "harness_with_padding"))
    return own, other


def real_table() -> str:
    """Return the official figures of the real run, with the same figure of rules that read nothing."""
    rows = [
        "| benchmark | figure | value (95 % interval) | longer response | first response | random |",
        "|---|---|---|--:|--:|--:|",
    ]
    [found] = results("real_run")
    for name, result in sorted(found["results"].items(), key=lambda each: list(BENCHMARKS).index(each[0])):
        failed = f", {result['failed']} failed" if result["failed"] else ""
        cut = f", {result['cut']['truncated_responses']:,} responses cut" if result["cut"] else ""
        title = f"{BENCHMARKS[name]} ({result['n']} groups{failed}{cut})"
        for figure in (result["primary"], *FURTHER.get(name, ())):
            beside = result["baselines"].get(figure, {})
            others = (
                f"{beside[rule]['value']:.3f}" if rule in beside else ""
                for rule in ("longer_response", "first_response", "random")
            )
            value = _interval(result["metrics"][figure])
            rows.append(f"| {title} | {figure.replace('_', ' ')} | {value} | {' | '.join(others)} |")
            title = ""
    return "\n".join(rows)


def scale_table() -> str:
    """Return the stages of the scale benchmark."""
    rows = ["| stage | rows/s | resident memory, MB |", "|---|--:|--:|"]
    for each in results("scale"):
        rows += [
            f"| {stage['stage']} ({each['pairs']:,} pairs) | {stage['rows_per_second']:,} | {stage['rss_mb']:,} |"
            for stage in each["stages"]
        ]
    return "\n".join(rows)


def mixture_table() -> str:
    """Return the stages of the mixture benchmark at each size, beside the peer's plain map."""
    rows = [
        "| rated groups | read, s | rules, draw, split, s | near duplicates, s | peak, MB | time per group, relative "
        "| `datasets`: read and map, s |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for size in results("mixture")[0]["sizes"]:
        own, peer = size["plaudit"], size["datasets"]
        stages = [own["read"], own["rules, draw, split, fingerprint"], own["near duplicates"]]
        cells = [f"{size['groups']:,}", *(f"{seconds:.0f}" for seconds in stages), f"{own['peak_rss_mb']:,}"]
        cells += [f"{size['time_per_group_beside_smallest']:.2f}", f"{peer['read'] + peer['map']:.0f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def tree_table() -> str:
    """Return what the tree saves on samples of one policy."""
    rows = ["| layout | tokens | seconds | tree is faster by |", "|---|--:|--:|--:|"]
    names = {"tree": "prefix tree", "one_trunk": "one trunk", "separate": "separate sequences"}
    for each in results("tree"):
        median = each["median_seconds"]
        rows += [
            f"| {words} | {each['tokens'][name]:,} | {median[name]:.2f} | {median[name] / median['tree']:.2f}× |"
            for name, words in names.items()
        ]
    return "\n".join(rows)


def accuracy_table() -> str:
    """Return held-out accuracy on preferences of every recipe with such a result, overall and by source."""
    rows = ["| recipe | held-out pairs | accuracy (95 % interval) | longer response wins |", "|---|--:|---|---|"]
    for path in sorted(ROOT.glob("recipes/*/result.json")):
        measures = json.loads(path.read_text(encoding="utf-8"))["held_out"]["measures"]
        found = next((each for each in measures if each["kind"] == "preference"), None)
        if found is None:
            continue
        name = path.parent.name
        cells = _cells(found["metrics"], found["baselines"]["accuracy"])
        rows.append(f"| [{name}](../recipes/{name}) | {found['metrics']['accuracy']['n']} | {cells} |")
        if len(found["slices"]) > 1:
            rows += [
                f"| · {source} | {metrics['accuracy']['n']} | {_cells(metrics, metrics)} |"
                for source, metrics in found["slices"].items()
            ]
    return "\n".join(rows)


def family_of(config: dict[str, Any]) -> str:
    """Return the family that a recipe's config trains: the name of its page."""
    if "unlabelled" in config:
        return "semi_supervised"
    objective = config.get("objective", {})
    head = config["model"].get("head") or {}
    match objective.get("type", "bradley_terry"):
        case "bradley_terry":
            return "kwise" if objective.get("weight") == "group" else "bradley_terry"
        case "plackett_luce" | "top_one":
            return "kwise"
        case "regression":
            return "attributes"
        case "outcome" | "token_outcome":
            return "outcome"
        case "process" if head.get("type") == "comparison":
            return "pairwise_preference"
        case "process":
            return "outcome" if head.get("form") == "one_turn" else "process"
        case other:
            return str(other)


def family_table(family: str) -> str:
    """Return what every recipe of a family measured, its study, and which of its recipes were not run here."""
    folders = [
        path.parent
        for path in sorted(ROOT.glob("recipes/*/config.yaml"))
        if family_of(yaml.safe_load(path.read_text(encoding="utf-8"))) == family
    ]
    found = {folder.name: folder / "result.json" for folder in folders}
    measured = {name: path for name, path in found.items() if path.exists() and "held_out" in _read(path)}
    others = ", ".join(f"[{name}](../../recipes/{name})" for name in found if name not in measured)
    study = STUDY_TABLE(family, results)
    parts = [_measured_table(measured, KINDS.get(family))] if measured else []
    parts += [] if study is None else [study]
    parts = parts or [NOT_MEASURED]
    if others:
        parts.append(f"Recipes without a result here: {others}.")
    return "\n\n".join(parts)


def _measured_table(results: dict[str, Path], kind: str | None) -> str:
    rows = ["| recipe | figure, held out | n | value (95 % interval) | baselines |", "|---|---|--:|---|---|"]
    for name, path in results.items():
        result = _read(path)["held_out"]
        link = f"[{name}](../../recipes/{name})"
        for figure, each, baselines in _held_out_figures(result, kind):
            others = "; ".join(f"{rule.replace('_', ' ')} {_interval(value)}" for rule, value in baselines.items())
            rows.append(f"| {link} | {figure} | {each['n']} | {_interval(each)} | {others} |")
    return "\n".join(rows)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _held_out_figures(result: dict[str, Any], kind: str | None) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name of each figure that is shown, its interval, and its baselines by rule."""
    for measure in result["measures"]:
        if measure["kind"] == "preference":
            yield "accuracy of preferences", measure["metrics"]["accuracy"], measure["baselines"]["accuracy"]
            continue
        of = measure["kind"] if measure["attribute"] is None else f"rating {measure['attribute']}"
        for figure in SHOWN[measure["kind"]] if measure["kind"] == kind else ():
            if figure in measure["metrics"]:
                baselines = measure["baselines"].get(figure, {})
                yield f"{of}: {figure}".replace("_", " "), measure["metrics"][figure], baselines


def _cells(figures: dict[str, Any], baselines: dict[str, Any]) -> str:
    return f"{_interval(figures['accuracy'])} | {_interval(baselines['longer_response'])}"


def _interval(found: dict[str, Any]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def fill(text: str) -> str:
    """Return ``text`` with every table between its markers made anew."""
    tables = {
        "training": training_table,
        "scoring": scoring_table,
        "benchmarks": benchmarks_table,
        "speed": speed_sentence,
        "real": real_table,
        "scale": scale_table,
        "mixture": mixture_table,
        "tree": tree_table,
        "accuracy": accuracy_table,
        **{f"family-{page.stem}": partial(family_table, page.stem) for page in FAMILIES},
    }
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- figures:{name} -->\n).*?(<!-- /figures:{name} -->)", re.DOTALL)
        text = pattern.sub(lambda match, table=table: f"{match[1]}{table()}\n{match[2]}", text)
    return text


if __name__ == "__main__":
    for page in (*MEASURED, *FAMILIES):
        page.write_text(fill(page.read_text(encoding="utf-8")), encoding="utf-8")
