"""Process models that read a step at the separator behind it, as TRL's ``PRMTrainer`` trains them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from transformers import BatchEncoding
from typing_extensions import override

from plaudit.batching.encode import Encoder, LeftOut, PlacedResponse, RenderedResponse
from plaudit.data.schema.group import Group, Step
from plaudit.data.schema.steps import split_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class SeparatedEncoder(Encoder):
    """Encodes the text before a response, then each step and the separator behind it; the last token of that is read.

    The separator also stands behind the last step. Prompt, steps and separators are tokenised each by itself, so that
    none of their tokens merge, and a BOS is put before the prompt where the chat template writes one. White space
    around a step is left out unless it comes with no separator before it; text behind the last step is not read.

    Source: ``PRMTrainer.tokenize_row`` of TRL (trl/trainer/prm_trainer.py, later trl/experimental/prm).
    """

    separator: str

    @override
    def _placed(
        self, group: Group, k: int, encoded: BatchEncoding, index: int, made: RenderedResponse
    ) -> PlacedResponse | LeftOut:
        given = group.steps[k] if group.steps else None
        response = group.responses[k]
        steps = split_steps(response, self.separator) if given is None else given
        bos = self.tokenizer.bos_token
        before = made.text[: made.start]
        opening = [self.tokenizer.bos_token_id] if bos and before.startswith(bos) else []
        ids: list[int] = [*opening, *self._tokens(before.removeprefix(bos) if opening and bos else before)]
        start = len(ids)
        closing = self._tokens(self.separator)
        places: list[int] = []
        for text in self._texts(response, steps):
            ids += self._tokens(text) + closing
            places.append(len(ids) - 1)
        read = () if given is None else tuple(places)
        labels = () if given is None else tuple(step.label for step in given)
        return PlacedResponse(np.asarray(ids, dtype=np.int32), start, read, labels)

    def _texts(self, response: str, steps: tuple[Step, ...]) -> Iterator[str]:
        """Yield the text of each step without the separator before it."""
        end = 0
        for step in steps:
            text = response[end : step.end]
            yield text.removeprefix(self.separator) if text.startswith(self.separator) else text.lstrip()
            end = step.end

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
