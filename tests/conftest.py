"""Settings of every test, and the small things that many tests build: a tokenizer, groups, a decoder."""

from __future__ import annotations

import gc
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from jaxtyping import install_import_hook

NUMERIC = (
    "objectives",
    "batching.batch",
    "models.attention.interface",
    "models.attention.cpu",
    "models.reward_model",
)
install_import_hook([f"plaudit.{name}" for name in NUMERIC], "beartype.beartype")


def pytest_collection_finish():
    """Take what the imports have made out of the garbage collector, which training asks to look at all of it."""
    gc.collect()
    gc.freeze()


# fmt: off
WORDS = [
    "the", "a", "one", "two", "three", "red", "green", "blue", "small", "large", "cat", "dog", "house",
    "tree", "runs", "sleeps", "eats", "sees", "near", "under", "over", "and", "but", "because", "never",
    "always", "yes", "no", "please", "thank", "you", "good", "bad", "better", "worse", "answer",
    "question", "why", "how", "when",
]
# fmt: on


@pytest.fixture(scope="session")
def tokenizer():
    """Return a byte-level tokenizer of a few hundred entries with a chat template."""
    from plaudit.models.create import build_tokenizer

    return build_tokenizer([" ".join(WORDS)] * 4, vocabulary=400)


@pytest.fixture(scope="session")
def make_groups():
    """Return a function of (count, seed) that gives groups of 2 to 4 random responses with preferences."""
    import numpy as np

    from plaudit.data.schema.group import Group, Preference, conversation

    def make(count, seed=0, *, responses=(2, 4), words=(3, 12), **fields):
        rng = np.random.default_rng(seed)

        def text():
            return " ".join(rng.choice(WORDS, int(rng.integers(*words))))

        made = []
        for number in range(count):
            size = int(rng.integers(responses[0], responses[1] + 1))
            answers = tuple(f"{text()} {k}" for k in range(size))
            pairs = tuple(Preference(k, size - 1) for k in range(size - 1))
            prompt = conversation(f"{text()} {number}")
            made.append(Group(prompt, answers, pairs, id=f"g{number}", **fields))
        return made

    return make


@pytest.fixture(scope="session")
def make_labelled_groups(make_groups):
    """Return a function of (count, seed) that gives groups with every kind of label, some of them missing."""
    import dataclasses

    import numpy as np

    from plaudit.data.schema.group import Step
    from plaudit.data.schema.steps import split_steps

    def make(count, seed=0, **options):
        rng = np.random.default_rng([seed, 1])

        def draw(*values):
            return values[int(rng.integers(len(values)))]

        made = []
        for group in make_groups(count, seed, **options):
            size = len(group.responses)
            steps = tuple(
                tuple(Step(step.end, draw(0.0, 1.0, 0.5, None)) for step in split_steps(response, " "))
                for response in group.responses
            )
            ratings = {
                name: (1.5, *(draw(None, float(rng.normal())) for _ in range(size - 1))) for name in ("help", "safe")
            }
            outcomes = (True, *(draw(True, False, None) for _ in range(size - 1)))
            ranks = (1, *(draw(1, 2, 3, None) for _ in range(size - 2)), 4)
            labels = {"steps": steps, "ratings": ratings, "outcomes": outcomes, "ranks": ranks}
            made.append(dataclasses.replace(group, **labels))
        return made

    return make


@pytest.fixture(scope="session")
def make_decoder(tokenizer):
    """Return a function that gives a tiny random Llama reward model."""
    import copy

    from plaudit.models.create import build_decoder

    def make(**changes):
        sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_length": 128, "seed": 0}
        return build_decoder(copy.deepcopy(tokenizer), **(sizes | changes))

    return make


@pytest.fixture(scope="session")
def make_token_group():
    """Return a function that gives one group of random tokens with a shared prompt and all its ordered pairs."""
    import numpy as np

    from plaudit.batching.prefix_tree import build_prefix_tree
    from plaudit.batching.tokens import TokenGroup

    def make(index, prompt, responses, *, seed=0, vocabulary=90, min_saving=1):
        rng = np.random.default_rng([seed, index])
        shared = rng.integers(3, vocabulary, prompt)
        tails = [rng.integers(3, vocabulary, each) if isinstance(each, int) else np.asarray(each) for each in responses]
        sequences = [np.concatenate([shared, tail]).astype(np.int32) for tail in tails]
        count = len(sequences)
        pairs = np.asarray([(i, j) for i in range(count) for j in range(i + 1, count)], dtype=np.int32).reshape(-1, 2)
        absent = np.full(len(pairs), np.nan, dtype=np.float32)
        return TokenGroup(
            index=index,
            tree=build_prefix_tree(sequences, min_saving=min_saving),
            response_start=np.full(count, prompt, dtype=np.int32),
            pair_chosen=pairs[:, 0],
            pair_rejected=pairs[:, 1],
            pair_margin=absent,
            pair_probability=absent,
        )

    return make


@pytest.fixture(scope="session")
def make_trainer(tmp_path_factory):
    """Return a function that gives a trainer over groups, with every log of it in ``trainer.logged``."""
    import numpy as np
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback

    from plaudit.batching.token_set import encode_to_file
    from plaudit.models.parity import choose_layout
    from plaudit.training.arguments import training_arguments
    from plaudit.training.config import TrainConfig
    from plaudit.training.trainer import RewardTrainer

    class Collect(TrainerCallback):
        def __init__(self):
            self.rows = []

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "rm/loss" in logs:
                self.rows.append(dict(logs))

    def make(model, groups, *, layout="padded", callbacks=(), objective=None, optim=None, **step):
        folder = tmp_path_factory.mktemp("trainer")
        section = {"groups_per_step": 4, "max_steps": 4, "log_every": 1, "trackers": ()} | step
        config = TrainConfig.model_validate(
            {
                "name": "test",
                "model": {"init": {"type": "scratch"}},
                "data": {"train": ({"path": "unused"},)},
                "objective": objective or {},
                "optim": {"lr": 1e-3, "schedule": "constant", "warmup": 0.0} | (optim or {}),
                "step": section,
            }
        )
        choose_layout(model, layout)
        if config.step.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        tokens = encode_to_file(groups, model.recipe.encoder(model.tokenizer), folder / "tokens.arrow")
        rows = np.flatnonzero(tokens.num_pairs > 0)
        collect = Collect()
        steps = -(-len(rows) // config.step.groups_per_step)
        trainer = RewardTrainer(
            model,
            training_arguments(config, folder, steps_per_epoch=steps),
            objective=config.objective,
            train_tokens=tokens,
            train_rows=rows,
            groups_per_step=config.step.groups_per_step,
            max_tokens=config.step.max_tokens,
            eval_tokens=tokens,
            eval_rows=rows,
            callbacks=[collect, *callbacks],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.logged = collect.rows
        return trainer

    return make


@pytest.fixture
def direct(monkeypatch):
    """No proxy and no key of the environment."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("PLAUDIT_API_KEY", raising=False)


@pytest.fixture
def serve(direct):
    """A function of routes that gives a running server; ``__`` in the name of a route stands for ``/``."""
    from .json_server import Server

    running = []

    def start(**answers):
        running.append(Server({path.replace("__", "/"): answer for path, answer in answers.items()}))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture(autouse=True)
def no_module_of_another_test(tmp_path_factory):
    """Forget the modules that tests wrote, and where they were looked for: others may write some of these names."""
    written, path = str(tmp_path_factory.getbasetemp()), list(sys.path)
    forget_modules(written)
    yield
    sys.path[:] = [each for each in path if not each.startswith(written)]
    forget_modules(written)


def forget_modules(folder):
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.copy().items()}
    for name in [name for name, file in files.items() if (file or "").startswith(folder)]:
        del sys.modules[name]
