"""Losses at tokens (outcomes) and at the ends of steps (process labels), and the objectives on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import override

from plaudit.errors import DataError, ModelError
from plaudit.objectives.numerics import at_least_float32, segment_mean
from plaudit.objectives.objective import (
    BatchLabels,
    Coefficient,
    ItemLosses,
    Needs,
    ObjectiveSection,
    OptimizerStepRewards,
    Rewards,
    SpanOf,
    required,
    right_side,
    weighed,
)
from plaudit.objectives.pairwise import language_model_loss
from plaudit.objectives.pointwise import outcome_loss, outcome_metrics
from plaudit.statistics.steps import wrong_below

Over = Literal["classes", "vocabulary"]
"""Total of the probabilities of the classes: over the classes alone, or over the whole vocabulary."""


def token_outcome_loss(
    logits: Float[Tensor, " token"], outcome: Float[Tensor, " response"], token_response: Int[Tensor, " token"]
) -> Float[Tensor, " response"]:
    """Mean over the tokens of each response of the binary cross-entropy with the outcome of the whole response.

    Each token of a response has the same label, so the model learns at every token how likely the response is to end
    well: a value function. A response of unknown outcome (NaN), or without tokens, has loss 0.

    Args:
        logits: logit of "right" at each token of the responses.
        outcome: outcome of each response.
        token_response: the response of each token.

    Source: Cobbe et al. (2021, arXiv 2110.14168), section 4.2, token-level verifier.
    """
    return segment_mean(outcome_loss(logits, outcome[token_response]), token_response, len(outcome))


def process_loss(
    columns: Float[Tensor, "step column"],
    labels: Float[Tensor, " step"],
    *,
    classes: Sequence[float],
    over: Over = "classes",
) -> Float[Tensor, " step"]:
    r"""Cross-entropy of each reasoning step with its label.

    .. math:: \ell = -\sum_k t_k \log p_k

    with targets :math:`t` from ``step_targets``. An unlabelled step (NaN) has no loss and no gradient.

    Args:
        columns: one logit per class at the end of each step; or one column, the logit of the upper of two classes.
        labels: label of each step.
        classes: label of each class, ascending.
        over: ``classes`` takes the softmax over the columns, so log-probabilities of class tokens are made relative to
            one another; ``vocabulary`` takes the columns for log-probabilities already, of tokens among all others, so
            the model must also learn to say a class at all.

    Raises:
        ModelError: when the number of columns does not fit the classes.
        DataError: when a label lies outside the classes.

    Source: Lightman et al. (2023, arXiv 2305.20050), three classes; Wang et al. (2024, Math-Shepherd, arXiv
    2312.08935), eqs. 3 to 5, two classes, hard and soft.
    """
    targets = step_targets(labels, classes).to(at_least_float32(columns).dtype)
    log_p = class_log_probabilities(columns, len(classes), over=over)
    return -(targets * log_p).sum(dim=1).masked_fill(labels.isnan(), 0.0)


def class_log_probabilities(
    columns: Float[Tensor, "step column"], num_classes: int, *, over: Over = "classes"
) -> Float[Tensor, "step class"]:
    """Return the log-probability of each class; for the columns see ``process_loss``.

    Raises:
        ModelError: when the number of columns does not fit the classes.
    """
    values = at_least_float32(columns)
    if values.shape[1] == 1 and num_classes == 2 and over == "classes":
        return torch.cat([F.logsigmoid(-values), F.logsigmoid(values)], dim=1)
    if values.shape[1] != num_classes:
        raise ModelError(
            f"the head gives {values.shape[1]} outputs per step, for {num_classes} classes over the {over}; it must "
            f"give one for each class{' (or one alone)' if num_classes == 2 and over == 'classes' else ''}"
        )
    return values if over == "vocabulary" else torch.log_softmax(values, dim=1)


def step_targets(labels: Float[Tensor, " step"], classes: Sequence[float]) -> Float[Tensor, "step class"]:
    """Return the share of each class in each label: linear between the two classes that the label lies between.

    A label that is a class has the whole share there; −0.25 with classes −1, 0, 1 has ¼ at −1 and ¾ at 0. The mean of
    the classes under the shares is the label. An unlabelled step (NaN) has the first class; its loss is masked.

    Raises:
        DataError: when a label lies outside the classes.
    """
    values = at_least_float32(labels)
    values = values.masked_fill(values.isnan(), classes[0])
    points = torch.tensor(classes, dtype=values.dtype, device=values.device)
    if len(values):
        check_step_labels(values.min().item(), values.max().item(), classes)
    upper = torch.bucketize(values, points, right=True).clamp(max=len(classes) - 1)
    low, high = points[upper - 1], points[upper]
    share = ((values - low) / (high - low))[:, None]
    one_hot = torch.eye(len(classes), dtype=values.dtype, device=values.device)
    return (1.0 - share) * one_hot[upper - 1] + share * one_hot[upper]


def check_step_labels(lowest: float, highest: float, classes: Sequence[float]) -> None:
    """Raise DataError where the lowest or the highest label of some steps lies outside the classes."""
    if lowest < classes[0] or highest > classes[-1]:
        named = ", ".join(f"{value:g}" for value in classes)
        raise DataError(
            f"a step has the label {lowest if lowest < classes[0] else highest:g}, outside the classes {named}; "
            "objective.classes must reach from the lowest to the highest label of the data"
        )


def up_to_first_error(
    labels: Float[Tensor, " step"], step_response: Int[Tensor, " step"], classes: Sequence[float]
) -> Bool[Tensor, " step"]:
    """Return whether each step stands before its response's first wrong step, or is that step itself.

    A step is wrong where its label is nearer to the lowest class than to the next; an unlabelled one is not. What
    follows an error is neither right nor wrong, and PRM800K stops there.
    """
    wrong = (labels < wrong_below(classes)).long()
    order = torch.argsort(step_response, stable=True)
    before = torch.cumsum(wrong[order], 0) - wrong[order]
    count = int(step_response.max()) + 1 if len(step_response) else 0
    earlier = before.new_full((count,), len(labels)).scatter_reduce(0, step_response[order], before, reduce="amin")
    kept = torch.empty_like(labels, dtype=torch.bool)
    kept[order] = before == earlier[step_response[order]]
    return kept


class TokenOutcome(ObjectiveSection):
    """Binary cross-entropy on the outcome at every token of the response (Cobbe et al., 2021)."""

    type: Literal["token_outcome"] = "token_outcome"
    """Name of the objective."""
    language_model: Coefficient = 0.0
    """Coefficient of the language-model loss on the response, of the joint form; above 0 keeps the LM head."""

    @property
    def needs(self) -> Needs:
        """Return outcomes and the tokens, and their likelihood in the joint form."""
        return Needs(
            heads=("token", "language_model"), labels="outcomes", tokens=True, log_likelihood=self.language_model > 0
        )

    def weights(self, labels: BatchLabels) -> Float[Tensor, " response"]:
        """Return 1 for a response whose outcome is known and that has tokens, else 0."""
        has_tokens = torch.bincount(labels.token_response, minlength=labels.num_responses) > 0
        return (has_tokens & ~labels.outcome.isnan()).float()

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per response.

        ``accuracy`` and ``rewards`` are of the last token of a response, by which it is used; ``token_accuracy`` is the
        share of its tokens that already tell its outcome.
        """
        count, owner = labels.num_responses, labels.token_response
        logits = required(rewards, "tokens", objective=self.type)
        losses = token_outcome_loss(logits, labels.outcome, owner)
        last = owner.new_zeros(count).scatter_reduce(0, owner, torch.arange(len(owner), device=owner.device), "amax")
        final = logits[last] if len(logits) else logits.new_zeros(count)
        logged = outcome_metrics(final, labels.outcome)
        right = right_side(logits.detach(), labels.outcome[owner])
        logged["token_accuracy"] = segment_mean(right, owner, count)
        if self.language_model > 0:
            likelihood = required(rewards, "log_likelihood", objective=self.type)
            text = language_model_loss(likelihood, owner, count)
            losses = losses + self.language_model * text
            logged["language_model_loss"] = text
        return weighed(losses, self.weights(labels), logged)


class Process(ObjectiveSection):
    """Cross-entropy on the labels of reasoning steps, at the end of each step."""

    type: Literal["process"] = "process"
    """Name of the objective."""
    classes: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(min_length=2)] = (0.0, 1.0)
    """Label of each class, ascending: [0, 1], or [-1, 0, 1]. A label between two classes is shared between them."""
    over: Over = "classes"
    """Probability of a class token: relative to the other classes, or among the whole ``vocabulary`` (LM form only)."""
    until_first_error: bool = False
    """Steps behind the first wrong one of a response carry no loss."""
    weight: Literal["step", "response"] = "step"
    """``step``: every labelled step weighs 1. ``response``: the steps of a response share a weight of 1."""

    @model_validator(mode="after")
    def _classes_ascend(self) -> Process:
        if any(high <= low for low, high in zip(self.classes, self.classes[1:], strict=False)):
            raise ValueError(f"classes must ascend; found {', '.join(f'{value:g}' for value in self.classes)}")
        return self

    @property
    def needs(self) -> Needs:
        """Return labels of steps."""
        return Needs(heads=("token", "language_model", "comparison"), labels="steps", classes=self.classes)

    @override
    def check_labels(self, span_of: SpanOf) -> None:
        """Raise DataError where a label of a step lies outside the classes."""
        check_step_labels(*span_of("step_label"), self.classes)

    def _counts(self, labels: BatchLabels) -> Bool[Tensor, " step"]:
        counts = ~labels.step_label.isnan() & ~labels.step_repeats
        if self.until_first_error:
            counts &= up_to_first_error(labels.step_label, labels.step_response, self.classes)
        return counts

    def weights(self, labels: BatchLabels) -> Float[Tensor, " step"]:
        """Return 1 per labelled step, or its share of its response; 0 for steps that carry no loss.

        A step that responses share counts once, for the first of them.
        """
        counts = self._counts(labels).float()
        if self.weight == "step":
            return counts
        total = counts.new_zeros(labels.num_responses).index_add(0, labels.step_response, counts)
        return counts / total[labels.step_response].clamp(min=1)

    def __call__(self, rewards: Rewards, labels: BatchLabels, step: OptimizerStepRewards | None = None) -> ItemLosses:
        """Return one loss per step.

        ``step_accuracy`` is 1 where the likeliest class is that of the label; a label just between two classes counts
        as ½ for either of them, and two classes equally likely are wrong. ``step_rewards`` is the mean of the classes
        under the model's probabilities, ``step_labels`` the label: equal means say that the model is calibrated on
        the whole.
        """
        columns = required(rewards, "steps", objective=self.type)
        losses = process_loss(columns, labels.step_label, classes=self.classes, over=self.over)
        with torch.no_grad():
            log_p = class_log_probabilities(columns, len(self.classes), over=self.over)
            targets = step_targets(labels.step_label, self.classes)
            values = torch.tensor(self.classes, dtype=log_p.dtype, device=log_p.device)
            logged = {
                "step_accuracy": _right_class(log_p, targets),
                "step_rewards": torch.softmax(log_p, dim=1) @ values,
                "step_labels": labels.step_label,
            }
        return weighed(losses, self.weights(labels), logged)


def _right_class(scores: Float[Tensor, "step class"], targets: Float[Tensor, "step class"]) -> Float[Tensor, " step"]:
    """Return the share of the one highest score in the classes of the largest target; 0 where two are highest."""
    highest = scores == scores.max(dim=1, keepdim=True).values
    best = (targets == targets.max(dim=1, keepdim=True).values).to(targets.dtype)
    hit = (highest * best).sum(dim=1) / best.sum(dim=1)
    return torch.where(highest.sum(dim=1) == 1, hit, 0.0)
