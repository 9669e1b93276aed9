"""A working folder with one of everything that can be spoilt: a model, data, a config, functions, a finished run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROWS = [{"prompt": f"Which {number}?", "chosen": f"good {number}", "rejected": f"bad {number}"} for number in range(12)]

CONFIG = """
name: small
model: {init: {type: pretrained, path: model}, max_length: 64}
data: {train: [{path: pairs.jsonl}], held_out: [{path: pairs.jsonl}]}
step: {max_steps: 2, groups_per_step: 4, save_every: 1, trackers: []}
"""

FUNCTIONS = """
def lengths(prompt, responses):
    return [len(response) for response in responses]
def too_few(prompt, responses):
    return [1.0]
def nothing(prompt, responses):
    return None
def texts(prompt, responses):
    return ["1.5" for response in responses]
def huge(prompt, responses):
    return [10**400 for response in responses]
def not_a_number(prompt, responses):
    return [float("nan") for response in responses]
def missing(prompt, responses):
    return [None for response in responses]
def failing(prompt, responses):
    raise KeyError("weights")
NUMBER = 5
"""


def json_lines(rows):
    """Return rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """A folder with a saved tiny reward model, twelve preferences, a config and a file of functions."""
    from plaudit.models.checkpoint.files import save_reward_model
    from plaudit.models.create import build_decoder, build_tokenizer

    folder = tmp_path_factory.mktemp("original")
    tokenizer = build_tokenizer([json_lines(ROWS)] * 4, vocabulary=300)
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "max_length": 64, "seed": 0}
    save_reward_model(build_decoder(tokenizer, **sizes), folder / "model")
    (folder / "pairs.jsonl").write_text(json_lines(ROWS))
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "functions_to_spoil.py").write_text(FUNCTIONS)
    (folder / "broken_module.py").write_text("def f(:\n")
    return folder


@pytest.fixture
def place(original, tmp_path, monkeypatch):
    """The working folder of one test: a copy of ``original``, with the cache of data beside it."""
    import datasets

    folder = tmp_path / "here"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    for name in ("functions_to_spoil", "broken_module"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def finished(original, tmp_path_factory):
    """A folder with a finished run of two steps, its checkpoints and its evaluation."""
    from plaudit.cli.main import app

    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(original):
        command = ["train", "config.yaml", "--run-dir", str(folder / "run")]
        shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    return folder


@pytest.fixture
def run(place, finished):
    """The finished run, as ``run`` in the working folder."""
    shutil.copytree(finished / "run", place / "run")
    return place / "run"


@pytest.fixture
def invoke():
    """Return a function that runs one command in this process."""
    from plaudit.cli.main import app

    return lambda *command: CliRunner().invoke(app, [str(each) for each in command])


@pytest.fixture
def small_disk():
    """Return a context in which no file can grow beyond some bytes: the system itself refuses, as a full disk does."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited(size):
        kept = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, kept[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, kept)

    return limited


@pytest.fixture
def files_of():
    """Return a function that gives every file below a folder with its content, to see that nothing changed."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            os.path.relpath(path, folder): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }

    return read
