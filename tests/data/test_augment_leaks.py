"""What a response looks like tells nothing of where it came from or whether it wins; a known broken version does."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from scipy import optimize, special

from plaudit.data.mixing.augment import augmented
from plaudit.data.mixing.config import Counterfactual, Shuffle
from plaudit.data.mixing.report import AugmentTally
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.data.schema.group_set import GroupSet
from plaudit.statistics.intervals import mean_interval

WORDS = ("river", "stone", "winter", "apple", "quiet", "window", "seven", "garden", "letter", "morning")


def confounded_pairs(count, seed=0):
    """Pairs in which the chosen response is longer and bolder than the rejected one, as annotators like it."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        chosen = " ".join(draw.choices(WORDS, k=draw.randint(12, 24)))
        rejected = " ".join(draw.choices(WORDS, k=draw.randint(5, 15)))
        chosen = f"**{chosen}**!" if draw.random() < 0.7 else f"{chosen}."
        rejected = f"{rejected}. {number}"
        found.append((f"Tell me of {number}", f"{chosen} {number}", rejected))
    return found


# ------------------------------------------------------------------------------- the version with the leak
# A row is one text with tags before its parts; the parts are found by splitting at the tags, and what stands between
# them, blanks included, is put into the new texts as it is. The end of response B is the end of the row: " \n".

TAGS = ("[CONTEXT]", "[RESPONSE A]", "[RESPONSE B]")


def as_row(prompt, first, second):
    return f"{TAGS[0]} {prompt} {TAGS[1]} {first} {TAGS[2]} {second} \n"


def parts_of(row):
    rest, parts = row, []
    for tag in reversed(TAGS):
        rest, part = rest.split(tag)
        parts.append(part)
    return parts[::-1]


def leaking_rows(pairs, seed):
    """(prompt, A, B, label, where A stood, where B stood) of the broken version; label 1 says that A wins."""
    draw = random.Random(seed)
    triples = []
    for prompt, chosen, rejected in pairs:
        turned = draw.random() < 0.5
        context, a, b = parts_of(as_row(prompt, *((rejected, chosen) if turned else (chosen, rejected))))
        triples.append((context, (b, int(turned)), (a, 1 - int(turned))) if turned else (context, (a, 0), (b, 1)))
    partners = [draw.sample(triples, len(triples)) for _ in range(2)]
    made = []
    for (context, *own), *others in zip(triples, *partners, strict=True):
        foreign = [response for _, *responses in others for response in responses]
        labelled = [(mine, theirs, 1.0) for mine in own for theirs in foreign]
        labelled += [(first, second, 0.5) for first, second in itertools.combinations(foreign, 2)]
        for first, second, label in labelled:
            if draw.random() < 0.5:
                first, second, label = second, first, 1.0 - label
            made.append((context, first[0], second[0], label, first[1], second[1]))
    return made


# ---------------------------------------------------------------------------------------------- the probe


def looks_of(text):
    """What can be seen of a text without reading it: length, blanks at the ends, marks."""
    stripped = text.strip()
    return [
        np.log1p(len(stripped)),
        len(text) - len(text.lstrip()),
        len(text) - len(text.rstrip()),
        float(text.endswith("\n")),
        float(text.startswith(" ")),
        text.count("**"),
        text.count("!"),
        text.count("."),
        text.count("\n"),
        float(stripped[-1:].isalnum()),
        float(stripped[:1].isupper()),
    ]


def probe_accuracy(features, is_one, prompts):
    """Accuracy, with its interval over prompts, of logistic regression on half of the prompts, fitted on the others."""
    matrix = np.asarray(features, dtype=np.float64)
    matrix = (matrix - matrix.mean(0)) / np.maximum(matrix.std(0), 1e-9)
    matrix = np.column_stack([matrix, np.ones(len(matrix))])
    labels, prompts = np.asarray(is_one, dtype=np.float64), np.asarray(prompts)
    is_fitted = prompts % 2 == 0

    def loss(weights):
        signed = (2 * labels[is_fitted] - 1) * (matrix[is_fitted] @ weights)
        slope = -(special.expit(-signed) * (2 * labels[is_fitted] - 1)) @ matrix[is_fitted] / is_fitted.sum()
        return -special.log_expit(signed).mean() + 5e-4 * weights @ weights, slope + 1e-3 * weights

    weights = optimize.minimize(loss, np.zeros(matrix.shape[1]), jac=True, method="L-BFGS-B").x
    right = ((matrix[~is_fitted] @ weights > 0) == (labels[~is_fitted] == 1)).astype(float)
    return mean_interval(right, prompts[~is_fitted])


def covers_one_half(interval):
    return interval.low <= 0.5 <= interval.high


PAIRS = confounded_pairs(2000)
NUMBER = {text: number for number, each in enumerate(PAIRS) for text in each}


def number_of(text):
    return NUMBER[text.strip()]


def is_hard(preference):
    return preference.probability is None


def given():
    """The pairs as they are in a file: the chosen response first."""
    return [
        Group(conversation(prompt), (chosen, rejected), (Preference(0, 1),), id=f"g{number}")
        for number, (prompt, chosen, rejected) in enumerate(PAIRS)
    ]


def ours(rule=None, *, seed=0):
    """Counterfactual groups made of the parts that the broken version is made of, blanks at their ends included."""
    draw = random.Random(seed)
    groups, place = [], {}
    for number, (prompt, chosen, rejected) in enumerate(PAIRS):
        turned = draw.random() < 0.5
        _, a, b = parts_of(as_row(prompt, *((rejected, chosen) if turned else (chosen, rejected))))
        place |= {a.strip(): 0, b.strip(): 1}
        group = Group(conversation(prompt), (a, b), (Preference(int(turned), 1 - turned),), id=f"g{number}")
        groups.append(group)
    found = augmented(GroupSet.from_groups(groups), rule or Counterfactual(), seed=seed, tally=AugmentTally())
    return [group for group in found if "#" in group.id], place


def wins(groups, seed=0):
    """(differences of looks, whether the first of two responses wins, prompt) of each pair that is no tie.

    Of the pairs of two prompts only those are taken that are in one half, fitted or judged: each text wins and loses
    equally often, so that a text in both halves would win in one what it lost in the other.
    """
    draw = random.Random(seed)
    rows, labels, prompts = [], [], []
    for group in groups:
        for each in group.preferences:
            halves = {number_of(group.responses[index]) % 2 for index in (each.chosen, each.rejected)}
            if is_hard(each) and len(halves) == 1:
                first = draw.random() < 0.5
                two = (each.chosen, each.rejected) if first else (each.rejected, each.chosen)
                looks = [np.asarray(looks_of(group.responses[index])) for index in two]
                rows.append(looks[0] - looks[1])
                labels.append(first)
                prompts.append(number_of(group.prompt[0].content))
    return rows, labels, prompts


def test_the_data_themselves_give_the_winner_away_by_its_looks():
    assert probe_accuracy(*wins(given())).low > 0.95


def test_the_broken_version_tells_where_a_response_stood():
    rows = leaking_rows(PAIRS, seed=1)
    assert len(rows) == 14 * len(PAIRS)
    found = probe_accuracy(
        [looks_of(text) for row in rows for text in row[1:3]],
        [place for row in rows for place in row[4:6]],
        [number_of(text) for row in rows for text in row[1:3]],
    )
    assert found.value == 1.0
    # and that is to be seen in the joined text: about half of the rows do not end as every real row does
    displaced = np.mean([not row[2].endswith(" \n") for row in rows])
    assert 0.45 < displaced < 0.55


@pytest.mark.parametrize("seed", range(3))
def test_ours_does_not_tell_where_a_response_stood(seed):
    groups, place = ours(seed=seed)
    texts = [text for group in groups for text in group.responses]
    found = probe_accuracy(
        [looks_of(text) for text in texts],
        [place[text.strip()] for text in texts],
        [number_of(text) for text in texts],
    )
    assert covers_one_half(found)
    assert found.high - found.low < 0.06


@pytest.mark.parametrize("seed", range(3))
def test_the_looks_of_a_response_do_not_tell_whether_it_wins(seed):
    groups, _ = ours(seed=seed)
    found = probe_accuracy(*wins(groups))
    assert covers_one_half(found)
    assert found.high - found.low < 0.06


def test_with_the_chosen_response_alone_they_would_as_the_config_says():
    groups, _ = ours(Counterfactual(own="chosen"))
    assert probe_accuracy(*wins(groups)).low > 0.6


def test_a_tie_is_told_apart_from_a_win_by_no_look_of_ours_but_by_one_of_the_broken_version():
    # Two borrowed responses of one partner stood at different places: in the broken version, one of them ends in a
    # line break and the other does not. Such pairs are ties more often than others are.
    rows = leaking_rows(PAIRS, seed=1)
    differ = np.array([row[1].endswith("\n") != row[2].endswith("\n") for row in rows])
    is_tie = np.array([row[3] == 0.5 for row in rows])
    # worked out: 4 of 8 wins and 4 of 6 ties differ, so P(tie | differ) = 4 / 8 and P(tie | same) = 2 / 6
    assert is_tie[differ].mean() == pytest.approx(1 / 2, abs=0.02)
    assert is_tie[~differ].mean() == pytest.approx(1 / 3, abs=0.02)
    groups, _ = ours()
    ends = {tuple(text[-1:].isspace() for text in group.responses) for group in groups}
    assert ends == {(False,) * 6} | ({(False,) * 4} & ends)


@pytest.mark.parametrize("rule", [Counterfactual(), Shuffle()])
def test_the_place_in_a_group_tells_nothing_of_who_wins(rule):
    found = list(augmented(GroupSet.from_groups(given()), rule, seed=0, tally=AugmentTally()))
    made = [group for group in found if isinstance(rule, Shuffle) or "#" in group.id]
    decided = [(number, each) for number, group in enumerate(made) for each in group.preferences if is_hard(each)]
    is_first = [float(each.chosen < each.rejected) for _, each in decided]
    assert covers_one_half(mean_interval(is_first, [number for number, _ in decided]))
