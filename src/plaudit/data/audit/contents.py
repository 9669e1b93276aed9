"""Contents of a set of groups: labels, sizes, and for each source its pairs, its lengths and its kind of feedback."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import final

import numpy as np
import numpy.typing as npt

from plaudit.data.audit.length import Cut, unit_lengths
from plaudit.data.schema.group import Group

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_BLOCK = 1000


def _lengths() -> array[int]:
    return array("q")


@final
@dataclass
class SourceContents:
    """Counts and lengths of the groups of one source; a length is that of prompt and response together."""

    groups: int = 0
    pairs: int = 0
    feedback: Counter[str] = field(default_factory=Counter)
    """Groups with each kind of label."""
    chosen: array[int] = field(default_factory=_lengths)
    """[pair] length with the chosen response."""
    rejected: array[int] = field(default_factory=_lengths)
    """[pair] length with the rejected response."""
    longest: int = 0

    def add(self, group: Group, prompt: int, responses: Sequence[int]) -> None:
        """Count a group whose prompt and responses have these lengths."""
        self.groups += 1
        self.feedback.update(labels_of(group))
        self.longest = max(self.longest, prompt + max(responses))
        for preference in group.preferences:
            if preference.probability == 0.5:
                continue
            is_swapped = preference.probability is not None and preference.probability < 0.5
            sides = (preference.chosen, preference.rejected)[:: -1 if is_swapped else 1]
            self.pairs += 1
            for side, lengths in zip(sides, (self.chosen, self.rejected), strict=True):
                lengths.append(prompt + responses[side])


@final
@dataclass
class Contents:
    """Counts of groups by label, by source and by number of responses, and lengths in the unit of ``cut``."""

    unit: str
    labels: Counter[str] = field(default_factory=Counter)
    sources: dict[str, SourceContents] = field(default_factory=dict)
    sizes: Counter[int] = field(default_factory=Counter)
    lengths: dict[str, array[int]] = field(default_factory=dict)
    """Lengths of every prompt, every response, and every prompt with a response."""

    @classmethod
    def of(cls, groups: Iterable[Group], cut: Cut | None = None) -> Contents:
        """Return the contents of ``groups``; a group counts once for each label that it carries."""
        counted = Cut(None) if cut is None else cut
        found = cls(counted.unit, lengths={name: _lengths() for name in ("prompt", "response", "together")})
        iterator = iter(groups)
        while block := list(islice(iterator, _BLOCK)):
            prompts = unit_lengths(["\n".join(turn.content for turn in group.prompt) for group in block], counted)
            responses = iter(unit_lengths([text for group in block for text in group.responses], counted))
            for group, prompt in zip(block, prompts, strict=True):
                found.add(group, prompt, list(islice(responses, len(group.responses))))
        return found

    def add(self, group: Group, prompt: int, responses: Sequence[int]) -> None:
        """Count a group whose prompt and responses have these lengths."""
        self.sizes[len(responses)] += 1
        self.labels.update(labels_of(group) or ["no label"])
        self.sources.setdefault(group.source or "(none)", SourceContents()).add(group, prompt, responses)
        self.lengths["prompt"].append(prompt)
        self.lengths["response"].extend(responses)
        self.lengths["together"].extend(prompt + length for length in responses)

    def quantiles(self, name: str) -> npt.NDArray[np.float64]:
        """Return the ``QUANTILES`` of the lengths of that name."""
        return np.quantile(np.asarray(self.lengths[name]), QUANTILES)


def labels_of(group: Group) -> list[str]:
    """Return the kinds of label that ``group`` carries, each once; a rating by its attribute."""
    kinds = {
        "preferences": bool(group.preferences),
        "preferences with a margin": any(each.margin is not None for each in group.preferences),
        "preferences with a probability": any(each.probability is not None for each in group.preferences),
        "ranks": any(rank is not None for rank in group.ranks or ()),
        "outcomes": any(outcome is not None for outcome in group.outcomes or ()),
        "steps": any(steps for steps in group.steps or ()),
    }
    rated = [name for name, values in group.ratings.items() if any(value is not None for value in values)]
    return [kind for kind, is_there in kinds.items() if is_there] + [f"rating {name}" for name in rated]
