"""The classes of a step: stated by the format or the options, checked, kept through columns and files."""

from __future__ import annotations

import json

import pytest

from plaudit.data.reading.read import read_groups
from plaudit.data.reading.sources.groups import group_to_row
from plaudit.data.schema.columns import row_hash
from plaudit.data.schema.group import Group, Step, conversation
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError, InvalidGroupError

THREE = (-1.0, 0.0, 1.0)


def group(label=0.0, classes=None, **changes):
    return Group(
        **({"prompt": conversation("p"), "responses": ("r",), "id": "g"} | changes),
        steps=((Step(1, label),),),
        step_classes=classes,
    )


def read(tmp_path, *rows, **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read_groups(path, cache_dir=tmp_path / "cache", **options))


STEPWISE = {"prompt": "p", "steps": ["a", "b"]}


@pytest.mark.parametrize(
    ("labels", "options", "classes"),
    [
        ([True, None], {}, (0.0, 1.0)),
        ([1, 0], {}, None),
        ([1, 0], {"step_classes": (-1, 0, 1)}, THREE),
        ([1, True], {"step_classes": (-1, 0, 1)}, THREE),
    ],
)
def test_true_and_false_are_two_classes_and_numbers_what_the_options_say(tmp_path, labels, options, classes):
    (found,) = read(tmp_path, STEPWISE | {"labels": labels}, **options)
    assert found.step_classes == classes


def test_formats_state_their_classes(tmp_path):
    step = {"completions": [{"text": "a", "rating": 0}], "chosen_completion": 0}
    (found,) = read(tmp_path, {"question": {"problem": "p"}, "label": {"steps": [step]}})
    assert found.step_classes == THREE
    (found,) = read(tmp_path, {"input": "p Step 1: a ки", "label": "p Step 1: a +"}, format="math_shepherd")
    assert found.step_classes == (0.0, 1.0)


def test_they_are_kept_in_files_in_columns_and_in_the_hash(tmp_path):
    stated = group(0.0, THREE)
    (again,) = read(tmp_path, group_to_row(stated), format="groups", source="")
    assert again.step_classes == THREE
    assert list(GroupSet.from_groups([stated, group()])) == [stated, group()]
    assert row_hash(stated) != row_hash(group())


def test_the_row_goes_before_the_options(tmp_path):
    (found,) = read(tmp_path, group_to_row(group(0.0, (0.0, 1.0))), format="groups", step_classes=THREE)
    assert found.step_classes == (0.0, 1.0)


@pytest.mark.parametrize(
    ("label", "classes", "words"),
    [
        (-1.0, (0.0, 1.0), r"steps\[0\]\[0\]\.label is -1, outside the step_classes 0, 1"),
        (0.0, (1.0, 0.0), "must be two or more numbers that ascend"),
        (0.0, (1.0,), "must be two or more numbers that ascend"),
    ],
)
def test_labels_outside_the_classes_and_classes_out_of_order_are_refused(label, classes, words):
    with pytest.raises(InvalidGroupError, match=words):
        group(label, classes)


def test_rows_of_one_prompt_with_other_classes_are_not_joined(tmp_path):
    rows = [group_to_row(group(0.0, classes, responses=(text,))) for classes, text in ((THREE, "a"), ((0.0, 1.0), "b"))]
    with pytest.raises(DataError, match="their steps have other classes"):
        read(tmp_path, *rows, format="groups", group_by_prompt=True)
    (joined,) = read(tmp_path, rows[0], rows[0] | {"responses": ["c"]}, format="groups", group_by_prompt=True)
    assert joined.step_classes == THREE
