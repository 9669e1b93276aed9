"""An empty response has no reward, says so, and takes none of its siblings along, whoever scores it."""

from __future__ import annotations

import pytest

from plaudit.data.schema.group import Group, Step, conversation
from plaudit.models.heads.language_model import COMPARISON, LanguageModelHead
from plaudit.models.heads.token import TokenHead
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer

BLANKS = ("", "   ", "\n\t")
SAID = ("yes, the cat", "no", "blue dog runs")
GROUP = Group(conversation("why two?"), (SAID[0], *BLANKS, *SAID[1:]), id="g")

SCORERS = {
    "scalar": lambda make: RewardScorer(make()),
    "steps": lambda make: RewardScorer(make(head=TokenHead(classes=(0.0, 1.0)))),
    "implicit": lambda make: ImplicitRewardScorer(make(head=LanguageModelHead()), None),
    "all pairs": lambda make: PairwiseScorer(make(head=COMPARISON)),
    "one anchor": lambda make: PairwiseScorer(make(head=COMPARISON), mode="linear"),
}


@pytest.fixture(params=SCORERS)
def scorer(request, make_decoder):
    return SCORERS[request.param](lambda **changes: make_decoder(init_std=0.2, **changes))


def test_the_others_have_the_rewards_that_they_have_without_it(scorer):
    (found,) = scorer.score_groups([GROUP])
    (alone,) = scorer.score_groups([Group(GROUP.prompt, SAID, id="g")])
    assert (found.rewards[0], *found.rewards[4:]) == pytest.approx(alone.rewards, abs=2e-6)
    assert found.rewards[1:4] == (None, None, None)
    assert (found.reason, alone.reason) == ("empty response", None)


def test_python_gives_none_for_it_and_warns(scorer):
    with pytest.warns(UserWarning, match="no reward for response 1, 2, 3: empty response"):
        found = scorer.score("why two?", list(GROUP.responses))
    assert [each is None for each in found] == [False, True, True, True, False, False]


def test_nothing_but_empty_responses_is_no_error(scorer):
    found = list(scorer.score_groups([Group(GROUP.prompt, BLANKS, id="a"), Group(GROUP.prompt, BLANKS[:1], id="b")]))
    assert [each.rewards for each in found] == [(None,) * 3, (None,)]
    assert {each.reason for each in found} == {"empty response"}


def test_a_comparison_with_one_other_response_leaves_nothing_to_compare(make_decoder):
    made = PairwiseScorer(make_decoder(head=COMPARISON))
    (found,) = made.score_groups([Group(GROUP.prompt, ("yes", " "), id="g")])
    assert (found.rewards, found.reason) == ((None, None), "empty response; nothing to compare with")
    assert next(made.best([GROUP])) in (0, 4, 5)


def test_a_process_model_keeps_the_steps_of_the_others(make_decoder):
    made = RewardScorer(make_decoder(head=TokenHead(classes=(0.0, 1.0))))
    steps = ((Step(3, None), Step(12, None)), None, None)
    (found,) = made.score_groups([Group(GROUP.prompt, (SAID[0], "", SAID[1]), steps=steps, id="g")])
    assert [None if each is None else len(each) for each in found.steps] == [2, None, 1]
