"""The config loader: YAML, overrides, and errors that name the key and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from plaudit.config import Config, dump_config, import_object, load_config
from plaudit.errors import ConfigError


class Pairs(Config):
    """A variant."""

    type: Literal["pairs"] = "pairs"
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0


class Lists(Config):
    """Another variant."""

    type: Literal["lists"] = "lists"
    depth: int | None = None


class Optim(Config):
    """An ordinary section."""

    lr: Annotated[float, Field(gt=0)] = 1e-5
    decay: float = 0.0


class Source(Config):
    """An entry of a list."""

    path: str
    """Where the file is."""
    limit: int | None = None
    shuffle: bool = False


class Adapter(Config):
    """A section that may be absent."""

    r: int = 16
    alpha: int = 32


class Example(Config):
    """A config with every shape that plaudit uses."""

    name: str = "run"
    sources: tuple[Source, ...] = ()
    optim: Optim = Optim(decay=0.1)
    objective: Annotated[Pairs | Lists, Field(discriminator="type")] = Pairs(smoothing=0.1)
    adapter: Adapter | None = None
    logging: Literal["on", "off"] = "on"
    max_tokens: int | Literal["auto"] = "auto"


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def problem(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(Example, path, overrides)
    return str(error.value)


def test_a_file_and_overrides_make_one_config(write):
    path = write("name: first\nsources:\n- path: a.jsonl\n- {path: b.jsonl, limit: 3}\n")
    config = load_config(Example, path, ["optim.lr=3e-6", "sources.1.limit=5", "name=second"])
    assert config == Example(
        name="second",
        sources=(Source(path="a.jsonl"), Source(path="b.jsonl", limit=5)),
        optim=Optim(lr=3e-6, decay=0.1),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1e-5", 1e-5), ("1E5", 1e5), ("3.e-6", 3e-6), (".5", 0.5), ("2", 2.0), ("'1e-5'", 1e-5)],
)
def test_every_spelling_of_a_number_is_a_number(write, text, expected):
    assert load_config(Example, write(f"optim: {{lr: {text}}}")).optim.lr == expected
    assert load_config(Example, None, [f"optim.lr={text}"]).optim.lr == expected


@pytest.mark.parametrize("text", ["1:30", "2024-01-01", "yes", "off", "1_000", "1e"])
def test_text_that_older_yaml_reads_as_something_else_stays_text(write, text):
    assert load_config(Example, write(f"name: {text}")).name == text


def test_off_is_the_word_in_a_choice_and_false_in_a_switch(write):
    config = load_config(Example, write("logging: off\nsources: [{path: a, shuffle: on}]"))
    assert config.logging == "off"
    assert config.sources[0].shuffle is True


def test_a_number_with_a_leading_zero_is_decimal(write):
    assert load_config(Example, write("sources: [{path: a, limit: 010}]")).sources[0].limit == 10


@pytest.mark.parametrize(
    "name",
    [
        "1e-5",
        "off",
        "1:30",
        "2024-01-01",
        "null",
        "~",
        "true",
        "0x1f",
        "007",
        ".inf",
        "<<",
        "a: b",
        "é\n#",
        "",
    ],
)
def test_what_is_written_is_read_back_the_same(write, name):
    config = Example(
        name=name,
        sources=(Source(path="a", limit=None),),
        optim=Optim(lr=1.23456789e-7),
        objective=Lists(depth=3),
        adapter=Adapter(r=2),
    )
    assert load_config(Example, write(dump_config(config))) == config


def test_the_written_config_shows_every_default():
    assert dump_config(Example()).splitlines()[:3] == ["name: run", "sources: []", "optim:"]
    assert "  decay: 0.1" in dump_config(Example())


@pytest.mark.parametrize(
    "order", [["objective.depth=3", "objective.type=lists"], ["objective.type=lists", "objective.depth=3"]]
)
def test_choosing_a_variant_clears_the_old_fields_in_any_order(write, order):
    path = write("objective: {type: pairs, smoothing: 0.2}")
    assert load_config(Example, path, order).objective == Lists(depth=3)


def test_choosing_the_variant_that_is_already_there_keeps_its_fields(write):
    path = write("objective: {type: pairs, smoothing: 0.2}")
    assert load_config(Example, path, ["objective.type=pairs"]).objective == Pairs(smoothing=0.2)


def test_a_field_of_a_section_left_out_keeps_the_other_defaults():
    config = load_config(Example, None, ["optim.lr=1", "objective.smoothing=0.3"])
    assert config.optim == Optim(lr=1.0, decay=0.1)
    assert config.objective == Pairs(smoothing=0.3)


def test_an_optional_section_is_opened_and_closed_by_overrides(write):
    assert load_config(Example, None, ["adapter.r=8"]).adapter == Adapter(r=8, alpha=32)
    assert load_config(Example, write("adapter: null"), ["adapter.r=8"]).adapter == Adapter(r=8)
    assert load_config(Example, write("adapter: {r: 4}"), ["adapter=null"]).adapter is None


def test_a_whole_list_can_be_given_by_an_override():
    assert load_config(Example, None, ["sources=[{path: a, limit: 2}]"]).sources == (Source(path="a", limit=2),)


def test_an_unknown_key_names_file_key_and_near_miss(write):
    path = write(
        "learning: 1\noptim: {lrr: 1}\nobjective: {type: pairs, smothing: 0.1}\nsources: [{path: a, limti: 1}]"
    )
    found = problem(path)
    assert found.startswith("4 problems in the config:")
    assert f"{path}: optim.lrr: unknown key; did you mean 'lr'?" in found
    assert f"{path}: objective.smothing: unknown key; did you mean 'smoothing'?" in found
    assert f"{path}: sources.0.limti: unknown key; did you mean 'limit'?" in found
    assert f"{path}: learning: unknown key; allowed: adapter, logging, max_tokens, name" in found
    assert "pydantic" not in found


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optm.lr=1", "override 'optm.lr=1': optm: unknown key; did you mean 'optim'?"),
        ("optim.lrr=1", "override 'optim.lrr=1': optim.lrr: unknown key; did you mean 'lr'?"),
        ("optim.lr=-1", "override 'optim.lr=-1': optim.lr: found -1; it must be greater than 0"),
        (
            "objective.type=list",
            "override 'objective.type=list': objective.type: found 'list'; did you mean 'lists'?",
        ),
        ("objective.smothing=0", "objective.smothing: unknown key; did you mean 'smoothing'?"),
        ("objective=lists", "objective: found 'lists'; it must be a section of keys and values"),
        ("logging=of", "logging: found 'of'; did you mean 'off'?"),
        ("name=3", "name: found 3; it must be a valid string: put it in quotes"),
        ("name.x=3", "override 'name.x=3': name is 'run', which has no keys below it"),
        ("sources.0.limit=3", "sources is a list; found '0', allowed: none, for the list is empty"),
        ("sources=3", "sources: found 3; it must be a list"),
        ("name", "override 'name' must have the form key=value, like optim.lr=3e-6"),
        ("name=", "override 'name=' has no value; to clear a field write name=null"),
        ("--lr=3", "unknown key"),
        ("name=[1", "override 'name=[1': the value is not YAML"),
    ],
)
def test_a_wrong_override_is_named_with_what_is_allowed(override, expected):
    assert expected in problem(None, override)


def test_both_kinds_that_a_field_takes_are_offered():
    assert problem(None, "max_tokens=autp") == (
        "override 'max_tokens=autp': max_tokens: found 'autp'; it must be a valid integer, "
        "unable to parse string as an integer or did you mean 'auto'?"
    )


def test_an_index_outside_the_list_is_refused(write):
    found = problem(write("sources: [{path: a}, {path: b}]"), "sources.2.limit=1")
    assert "sources is a list; found '2', allowed: an index from 0 to 1" in found


def test_a_fault_of_the_file_is_not_blamed_on_an_override_beside_it(write):
    path = write("objective: {type: pair}")
    assert problem(path, "objective.depth=3").startswith(f"{path}: objective.type: found 'pair'; did you mean 'pairs'?")

    path = write("optm: {lr: 1}")
    assert problem(path, "optm.decay=3") == f"{path}: optm: unknown key; did you mean 'optim'?"


def test_a_missing_field_is_named_with_its_description(write):
    path = write("sources: [{limit: 3}]")
    assert problem(path) == f"{path}: sources.0.path: missing; it must be given (Where the file is.)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\noptim: {}\nname: b", ":3: key 'name' is given twice"),
        ("name: &a [*a]", ":1: an alias stands inside itself"),
        (
            "".join(f"k{n}: &k{n} [{','.join([f'*k{n - 1}' if n else 'x'] * 10)}]\n" for n in range(30)),
            "aliases stand for more than 100,000 values; write out what is meant",
        ),
        ("name: a\nsources: [", ":2: "),
        ("- name", "a config is a mapping of keys to values"),
        ("objective: {smoothing: 0.1}", "objective.type: missing; it must name the variant"),
        ("1: 2", "1: found 1; a key must be text: put it in quotes"),
        ("optim: null", "optim: found null; it must be a section of keys and values"),
        ("name: \x00", "special characters are not allowed"),
    ],
)
def test_a_broken_file_is_named_with_the_line_or_key(write, text, expected):
    found = problem(write(text))
    assert "config.yaml" in found
    assert expected in found


def test_an_anchor_can_be_merged_and_changed(write):
    path = write("sources:\n- &a {path: a, limit: 1}\n- {<<: *a, path: b}\n")
    assert load_config(Example, path).sources == (Source(path="a", limit=1), Source(path="b", limit=1))


def test_a_missing_file_or_one_that_is_not_text_is_named(tmp_path):
    assert "no_such.yaml: No such file" in problem(tmp_path / "no_such.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe")
    assert "binary.yaml: not UTF-8 text" in problem(tmp_path / "binary.yaml")


def test_an_empty_file_is_the_defaults(write):
    assert load_config(Example, write("")) == Example()


def test_a_config_built_in_python_obeys_the_same_rules():
    with pytest.raises(ValueError, match="greater than 0"):
        Optim(lr=-1)
    with pytest.raises(ValueError, match="frozen"):
        Optim().lr = 3


def test_fields_are_described_by_the_docstring_under_them():
    assert Source.model_fields["path"].description == "Where the file is."


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (".relative:name", "it must have the form"),
        ("no_such_module_at_all:name", "cannot be imported"),
        ("module_that_fails:name", "fails on import: NameError"),
    ],
)
def test_an_object_that_cannot_be_imported_is_an_error_that_names_the_key(path, words, tmp_path, monkeypatch):
    (tmp_path / "module_that_fails.py").write_text("no_such_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=words) as caught:
        import_object(path, key="objective.path")
    assert str(caught.value).startswith("objective.path is ")
