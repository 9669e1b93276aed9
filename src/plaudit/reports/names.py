"""Names of models, data, metrics and baselines in print."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.records import Measure

Kind = Literal["share", "number"]
"""Format of a metric: a percentage, or a number."""


@dataclass(frozen=True, slots=True)
class MetricText:
    """Label of a metric, how its value is written, and its meaning in a few words."""

    label: str
    kind: Kind
    meaning: str


PREFERENCE_METRICS: dict[str, MetricText] = {
    "accuracy": MetricText("Accuracy", "share", "pairs whose preferred response has the higher reward"),
    "accuracy_by_group": MetricText(
        "Accuracy, by group", "share", "the same, every group weighing alike however many pairs it has"
    ),
    "accuracy_chosen_longer": MetricText(
        "Accuracy, preferred response longer", "share", "where length points the right way"
    ),
    "accuracy_chosen_shorter": MetricText(
        "Accuracy, preferred response shorter", "share", "where length points the wrong way"
    ),
    "length_controlled_accuracy": MetricText(
        "Accuracy, length controlled", "share", "what a regression on length gives two equally long responses"
    ),
    "length_balanced_accuracy": MetricText(
        "Accuracy, length balanced", "share", "both directions of length alike; a judge of length alone has 50%"
    ),
    "prefers_longer": MetricText("Model prefers the longer", "share", "pairs of different length"),
    "chosen_longer": MetricText("Label prefers the longer", "share", "the same pairs"),
    "verbosity": MetricText(
        "Verbosity", "number", "the first less the second; above 0 length draws the model more than the label"
    ),
    "accuracy_surest_half": MetricText(
        "Accuracy, surest half", "share", "the half of the pairs with the largest margins"
    ),
    "excess_risk_coverage": MetricText(
        "Excess risk over coverage", "number", "errors among the surest pairs; 0 where every error has a small margin"
    ),
    "chosen_reward": MetricText("Mean reward of chosen", "number", "in the units of the model"),
    "rejected_reward": MetricText("Mean reward of rejected", "number", "in the units of the model"),
    "margin": MetricText("Mean margin", "number", "reward of chosen − reward of rejected"),
    "brier": MetricText(
        "Brier score",
        "number",
        "squared error of the probability σ(margin); 0 is perfect, 0.25 a coin flip",
    ),
    "expected_calibration_error": MetricText(
        "Calibration error", "number", "mean gap between how sure it is and how often it is right"
    ),
    "temperature": MetricText(
        "Temperature",
        "number",
        "what margins are best divided by; of log-odds above 1 the model is too sure",
    ),
    "brier_after_temperature": MetricText(
        "Brier score, after the temperature", "number", "each half of the prompts at the temperature of the other"
    ),
    "expected_calibration_error_after_temperature": MetricText(
        "Calibration error, after the temperature", "number", "each half of the prompts at the temperature of the other"
    ),
    "reward_length_correlation": MetricText(
        "Reward and length", "number", "rank correlation over all responses; 0 is none, 1 is length alone"
    ),
    "margin_length_correlation": MetricText(
        "Margin and length difference",
        "number",
        "rank correlation over pairs, so within the prompt; 0 is none, 1 is length alone",
    ),
}
"""Metrics of preferences, by name."""

_ONE_IN_K = "the response with the highest reward is correct; one is drawn where several are highest"

LABEL_METRICS: dict[str, MetricText] = {
    "pairwise_agreement": MetricText("Agreement over pairs", "share", "pairs of one prompt in the order of the label"),
    "pairwise_agreement_by_group": MetricText(
        "Agreement, by group", "share", "the same, every group weighing alike however many pairs it has"
    ),
    "top_one": MetricText("Best response found", "share", "the highest reward is that of a response ranked best"),
    "kendall_tau": MetricText(
        "Kendall's τ-b", "number", "order by reward against ranks, mean over groups; 0 is chance"
    ),
    "spearman": MetricText("Spearman's ρ", "number", "rank correlation over all responses; 0 is none"),
    "pearson": MetricText("Pearson's r", "number", "linear correlation over all responses; 0 is none"),
    "rmse": MetricText("Root mean squared error", "number", "in the units of the rating; smaller is better"),
    "best_of_k": MetricText("Best of K", "share", _ONE_IN_K),
    "best_of_k_decidable": MetricText(
        "Best of K, decidable groups", "share", "the same where some response is correct and some is not"
    ),
    "decidable_groups": MetricText("Decidable groups", "share", "groups that hold correct and wrong responses"),
    "auc": MetricText("Area under the ROC curve", "number", "a correct response has a higher reward than a wrong one"),
    "accuracy": MetricText("Accuracy at the threshold", "share", "responses taken for what they are"),
    "step_auc": MetricText("Area under the ROC curve", "number", "a right step has a higher reward than a wrong one"),
    "step_accuracy": MetricText("Accuracy of steps", "share", "steps taken for what they are, at the threshold"),
    "step_error_f1": MetricText("F1 of wrong steps", "share", "precision and recall of finding them"),
    "first_error_accuracy": MetricText(
        "First error located", "share", "chains whose first error, or that there is none, is said exactly"
    ),
    "first_error_accuracy_erroneous": MetricText("… in chains with an error", "share", ""),
    "first_error_accuracy_correct": MetricText("… in chains without one", "share", ""),
    "first_error_f1": MetricText("First error, F1", "share", "harmonic mean of the two; ProcessBench's figure"),
    "first_error_accuracy_tuned": MetricText(
        "First error located, tuned threshold", "share", "threshold chosen on other prompts"
    ),
    "first_error_f1_tuned": MetricText(
        "First error, F1, tuned threshold", "share", "threshold chosen on other prompts; never ProcessBench's figure"
    ),
    "response_auc": MetricText(
        "Area under the ROC curve, whole response", "number", "a chain without an error has a higher reward"
    ),
}
"""Metrics of ranks, ratings, outcomes and steps, by name."""

BASELINES: dict[str, str] = {
    "longer_response": "longer response",
    "longest_response": "longest response",
    "length": "length in its place",
    "random": "random",
    "mean_rating": "always the mean rating",
    "majority_vote": "majority of the final answers",
    "oracle": "best possible",
    "always_correct": "always correct",
    "always_wrong": "always wrong",
    "always_right": "always right",
    "earlier_step": "earlier step",
    "no_error": "always no error",
    "first_step": "always the first step",
    "commonest_place": "always the commonest place",
    "fixed_threshold": "this model, threshold not tuned",
}
"""Rules beside metrics, in words."""

_TITLES = {
    "preference": "Preferences",
    "ranking": "Ranks",
    "rating": "Ratings",
    "outcome": "Outcomes",
    "step": "Steps",
    "benchmark": "Official metrics",
}

OFFICIAL_METRICS: dict[str, MetricText] = {
    "score": MetricText("Official score", "share", "the figure that the benchmark ranks models by"),
    "f1": MetricText(
        "Official F1", "share", "harmonic mean of both accuracies below, of each subset; mean over the subsets"
    ),
    "prm_score": MetricText("PRMScore", "share", "mean of the F1 of right steps and that of wrong ones"),
    "accuracy": MetricText("Official accuracy", "share", "traces whose first mistake, or that there is none, is said"),
    "accuracy_mean_of_tasks": MetricText("Mean of the tasks", "share", "every task weighing alike"),
    "macro": MetricText("Mean of the categories", "share", "every category weighing alike"),
    "tie_rate": MetricText("Ties", "share", "scored comparisons that equal rewards decide"),
    "valid_share": MetricText("Judged", "share", "solutions whose every step has a reward"),
    "hard": MetricText("Hard", "share", "the preferred response is of the plainer style"),
    "normal": MetricText("Normal", "share", "both responses are of one style"),
    "easy": MetricText("Easy", "share", "the preferred response is of the richer style"),
    "gap_to_english": MetricText("Gap to English", "number", "English less the mean of the other languages"),
    "auc": MetricText("Area under the ROC curve", "share", "a right answer has a higher reward than a wrong one"),
    "spearman": MetricText("Spearman's ρ", "number", "ratings of policies by people against those by the rewards"),
    "kendall_tau": MetricText("Kendall's τ", "number", "the same pairs of policies in the same order"),
    "row_wise_pearson": MetricText("Pearson's r, by rows", "number", "of the win rates of each policy"),
    "separability": MetricText("Separability", "share", "pairs of policies whose intervals do not overlap"),
    "confidence_agreement": MetricText("Agreement where sure", "share", "of pairs of policies that people separate"),
    "brier": MetricText("Brier score", "number", "of which policy is better; 0 is perfect"),
}
"""Official metrics by name; others are proportions named after their part of the benchmark."""

OFFICIAL_BASELINES: dict[str, str] = {"first_response": "first response", "longest_step": "longest step"}
"""Rules that stand beside official metrics only, in words."""

_DERIVED = (
    ("_ties_shared", "{}, ties shared", "where every reward is there; a tie counts as its share"),
    ("_scored", "{}, scored only", "the same rule where every reward is there"),
    ("_tuned_elsewhere", "{}, tuned threshold, other subsets", "threshold chosen on a subset that is left out here"),
    ("_tuned", "{}, tuned threshold", "threshold chosen on labelled solutions; compare no official figure with it"),
    ("_weights_exchanged", "{}, weights exchanged", ""),
    ("_accuracy_erroneous", "{}: first error located", "of solutions with an error"),
    ("_accuracy_correct", "{}: no error found", "of solutions without one"),
    ("_f1", "{}: F1", ""),
)
"""Ending of a name, label of such a metric, meaning."""


_BETWEEN_MODELS = re.compile(r"(https?://[^,]*|[,:])")
"""Separators of the models in a name; the address of a server is left whole."""
_LOCAL = ("/", "./", "../", "~/")
_CHECKPOINT = "model"
"""Name of the folder of weights in the folder of a run; the run's name says more."""


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each of ``names`` a short one: of a path its last part, or as many as it takes to tell it apart.

    Names that are no path (of the hub, of a server, ``module:function``) stay as they are; in one that puts models
    together (``dpo:POLICY,REFERENCE``) each path is shortened. Where no part tells two names apart both stay whole.
    """
    parts = dict.fromkeys(names, 1)
    while True:
        short = {name: _shortened(name, count) for name, count in parts.items()}
        times = Counter(short.values())
        clashing = [name for name in parts if times[short[name]] > 1]
        longer = [name for name in clashing if _shortened(name, parts[name] + 1) != short[name]]
        if not longer:
            return short | {name: name for name in clashing}
        for name in longer:
            parts[name] += 1


def _shortened(name: str, parts: int) -> str:
    return "".join(_last_parts(each, parts) for each in _BETWEEN_MODELS.split(name))


def _last_parts(text: str, parts: int) -> str:
    is_local = text.startswith(_LOCAL) or (text.count("/") > 1 and "://" not in text)
    if not is_local:
        return text
    found = [part for part in text.split("/") if part not in ("", ".", "..", "~")]
    if len(found) > 1 and found[-1] == _CHECKPOINT:
        del found[-1]
    return "/".join(found[-parts:]) or text


def data_title(name: str) -> str:
    """Return the printed name of data: of a benchmark of the catalogue its title, else their own name."""
    return benchmark_named(name).title if name in CATALOG else name


def plain_words(name: str) -> str:
    """Return the name of a metric or a rule in words; one that data gave, as of a subset, stays as it is."""
    return name.replace("_", " ") if re.fullmatch(r"[a-z0-9_]+", name) else name


def measure_title(measure: Measure) -> str:
    """Return the kind of label of ``measure``, in words."""
    return _TITLES[measure.kind] if measure.attribute is None else f"Rating of {measure.attribute}"


def metric_text(measure: Measure, name: str | None = None) -> MetricText:
    """Return label and meaning of metric ``name`` of ``measure``, of the primary one if none is named."""
    name = measure.primary if name is None else name
    match measure.kind:
        case "benchmark":
            return official_text(name)
        case "preference":
            known = PREFERENCE_METRICS.get(name)
        case _:
            known = LABEL_METRICS.get(name) or PREFERENCE_METRICS.get(name)
    return known or MetricText(plain_words(name), "number", "")


def official_text(name: str) -> MetricText:
    """Return label and meaning of a metric of a benchmark."""
    if name in OFFICIAL_METRICS:
        return OFFICIAL_METRICS[name]
    for ending, label, meaning in _DERIVED:
        if name.endswith(ending) and len(name) > len(ending):
            of = official_text(name.removesuffix(ending))
            return MetricText(label.format(of.label), of.kind, meaning)
    words = plain_words(name)
    return MetricText(words if re.match(r"gsm8k|gpt|claude", words) else words[:1].upper() + words[1:], "share", "")


def baseline_words(rule: str) -> str:
    """Return a baseline in words."""
    return BASELINES.get(rule) or OFFICIAL_BASELINES.get(rule) or plain_words(rule)
