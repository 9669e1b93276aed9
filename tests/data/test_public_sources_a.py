"""Rows of public preference sets, in their official layouts, become the groups worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plaudit.data.reading.sources import formats
from plaudit.data.reading.sources.fields import UnusableRowError
from plaudit.data.reading.sources.formats import FORMATS, SOURCES, detect_format
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.errors import DataError

from .rows import GENERAL, read_row

PUBLIC_ROWS = Path(__file__).with_name("public_rows_a.jsonl")

ASK = Message("user", "How do I boil an egg?")


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


# Rows of invented content in the official layouts.
ROWS = {entry["source"]: entry["row"] for entry in map(json.loads, PUBLIC_ROWS.read_text().splitlines())}
SHP, HELPSTEER2, HELPSTEER3 = (ROWS[name] for name in ("shp", "helpsteer2_preference", "helpsteer3_preference"))
ULTRAFEEDBACK, BINARIZED, CLEANED = (
    ROWS[name] for name in ("ultrafeedback", "ultrafeedback_binarized", "ultrafeedback_cleaned")
)
CAPYBARA, ORCA, PKU, NECTAR = (ROWS[name] for name in ("capybara_dpo", "orca_dpo", "pku_saferlhf", "nectar"))
CHOSEN, REJECTED = BINARIZED["chosen"], BINARIZED["rejected"]

DIALOGUE = (Message("user", "Hello"), Message("assistant", "Hello. What is it?"), ASK)
GOOD, BAD, UNSAFE = "Ten minutes in hot water.", "Ask a hen.", "Throw it at a neighbour."

EXPECTED = {
    "hh_rlhf": Group((ASK,), (GOOD, BAD), (Preference(0, 1),)),
    "shp": Group((ASK,), (BAD, GOOD), (Preference(1, 0),), ratings={"score": (12.0, 30.0)}, source="askculinary"),
    "helpsteer2": Group(
        (ASK,),
        (GOOD,),
        ratings={
            "helpfulness": (4.0,),
            "correctness": (4.0,),
            "coherence": (3.0,),
            "complexity": (1.0,),
            "verbosity": (0.0,),
        },
    ),
    "helpsteer2_preference": Group(DIALOGUE, (BAD, GOOD), (Preference(1, 0, margin=2.0),)),
    "helpsteer3_preference": Group(DIALOGUE, (GOOD, BAD), (Preference(0, 1, margin=3.0),), source="general"),
    "ultrafeedback": Group(
        (ASK,),
        (GOOD, BAD, "In water.", "I do not know."),
        ratings={
            "helpfulness": (5.0, 1.0, 3.0, 1.0),
            "honesty": (5.0, None, 4.0, 5.0),
            "instruction_following": (4.0, 2.0, 3.0, 1.0),
            "truthfulness": (5.0, 3.0, 5.0, 5.0),
            "overall_score": (9.0, 3.0, 6.5, 2.0),
            "fine-grained_score": (4.75, 2.0, 3.75, 3.0),
        },
        source="evol_instruct",
    ),
    "ultrafeedback_binarized": Group(
        (ASK,), (GOOD, BAD), (Preference(0, 1, margin=5.5),), ratings={"score": (8.5, 3.0)}
    ),
    "ultrafeedback_cleaned": Group(
        (ASK,), (GOOD, BAD), (Preference(0, 1, margin=2.75),), ratings={"rating": (4.75, 2.0)}, source="sharegpt"
    ),
    "capybara_dpo": Group(
        DIALOGUE, (GOOD, BAD), (Preference(0, 1, margin=1.0),), ratings={"rating": (5.0, 4.0)}, source="Airoboros"
    ),
    "orca_dpo": Group(
        (Message("system", "You are a cook."), ASK),
        (GOOD, BAD),
        (Preference(0, 1, margin=6.0),),
        ratings={"rating": (9.0, 3.0)},
    ),
    "pku_saferlhf_30k": Group(
        (ASK,), (UNSAFE, GOOD), (Preference(1, 0),), ratings={"safer": (0.0, 1.0), "safe": (0.0, 1.0)}
    ),
    "pku_saferlhf": Group(
        (ASK,),
        (UNSAFE, GOOD),
        (Preference(0, 1),),
        ratings={"safer": (0.0, 1.0), "safe": (0.0, 1.0), "severity_level": (2.0, 0.0)},
    ),
    "nectar": Group(
        DIALOGUE,
        ("Ten minutes.", "Nine minutes.", "In water.", "Hot water.", "Try it.", "No.", "Ask a hen."),
        ranks=(1, 2, 3, 4, 5, 6, 7),
        source="sharegpt+lmsys-chat-1m",
    ),
    "skywork_v0_2": Group((ASK,), (GOOD, BAD), (Preference(0, 1),), source="helpsteer2"),
}


def test_there_is_an_expected_group_for_every_row():
    assert ROWS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_row_in_the_official_layout_is_the_group_worked_out_by_hand(name):
    assert read_row(ROWS[name], SOURCES[name].format) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_row_in_the_official_layout_shows_its_format_and_no_other(name):
    format = SOURCES[name].format
    assert detect_format(ROWS[name]) == format
    others = [shown.name for shown in FORMATS.values() if shown.name not in GENERAL and shown.fits(ROWS[name])]
    assert others in ([format], [])


@pytest.mark.parametrize("name", EXPECTED)
def test_without_a_column_that_a_source_needs_its_row_is_refused_or_says_less(name):
    source = SOURCES[name]
    looked_at = FORMATS[source.format].fields - ({"prompt"} if source.format == "scored_pair" else set())
    for column in looked_at & ROWS[name].keys():
        less = {key: value for key, value in ROWS[name].items() if key != column}
        try:
            group = read_row(less, source.format)
        except DataError:
            continue
        assert group != EXPECTED[name]


def aspect(rating):
    return {"Rating": rating, "Rationale": "So it is."}


def changed(row, **fields):
    return {**row, **fields}


def answered(*answers):
    return changed(NECTAR, answers=[{"answer": text, "model": "m", "rank": rank} for text, rank in answers])


def annotated(place, **fields):
    entries = list(ULTRAFEEDBACK["completions"])
    entries[place] = {**entries[place], **fields}
    return changed(ULTRAFEEDBACK, completions=entries)


UNUSABLE = [
    ("shp", changed(SHP, labels=1), "the label contradicts the ratings"),
    ("shp", changed(SHP, human_ref_A=SHP["human_ref_B"] + "\n"), "chosen equals rejected"),
    ("shp", changed(SHP, history="\n"), "empty turn in the prompt"),
    ("helpsteer_pair", changed(HELPSTEER2, response_1=HELPSTEER2["response_2"]), "chosen equals rejected"),
    (
        "helpsteer_pair",
        changed(HELPSTEER2, prompt="Hi\n<extra_id_1>Assistant\nYes?"),
        "prompt ends in an assistant turn",
    ),
    ("helpsteer_pair", changed(HELPSTEER2, prompt="Hi\n<extra_id_1>System\nX"), "a mark of a turn names no role"),
    ("helpsteer_pair", changed(HELPSTEER3, context=HELPSTEER3["context"][:2]), "prompt ends in an assistant turn"),
    ("helpsteer_pair", changed(HELPSTEER3, context=[user(" ")]), "empty turn in the prompt"),
    ("ultrafeedback", changed(ULTRAFEEDBACK, instruction=""), "empty turn in the prompt"),
    ("ultrafeedback", changed(ULTRAFEEDBACK, completions=[]), "no response to the prompt"),
    ("scored_pair", changed(BINARIZED, rejected=CHOSEN), "chosen equals rejected"),
    ("scored_pair", changed(BINARIZED, score_chosen=2.5), "the label contradicts the ratings"),
    ("scored_pair", changed(CAPYBARA, rejected=REJECTED), "dialogues differ before the last turn"),
    ("distilabel_orca", changed(ORCA, rating=None, status="tie"), "neither response is rated"),
    ("distilabel_orca", changed(ORCA, rating=[9.0, 3.0]), "the label contradicts the ratings"),
    ("distilabel_orca", changed(ORCA, rating=[9.0, 9.0]), "the label contradicts the ratings"),
    ("distilabel_orca", changed(ORCA, status="tie"), "the label contradicts the ratings"),
    ("distilabel_orca", changed(ORCA, input=""), "empty turn in the prompt"),
    ("distilabel_orca", changed(ORCA, rejected=ORCA["chosen"]), "chosen equals rejected"),
    ("safe_rlhf", changed(PKU, response_0=PKU["response_1"]), "chosen equals rejected"),
    ("safe_rlhf", changed(PKU, prompt=""), "empty turn in the prompt"),
    ("nectar", changed(NECTAR, answers=[]), "no response to the prompt"),
    ("nectar", changed(NECTAR, prompt="\n\nHuman: Hi\n\nAssistant: Well,"), "prompt ends in an assistant turn"),
    ("nectar", changed(NECTAR, prompt="\n\nHuman: \n\nAssistant: "), "empty turn in the prompt"),
]


@pytest.mark.parametrize(("format", "row", "reason"), UNUSABLE)
def test_a_row_that_teaches_nothing_has_its_own_reason(format, row, reason):
    with pytest.raises(UnusableRowError) as caught:
        read_row(row, format)
    assert caught.value.reason == reason


EMPTY = [
    ("shp", changed(SHP, human_ref_A=" ")),
    ("helpsteer_pair", changed(HELPSTEER2, response_2="")),
    ("ultrafeedback", annotated(2, response="")),
    ("scored_pair", changed(BINARIZED, rejected=[CHOSEN[0], assistant("")])),
    ("safe_rlhf", changed(PKU, response_1="")),
    ("nectar", answered(("A", 1.0), ("", 2.0))),
]


@pytest.mark.parametrize(("format", "row"), EMPTY)
def test_an_empty_response_stays_in_its_group_with_its_siblings(format, row):
    group = read_row(row, format)
    assert sum(not response.strip() for response in group.responses) == 1
    assert len(group.responses) > 1


MALFORMED = [
    ("shp", changed(SHP, labels=2), "labels is 2; allowed: true, false, 1, 0 or null"),
    ("shp", changed(SHP, labels=None), "labels is missing; the row has: post_id, "),
    ("shp", changed(SHP, score_A="1,2"), "score_A is '1,2'; it must be a number"),
    ("shp", changed(SHP, domain=7), "domain is 7; it must be a string"),
    ("helpsteer_pair", changed(HELPSTEER2, preference_strength=4), "preference_strength is 4; it must be an integer"),
    ("helpsteer_pair", changed(HELPSTEER2, preference_strength=0.5), "preference_strength is 0.5; it must be an"),
    ("helpsteer_pair", changed(HELPSTEER2, preference_strength=None), "preference_strength is missing"),
    ("helpsteer_pair", changed(HELPSTEER3, response2=None), "response_2 is missing; the row needs one of: response_2"),
    ("helpsteer_pair", changed(HELPSTEER3, context=[]), "context is an empty list"),
    ("helpsteer_pair", changed(HELPSTEER3, context="Hi"), "context is 'Hi'; it must be a list"),
    ("helpsteer_pair", changed(HELPSTEER2, response2="C"), "response_2 and response2 are both given"),
    (
        "ultrafeedback",
        annotated(1, annotations={"honesty": aspect("very")}),
        "completions[1].annotations.honesty.Rating is 'very'; it must be a number or 'N/A'",
    ),
    ("ultrafeedback", annotated(1, annotations={"honesty": aspect("nan")}), "annotations.honesty.Rating is nan"),
    (
        "ultrafeedback",
        annotated(3, overall_score="9/10"),
        "completions[3].overall_score is '9/10'; it must be a number",
    ),
    ("ultrafeedback", annotated(0, response=None), "completions[0].response is missing; completions[0] has: model"),
    ("scored_pair", changed(CLEANED, **{"chosen-rating": "4*"}), "chosen-rating is '4*'; it must be a number"),
    ("distilabel_orca", changed(ORCA, status="better"), "status is 'better'; allowed: unchanged, swapped, tie"),
    ("distilabel_orca", changed(ORCA, generations=["A", "B"]), "generations are other texts than chosen and rejected"),
    ("distilabel_orca", changed(ORCA, rating=[9.0]), "rating has 1 entries for 2 generations"),
    ("distilabel_orca", changed(ORCA, rating=[None, 9.0]), "rating[0] is missing; both responses must be rated"),
    ("safe_rlhf", changed(PKU, better_response_id=2), "better_response_id is 2; allowed: 0, 1"),
    ("safe_rlhf", changed(PKU, safer_response_id=-1), "safer_response_id is -1; allowed: 0, 1"),
    ("safe_rlhf", changed(PKU, is_response_0_safe="no"), "is_response_0_safe is 'no'; allowed: true"),
    ("nectar", answered(("A", 1.5), ("B", 2.0)), "answers[0].rank is 1.5; it must be an integer"),
    ("nectar", answered((None, 1.0)), "answers[0].answer is missing"),
    ("nectar", changed(NECTAR, prompt="How do I boil an egg?"), "a transcript must open with 'Human:'"),
    ("nectar", changed(NECTAR, source=["a", 1]), "source[1] is 1; it must be a string"),
]


@pytest.mark.parametrize(("format", "row", "message"), MALFORMED)
def test_a_malformed_row_is_an_error_that_names_the_field(format, row, message):
    with pytest.raises(DataError) as caught:
        read_row(row, format)
    assert not isinstance(caught.value, UnusableRowError)
    assert message in str(caught.value)


def test_bad_rows_of_a_public_set_are_counted_under_their_reasons_and_never_guessed(write_rows, read):
    rows = [ULTRAFEEDBACK, annotated(2, response=" "), annotated(0, overall_score="high"), ULTRAFEEDBACK]
    report = read(write_rows(rows), on_error="skip").report
    assert (report.format, report.rows, report.groups) == ("ultrafeedback", 4, 3)
    assert report.dropped == {"malformed completions[].overall_score": 1}
    assert report.noted == {"empty response": 1}
    assert report.ignored_fields == ("correct_answers", "incorrect_answers", "models")


def test_ties_are_kept_as_ties():
    even = read_row(changed(HELPSTEER2, preference_strength=0), "helpsteer_pair")
    assert even.preferences == (Preference(0, 1, margin=0.0, probability=0.5),)
    judged = read_row(changed(ORCA, rating=[7.0, 7.0], status="tie"), "distilabel_orca")
    assert judged.preferences == (Preference(0, 1, margin=0.0, probability=0.5),)
    assert judged.ratings == {"rating": (7.0, 7.0)}
    shared = read_row(answered(("A", 1.0), ("B", 2.0), ("C", 2.0), ("D", None)), "nectar")
    assert shared.ranks == (1, 2, 2, None)
    assert read_row(changed(BINARIZED, score_rejected=8.5), "scored_pair").preferences[0].margin == 0.0


def test_missing_labels_stay_missing():
    assert read_row(changed(SHP, score_A=None, score_B=None), "shp").ratings == {}
    assert read_row(changed(SHP, score_B=None), "shp").ratings == {"score": (12.0, None)}
    half = read_row(changed(CLEANED, **{"rejected-rating": None}), "scored_pair")
    assert (half.ratings, half.preferences) == ({"rating": (4.75, None)}, (Preference(0, 1),))
    bare = read_row(annotated(0, annotations=None, overall_score=None, **{"fine-grained_score": None}), "ultrafeedback")
    assert [values[0] for values in bare.ratings.values()] == [None] * 6
    only = changed(ULTRAFEEDBACK, completions=[{"response": GOOD, "annotations": {}, "overall_score": 4.0}])
    assert read_row(only, "ultrafeedback").ratings == {"overall_score": (4.0,)}
    unsaid = changed(ORCA, system="")
    assert read_row(unsaid, "distilabel_orca").prompt == (ASK,)


def test_the_source_of_a_row_comes_before_its_domain():
    assert read_row(changed(SHP, source="mine"), "shp").source == "mine"
    assert read_row(changed(SHP, domain="askscience"), "shp").source == "askscience"
    assert read_row(changed(HELPSTEER3, source="mine"), "helpsteer_pair").source == "mine"


def test_the_same_rows_in_parquet_read_the_same(tmp_path, read):
    for name, expected in EXPECTED.items():
        plain = {key: value for key, value in ROWS[name].items() if value != []}
        path = tmp_path / f"{name}.parquet"
        datasets.Dataset.from_list([plain]).to_parquet(path)
        (group,) = read(path)
        assert group == Group(
            expected.prompt,
            expected.responses,
            expected.preferences,
            expected.ranks,
            expected.ratings,
            id=f"{name}:1",
            source=expected.source or name,
        )


def test_every_name_of_a_format_is_given_once():
    listed = [format for module in formats._MODULES for format in module.FORMATS]
    assert len(listed) == len(FORMATS) == len({format.name for format in listed})
    assert all(format.fields for format in listed)


@given(strength=st.integers(-3, 3))
def test_responses_that_change_places_change_the_sign_of_the_strength(strength):
    one = read_row(changed(HELPSTEER2, preference_strength=strength), "helpsteer_pair")
    swapped = {"response_1": HELPSTEER2["response_2"], "response_2": HELPSTEER2["response_1"]}
    other = read_row(changed(HELPSTEER2, **swapped, preference_strength=-strength), "helpsteer_pair")
    assert preferred(one) == preferred(other)
    assert one.preferences[0].margin == other.preferences[0].margin == abs(strength)


@given(first=st.integers(1, 99), second=st.integers(1, 99), label=st.sampled_from([0, 1]))
def test_comments_that_change_places_change_the_label(first, second, label):
    row = changed(SHP, score_A=first, score_B=second, labels=label)
    mirror = changed(
        SHP,
        human_ref_A=SHP["human_ref_B"],
        human_ref_B=SHP["human_ref_A"],
        score_A=second,
        score_B=first,
        labels=1 - label,
    )
    lower = (first, second)[1 - label] < (first, second)[label]
    if lower:
        for each in (row, mirror):
            with pytest.raises(UnusableRowError, match="contradicts"):
                read_row(each, "shp")
        return
    one, other = read_row(row, "shp"), read_row(mirror, "shp")
    assert preferred(one) == preferred(other)
    assert one.ratings["score"] == other.ratings["score"][::-1]


def preferred(group):
    """The texts of the chosen and the rejected response; of a tie, both without an order."""
    (preference,) = group.preferences
    texts = group.responses[preference.chosen], group.responses[preference.rejected]
    return frozenset(texts) if preference.probability == 0.5 else texts


def test_every_pair_of_ultrafeedback_follows_from_a_rating_only_where_it_is_asked_for(write_rows, read):
    path = write_rows([ULTRAFEEDBACK])
    assert read(path)[0].preferences == ()
    (group,) = read(path, ranks_from="fine-grained_score", pairs="all")
    assert group.ranks == (1, 4, 2, 3)
    assert {(pair.chosen, pair.rejected) for pair in group.preferences} == {
        (0, 1),
        (0, 2),
        (0, 3),
        (2, 1),
        (3, 1),
        (2, 3),
    }
