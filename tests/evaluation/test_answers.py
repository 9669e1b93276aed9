"""The final answer of a response is found and written in one way."""

from __future__ import annotations

import pytest

from plaudit.errors import ConfigError
from plaudit.evaluation.metrics.answers import LAST_NUMBER, compiled_pattern, extract_answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("She sells 3 * 2 = <<3*2=6>>6.\nA: 1,234.50", "1234.5"),
        ("so it is 26.", "26"),
        ("so it is 26,", "26"),
        ("$1,000,000!", "1000000"),
        ("it falls to -5", "-5"),
        ("the range is 3-5", "5"),
        ("f(x)-7", "7"),
        ("007.10", "7.1"),
        ("-0.0", "0"),
        ("it is -.50", "-0.5"),
        ("in sec.5", "5"),
        ("no number", None),
        ("", None),
    ],
)
def test_the_last_number_is_the_answer(response, answer):
    assert extract_answer(response, compiled_pattern(LAST_NUMBER)) == answer


def test_a_pattern_gives_its_last_match_or_the_first_group_of_it():
    pattern = compiled_pattern(r"The answer is (\S+)|\\boxed\{(.*?)\}")
    assert extract_answer("The answer is A. The answer is 1,200 then 7", pattern) == "1200"
    assert extract_answer("The answer is  ", pattern) is None
    assert extract_answer("x", compiled_pattern(r"[a-z]")) == "x"
    assert extract_answer("B b", compiled_pattern(r"[A-Za-z]")) == "b"


def test_digits_of_any_length_are_kept():
    digits = "1234567890" * 5
    assert extract_answer(f"{digits}.0", compiled_pattern(LAST_NUMBER)) == digits


def test_what_is_no_regular_expression_is_refused():
    with pytest.raises(ConfigError, match=r"answer_pattern '\(' is no regular expression"):
        compiled_pattern("(")
