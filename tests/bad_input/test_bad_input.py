"""Bad input, as a careless or hostile user gives it on the command line: one line that says what is wrong.

Each row names what is bad, how it is made, the command, and what the error has to say. Every error must leave the
working folder as it was: no output, no part of one, and what was there before unchanged.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

GOOD = {"prompt": "Which?", "chosen": "this one", "rejected": "that"}
SCORE = "score model pairs.jsonl -o out.jsonl"
TRAIN = "train config.yaml --run-dir new"
ITEM = (
    '{"version": 2, "id": "a", "source": "", "prompt_key": "h", "rewards": [1.0, 0.0], "lengths": [1, 1], '
    '"preferences": [[0, 1]]}\n'
)


def nothing() -> None:
    """Spoil nothing: the command itself is bad."""


@dataclass(frozen=True)
class Bad:
    """One kind of bad input; ``leaves`` are files below which a command may leave what it finished."""

    what: str
    make: Callable[[], object]
    command: str
    says: tuple[str, ...]
    leaves: tuple[str, ...] = ()


def text(path: str, content: str | bytes):
    """Return a change that writes a file."""
    data = content if isinstance(content, bytes) else content.encode()

    def make() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)

    return make


def several(*makes):
    """Return a change that is several."""
    return lambda: [make() for make in makes]


def link(path: str):
    """Return a change that makes a symbolic link to an empty folder."""
    return lambda: (Path("real").mkdir(), Path(path).symlink_to("real"))


def gone(path: str):
    """Return a change that removes a file or a folder."""
    return lambda: shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()


def cut(path: str, size: int):
    """Return a change that keeps the first bytes of a file only."""
    return lambda: Path(path).write_bytes(Path(path).read_bytes()[:size])


def folder(path: str):
    """Return a change that makes an empty folder."""
    return lambda: (gone(path)() if Path(path).exists() else None, Path(path).mkdir(parents=True))


def config(**changes):
    """Return a change of the model's config.json."""

    def make() -> None:
        path = Path("model/config.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        recipe = Path("model/plaudit.json")
        recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"config_hash": None}))

    return make


def weights(change):
    """Return a change of the model's weights."""

    def make() -> None:
        from safetensors.torch import load_file, save_file

        path = "model/model.safetensors"
        save_file(change(load_file(path)), path, metadata={"format": "pt"})

    return make


def causal_model() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    LlamaForCausalLM(LlamaConfig.from_pretrained("model", num_hidden_layers=1)).save_pretrained("model")


def bert() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForSequenceClassification(BertConfig(vocab_size=300, num_labels=1, **sizes)).save_pretrained("model")
    Path("model/plaudit.json").unlink()


def pad_is_end() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("model")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained("model")
    Path("model/plaudit.json").unlink()


def no_tokenizer() -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        Path("model", name).unlink()


MODELS = [
    Bad("a folder that is not there", nothing, "score ./nowhere pairs.jsonl -o o", ("./nowhere does not exist",)),
    Bad("an empty folder", folder("model"), SCORE, ("model is a directory without config.json",)),
    Bad("a file", nothing, "score pairs.jsonl pairs.jsonl -o o", ("pairs.jsonl is a file", "give the directory")),
    Bad("a name too long", nothing, f"score {'x' * 300} pairs.jsonl -o o", ("File name too long",)),
    Bad("a language model", causal_model, SCORE, ("was saved as LlamaForCausalLM", "no reward head", "plaudit train")),
    Bad(
        "a head that was lost",
        weights(lambda found: {name: value for name, value in found.items() if name != "score.weight"}),
        SCORE,
        ("model lacks score.weight", "would be random"),
    ),
    Bad(
        "weights of another shape",
        weights(
            lambda found: {name: value.repeat(2, 1) if "embed" in name else value for name, value in found.items()}
        ),
        SCORE,
        ("model.embed_tokens.weight has shape", "the config asks for"),
    ),
    Bad("fewer layers than weights", config(num_hidden_layers=0), SCORE, ("no place for: model.layers.0",)),
    Bad("truncated weights", cut("model/model.safetensors", 500), SCORE, ("cannot load a reward model from model",)),
    Bad("no weights", gone("model/model.safetensors"), SCORE, ("no file named model.safetensors",)),
    Bad(
        "pickled weights",
        lambda: Path("model/model.safetensors").rename("model/pytorch_model.bin"),
        SCORE,
        ("pytorch_model.bin holds more than tensors",),
    ),
    Bad("a broken config.json", text("model/config.json", "{"), SCORE, ("model", "config.json' is not a valid JSON")),
    Bad("a config.json of nested lists", text("model/config.json", "[" * 10_000), SCORE, ("no model at 'model'",)),
    Bad("a width that is text", config(hidden_size="wide"), SCORE, ("no model at 'model'", "hidden_size")),
    Bad("an unknown activation", config(hidden_act="zzz"), SCORE, ("cannot load a reward model", "KeyError: 'zzz'")),
    Bad("an unknown kind", config(model_type="wizard"), SCORE, ("no model at 'model'", "wizard")),
    Bad("two outputs", config(num_labels=2), SCORE, ("model has 2 outputs", "has one")),
    Bad("T5", config(model_type="t5", architectures=None), SCORE, ("encoder-decoder", "decoders or encoders")),
    Bad("a lost tokenizer", no_tokenizer, SCORE, ("no tokenizer at 'model'", "neither tokenizer.json nor")),
    Bad("a broken tokenizer", text("model/tokenizer.json", "{}"), SCORE, ("no tokenizer at 'model'", "added_tokens")),
    Bad("a lost chat template", gone("model/chat_template.jinja"), SCORE, ("chat template is missing",)),
    Bad(
        "a changed chat template",
        text("model/chat_template.jinja", "{{ messages }}"),
        SCORE,
        ("chat template (hash", "not the one the model was trained with", "restore chat_template.jinja"),
    ),
    Bad("a pad token that ends", pad_is_end, SCORE, ("conversations end in the pad token", "set a pad")),
    Bad("a broken recipe", text("model/plaudit.json", "{}"), SCORE, ("model/plaudit.json is not a scoring recipe",)),
    Bad(
        "a recipe of a later version",
        lambda: Path("model/plaudit.json").write_text('{"version": 2}'),
        SCORE,
        ("model/plaudit.json is not a scoring recipe: version",),
    ),
    Bad(
        "a broken adapter", text("model/adapter_config.json", "{"), SCORE, ("model/adapter_config.json cannot be read",)
    ),
    Bad(
        "a shared prefix asked of BERT",
        bert,
        f"{TRAIN} model.layout=shared_prefix",
        ("layout: shared_prefix is not exact for BertForSequenceClassification", "whole padded sequences"),
        ("new/data",),
    ),
    Bad(
        "more length than positions",
        nothing,
        f"{TRAIN} model.max_length=4096",
        ("max_length is 4096", "model has positions for 64 tokens only"),
        ("new/data",),
    ),
]

FUNCTIONS = [
    Bad(f"a function {what}", nothing, f"score {path} pairs.jsonl -o out.jsonl", says)
    for what, path, says in (
        ("of no module", "no_such_module:f", ("no function 'no_such_module:f'", "No module named")),
        ("that is not there", "functions_to_spoil:f", ("no function 'functions_to_spoil:f'", "no attribute 'f'")),
        ("without a module", ":f", ("no function ':f'", "module:function")),
        ("of a broken module", "broken_module:f", ("'broken_module:f' cannot be imported: SyntaxError",)),
        ("that is a number", "functions_to_spoil:NUMBER", ("is int; it must be a function of (prompt, responses)",)),
        ("with too few rewards", "functions_to_spoil:too_few", ("returned 1 rewards for the 2 responses", "pairs:1")),
        (
            "that returns None",
            "functions_to_spoil:nothing",
            ("returned NoneType for group 'pairs:1'", "one number per"),
        ),
        ("that returns text", "functions_to_spoil:texts", ("returned '1.5' for response 0", "must be a number")),
        ("with huge integers", "functions_to_spoil:huge", ("for response 0 of group 'pairs:1'", "fits a float")),
        ("that fails", "functions_to_spoil:failing", ("failed on group 'pairs:1': KeyError: 'weights'",)),
    )
]

CONFIGS = [
    Bad("no config", nothing, "train none.yaml", ("cannot read config none.yaml: No such file",)),
    Bad("a folder as config", nothing, "train model", ("model is data; name the model to train on it",)),
    Bad("a list as config", text("c.yaml", "- a"), "train c.yaml", ("c.yaml: found ['a']", "is a mapping of keys")),
    Bad("broken YAML", text("c.yaml", "a:\n\t- b"), "train c.yaml", ("c.yaml:2:", "cannot start any token")),
    Bad("nested YAML", text("c.yaml", "a: " + "[" * 600), "train c.yaml", ("c.yaml: YAML is nested too deeply",)),
    Bad("code in YAML", text("c.yaml", "a: !!python/name:os.system"), "train c.yaml", ("c.yaml:1:", "python/name")),
    Bad("Latin-1 YAML", text("c.yaml", b"name: \xe9"), "train c.yaml", ("c.yaml: not UTF-8 text",)),
    Bad("an unknown key", text("c.yaml", "nam: x"), "train c.yaml", ("nam: unknown key; did you mean 'name'?",)),
    Bad("a misspelt override", nothing, f"{TRAIN} optim.lrr=1", ("optim.lrr: unknown key; did you mean 'lr'?",)),
    Bad(
        "an override of a missing item",
        nothing,
        f"{TRAIN} data.train.3.path=x",
        ("data.train is a list; found '3', allowed: an index from 0 to 0",),
    ),
    Bad("an override without value", nothing, f"{TRAIN} optim.lr", ("'optim.lr' must have the form key=value",)),
    Bad("one beta", nothing, f"{TRAIN} optim.betas=[0.9]", ("optim.betas", "override 'optim.betas=[0.9]'")),
    Bad("a beta of 2", nothing, f"{TRAIN} optim.betas=[0.9,2]", ("optim.betas.1: found 2; it must be less than 1",)),
    Bad("an infinite rate", nothing, f"{TRAIN} optim.lr=.inf", ("optim.lr: found inf; it must be a finite number",)),
    Bad("a seed of 5,000 digits", nothing, f"{TRAIN} step.seed={'9' * 5000}", ("step.seed", "digits")),
    Bad("a negative seed", nothing, f"{TRAIN} step.seed=-1", ("step.seed: found -1; it must be greater than or eq",)),
    Bad("an unknown tracker", nothing, f"{TRAIN} step.trackers=[wand]", ("step.trackers: found 'wand'", "'wandb'?")),
    Bad(
        "an unknown argument of transformers",
        nothing,
        f"{TRAIN} step.trainer_kwargs={{adam_beta3: 1}}",
        ("step.trainer_kwargs.adam_beta3 is not a field", "did you mean 'adam_beta"),
    ),
    Bad(
        "a value that transformers refuses",
        nothing,
        f"{TRAIN} step.trainer_kwargs={{optim: zzz}}",
        ("transformers refuses step.trainer_kwargs {'optim': 'zzz'}",),
    ),
    Bad(
        "heads that do not share the width",
        nothing,
        f"{TRAIN} model.init.type=scratch model.init.hidden_size=30",
        ("hidden_size 30 is not a multiple of twice num_heads 4",),
    ),
    Bad(
        "an unknown template", nothing, f"{TRAIN} model.init.chat_template=plian", ("did you mean 'plain'?",), ("new",)
    ),
    Bad(
        "a template that divides by zero",
        nothing,
        f"{TRAIN} model.init.chat_template='{{{{ 1/0 }}}}'",
        ("chat template refuses this conversation: ZeroDivisionError",),
        ("new/data",),
    ),
    Bad(
        "adapters for no module",
        nothing,
        f"{TRAIN} model.lora.targets=[zzz]",
        ("model.lora.targets is ('zzz',): No modules were targeted",),
        ("new/data",),
    ),
    Bad(
        "groups that are all too long",
        nothing,
        f"{TRAIN} model.max_length=2",
        ("no training group carries a preference", "0 of 12 groups", "24 responses alone longer than max_length"),
        ("new/data",),
    ),
    Bad(
        "data without preferences",
        text("pairs.jsonl", json.dumps({"prompt": "Q", "responses": ["a", "b"], "ranks": [1, 2]})),
        TRAIN,
        ("no training group carries a preference, which this objective needs: 1 of 1 groups were encoded",),
        ("new/data",),
    ),
    Bad(
        "a held-out share of one prompt",
        text("pairs.jsonl", json.dumps({"prompt": "Q", "chosen": "a", "rejected": "b"})),
        f"{TRAIN} data.held_out=[] data.held_out_share=0.5",
        ("1 prompts cannot be split into two sides; use more data, or another share",),
        ("new/data",),
    ),
]


def of_rows(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def partial(*rows: object, of: str = "functions_to_spoil:lengths"):
    """Return a change that leaves the rewards of an earlier, interrupted run beside ``out.jsonl``."""

    def make() -> None:
        from plaudit.cli.console import find_modules_here
        from plaudit.data.reading.read import read_groups
        from plaudit.jobs import shard_of
        from plaudit.scoring.files import ScoringWorker
        from plaudit.scoring.function import load_function

        find_modules_here()
        worker = ScoringWorker(load_function("functions_to_spoil:lengths"), read_groups("pairs.jsonl"), model=of)
        header = shard_of(worker, 0, 1).header(worker.header)
        Path("out.jsonl.partial").write_text(of_rows(header.model_dump_json(), *rows))

    return make


SCORE_LENGTHS = "score functions_to_spoil:lengths pairs.jsonl -o out.jsonl"
EVALUATE = "evaluate functions_to_spoil:lengths pairs.jsonl -o results"
OLD_LINES = [{"id": f"pairs:{number}", "rewards": [1.0, 2.0]} for number in range(1, 13)]

OUTPUTS = [
    Bad("an output that exists", text("out.jsonl", "mine"), SCORE, ("out.jsonl exists; add --overwrite",)),
    Bad("a folder as output", folder("out.jsonl"), f"{SCORE} --overwrite", ("out.jsonl: it is a folder; name a file",)),
    Bad(
        "a pipe as output",
        lambda: os.mkfifo("pipe"),
        f"{SCORE[:-9]}pipe --overwrite",
        ("pipe: it is a device",),
    ),
    Bad("a file as the output's folder", nothing, f"{SCORE_LENGTHS[:-9]}config.yaml/out", ("config.yaml/out",)),
    Bad("an output below /proc", nothing, f"{SCORE_LENGTHS[:-9]}/proc/none/out", ("cannot write /proc/none/out",)),
    Bad("shard 3 of 3", nothing, f"{SCORE} --shard 3/3", ("--shard is '3/3'", "I from 0 to N - 1")),
    Bad(
        "rewards of another run",
        partial(OLD_LINES[0], of="other:f"),
        SCORE_LENGTHS,
        ("was begun by another run: model other:f there and functions_to_spoil:lengths here",),
    ),
    Bad(
        "a corrupt line of an earlier run",
        partial(*OLD_LINES[:3], '{"id": "pairs:4", "rew', *OLD_LINES[4:]),
        SCORE_LENGTHS,
        ("out.jsonl.partial:5: not a line of rewards: it is no JSON; remove the file",),
    ),
    Bad(
        "lines of other groups",
        partial(*reversed(OLD_LINES)),
        SCORE_LENGTHS,
        ("out.jsonl.partial:2: these are not the rewards of group 'pairs:1'",),
    ),
    Bad(
        "more lines than groups",
        partial(*OLD_LINES, OLD_LINES[0]),
        SCORE_LENGTHS,
        ("out.jsonl.partial: holds 13 lines, but the data has only 12 items",),
    ),
    Bad(
        "items of another evaluation",
        text(
            "results/pairs/items.partial.jsonl",
            '{"journal": "evaluation", "identity": {"name": "x", "model": "y"}}\n{"id": "an item"}\n',
        ),
        EVALUATE,
        ("items.partial.jsonl was begun by another run: name x there and pairs here, model y there", "remove it"),
    ),
    Bad(
        "items that are none",
        text("results/pairs/items.partial.jsonl", "hello\n"),
        EVALUATE,
        ("items.partial.jsonl:1: not the start of unfinished work of this version of plaudit (Invalid JSON",),
    ),
    Bad("a file as results folder", nothing, f"{EVALUATE[:-7]}pairs.jsonl", ("cannot write pairs.jsonl/pairs/",)),
    Bad("one name twice", nothing, "evaluate x pairs.jsonl model/pairs.jsonl", ("have the same name",)),
    Bad("a file as run folder", nothing, f"{TRAIN[:-3]}pairs.jsonl", ("cannot write pairs.jsonl: ",)),
    Bad(
        "a file as quickstart folder",
        nothing,
        "quickstart --out pairs.jsonl",
        ("cannot write pairs.jsonl: it is a file",),
    ),
    Bad("another folder for quickstart", nothing, "quickstart --out model", ("model: it holds chat_template.jinja",)),
    Bad(
        "a link as quickstart folder", link("proj"), "quickstart --out proj", ("proj: it is a symbolic link; name the",)
    ),
    Bad(
        "data of one's own in a quickstart folder",
        text("proj/data/thesis.csv", "mine"),
        "quickstart --out proj",
        ("cannot write proj: it holds no .plaudit, so plaudit did not make it",),
    ),
    Bad(
        "notes of one's own in an earlier quickstart",
        several(text("proj/.plaudit", "quickstart"), text("proj/run/notes.txt", "mine")),
        "quickstart --out proj",
        ("cannot write proj/run: it holds notes.txt, which is not of a quickstart",),
    ),
    *(
        Bad(
            f"notes of one's own in the {folder} of an earlier quickstart",
            several(text("proj/.plaudit", "quickstart"), text(f"proj/run/{folder}/notes.txt", "mine")),
            "quickstart --out proj",
            (f"cannot write proj/run/{folder}: it holds notes.txt, which is not of a quickstart",),
        )
        for folder in ("model", "checkpoints", "data", "eval", "eval/held_out")
    ),
    Bad(
        "an export over groups that are there",
        text("groups/pairs/groups.jsonl", "mine"),
        "data export pairs.jsonl -o groups",
        ("groups/pairs/groups.jsonl exists; add --overwrite, or choose another file",),
    ),
    Bad(
        "an average over a folder with a config.json",
        several(text("proj/config.json", "{}"), text("proj/thesis.csv", "mine")),
        "average proj model model --overwrite",
        ("cannot write proj: it holds thesis.csv, which is not of a model",),
    ),
    Bad(
        "an average over a model of others",
        text("proj/config.json", "{}"),
        "average proj model model --overwrite",
        ("proj: it holds no plaudit.json, so plaudit did not make it",),
    ),
    Bad("an average over its input", nothing, "average model model model --overwrite", ("model is an input",)),
    Bad(
        "a report over data",
        text("r/metrics.jsonl", '{"step": 1}\n'),
        "report r -o pairs.jsonl",
        ("pairs.jsonl exists, and plaudit did not write it; add --overwrite, or choose another file",),
    ),
    Bad(
        "an audit over a page of others",
        text("a/audit.html", "<!doctype html><title>mine</title>"),
        "data audit pairs.jsonl -o a",
        ("a/audit.html exists, and plaudit did not write it; add --overwrite",),
    ),
    Bad(
        "an audit over a record of others",
        text("a/audit.json", "{}"),
        "data audit pairs.jsonl -o a",
        ("a/audit.json exists, and plaudit did not write it; add --overwrite",),
    ),
    Bad(
        "a comparison over data",
        several(*(text(f"{name}/items.jsonl", ITEM) for name in "ab")),
        "compare a b -o pairs.jsonl",
        ("pairs.jsonl exists, and plaudit did not write it; add --overwrite",),
    ),
    Bad(
        "a mixture over what it reads",
        several(
            text("built/train.jsonl", json.dumps(GOOD)),
            text("built/mixture.unfinished", "train.jsonl"),
            text("mix.yaml", "name: m\nparts: [{name: p, files: [{path: built/train.jsonl}]}]\n"),
        ),
        "data build mix.yaml -o built",
        ("built/train.jsonl is an input, which would be lost",),
    ),
    Bad("an unknown recipe", nothing, "recipes copy quikstart", ("did you mean 'quickstart'?",)),
    Bad("a resumed run that is none", nothing, f"{TRAIN} --resume", ("new holds no run to resume",)),
    Bad("a report on nothing", nothing, "report nowhere", ("nowhere: does not exist",)),
    Bad("a report on a model", nothing, "report model", ("model: neither a run", "nor an evaluation (result.json")),
    Bad("a report to a folder", text("r/metrics.jsonl", '{"step": 1}\n'), "report r -o model", ("it is a folder",)),
    Bad(
        "half a record", text("r/run.json", "{"), "report r", ("r/run.json: not a RunRecord of plaudit: Invalid JSON",)
    ),
    Bad("a result that is none", text("r/result.json", "{}"), "report r", ("r/result.json: not a Result of plaudit",)),
    Bad(
        "metrics torn in the middle",
        text("r/metrics.jsonl", '{"st\n{"step": 2}\n'),
        "report r",
        ("r/metrics.jsonl:1: not JSON",),
    ),
    Bad("metrics without steps", text("r/metrics.jsonl", "[1]\n"), "report r", ("metrics.jsonl:1: a row of metrics",)),
]


@pytest.mark.parametrize("bad", [*MODELS, *FUNCTIONS, *CONFIGS, *OUTPUTS], ids=lambda bad: bad.what)
def test_bad_input_is_one_line_and_changes_nothing(bad, place, invoke, files_of):
    bad.make()
    before = files_of(place)
    command = bad.command.split(" ") if "{" not in bad.command else split_braces(bad.command)
    check_refused(invoke(*command), bad.says)
    after = files_of(place)
    left = {name for name in after.keys() - before.keys() if not name.startswith(bad.leaves or "\0")}
    assert left == set()
    assert {name: after.get(name) for name in before} == before


def split_braces(command: str) -> list[str]:
    """Return the words of a command whose last one is YAML with spaces in it."""
    words = command.split(" ")
    first = next(index for index, word in enumerate(words) if "{" in word)
    return [*words[:first], " ".join(words[first:])]


def check_refused(shown, says) -> None:
    """Fail unless the command ended in one error line that holds every fragment."""
    assert isinstance(shown.exception, SystemExit), repr(shown.exception)
    assert shown.exit_code == 2, shown.output
    first, *others = shown.stderr.strip().splitlines()
    assert first.startswith("error: ")
    assert all(line.startswith("  ") for line in others), "only a list of several problems has further lines"
    for fragment in says:
        assert fragment in shown.stderr
