"""Recipes are found in a checkout and in a wheel, listed and copied."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plaudit.cli import recipes
from plaudit.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "shelf"
    for name in ("small", "large"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.yaml").write_text(f"name: {name}\n")
        run = "torchrun --nproc-per-node 8 -m plaudit train x" if name == "large" else "plaudit train x"
        (folder / name / "README.md").write_text(
            f"# {name}\n\nTrains a `{name}` model, as [its page](p.md) says.\n\n"
            f"```sh\npip install words      # brings them\n\n{run}\n```\n"
        )
    (folder / "small" / "result.json").write_text("{}\n")
    (folder / "README.md").write_text("# Recipes\n")
    monkeypatch.setattr(recipes, "recipes_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_list_shows_every_recipe_with_its_sentence_and_whether_it_was_measured(shelf):
    shown = CliRunner().invoke(app, ["recipes", "list"])
    assert shown.exit_code == 0
    lines = [line.split("│")[1:5] for line in shown.output.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["large", "Trains a large model, as its page says.", "8 GPUs", "no"],
        ["small", "Trains a small model, as its page says.", "CPU", "yes"],
    ]


def test_a_recipe_is_copied_whole_and_never_over_something(shelf):
    copied = CliRunner().invoke(app, ["recipes", "copy", "small"])
    assert copied.exit_code == 0
    assert copied.stdout == (
        "wrote small\nneeds: pip install words  # brings them\n"
        "next: plaudit train small/config.yaml, or try it first: plaudit train small/config.yaml --tiny\n"
    )
    assert Path("small/config.yaml").read_text() == "name: small\n"
    again = CliRunner().invoke(app, ["recipes", "copy", "small"])
    assert again.exit_code == 2
    assert "error: small exists; name another folder" in again.stderr
    assert CliRunner().invoke(app, ["recipes", "copy", "small", "mine/first"]).exit_code == 0
    assert Path("mine/first/README.md").is_file()


def test_a_copied_recipe_says_which_verb_trains_it(shelf):
    (shelf / "large" / "config.yaml").write_text("train: {name: large}\nunlabelled: []\n")
    (shelf / "mixed" / "one").mkdir(parents=True)
    (shelf / "mixed" / "one" / "config.yaml").write_text("name: one\nparts:\n")
    for name, verb in (("small", "train"), ("large", "ssrm"), ("mixed/one", "data show")):
        shown = CliRunner().invoke(app, ["recipes", "copy", name])
        assert f"next: plaudit {verb} {Path(name).name}/config.yaml" in shown.output


def test_a_recipe_with_unlabelled_groups_is_another_verb_s(shelf):
    (shelf / "small" / "config.yaml").write_text("train: {name: small}\nunlabelled:\n  - {path: a.jsonl}\n")
    copied = CliRunner().invoke(app, ["recipes", "copy", "small"])
    assert copied.stdout.endswith("\nnext: plaudit ssrm small/config.yaml\n")


def test_a_misspelt_recipe_is_answered_with_the_nearest_one(shelf):
    shown = CliRunner().invoke(app, ["recipes", "copy", "smal"])
    assert shown.exit_code == 2
    assert shown.stderr == "error: unknown recipe 'smal'; did you mean 'small'?\n"


def test_a_checkout_reads_the_recipes_at_its_top():
    assert recipes.recipes_folder(ROOT / "src" / "plaudit") == ROOT / "recipes"


def test_a_wheel_carries_the_recipes_and_the_data_files_of_the_checkout(tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    package = tmp_path / "site" / "plaudit"
    source = ROOT / "src" / "plaudit"
    beside = {
        path.relative_to(source) for path in source.rglob("*.*") if path.suffix in {".toml", ".j2", ".css", ".typed"}
    }
    assert {"sources.toml", "benchmarks.toml", "words.toml", "names.toml", "patterns.toml"} <= {
        path.name for path in beside
    }
    assert [str(path) for path in beside if not (package / path).is_file()] == []
    found = recipes.recipes_folder(package)
    assert found == package / "recipes_data"
    assert recipes.recipe_names(found) == recipes.recipe_names(ROOT / "recipes")
    assert (found / "README.md").is_file()
    assert not (tmp_path / "site" / "tests").exists()
