"""Every scorer keeps the contract of ``plaudit.testing.scorers``, and the contract sees scorers that break it."""

from __future__ import annotations

import itertools
import json
import math
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from plaudit.data.schema.group import Group, conversation
from plaudit.evaluation.run import evaluate
from plaudit.evaluation.store.precomputed import PrecomputedRewards, StoredItems, StoredRewards
from plaudit.models.checkpoint.files import load_reward_model
from plaudit.models.heads.gate import Gate, with_gate
from plaudit.models.heads.head import AttributesHead, ScalarHead
from plaudit.models.heads.language_model import COMPARISON, LanguageModelHead
from plaudit.models.heads.odin import OdinHead
from plaudit.models.heads.token import TokenHead
from plaudit.models.parity import choose_layout
from plaudit.opening import open_scorer
from plaudit.scoring.ensemble import EnsembleScorer, Scale
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.implicit import ImplicitRewardScorer
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.scorer import GroupRewards, ScorerInfo, with_lengths
from plaudit.testing.scorers import check_scorer

WINDOW = 3

HEADS = {
    "scalar": ScalarHead(),
    "attributes": AttributesHead(attributes=("help", "safe")),
    "odin": OdinHead(),
    "outcome": TokenHead(),
    "process": TokenHead(classes=(0.0, 1.0)),
}
LONG = Group(conversation("hi"), ("yes", "red cat " * 200, "no"), id="long")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    for module in ("local.engine", "local.pairwise", "implicit", "ensemble"):
        monkeypatch.setattr(f"plaudit.scoring.{module}.WINDOW", WINDOW)


@pytest.fixture
def groups(make_labelled_groups):
    return make_labelled_groups(4, responses=(3, 4), words=(3, 8))


@pytest.fixture
def make_model(make_decoder):
    def make(layout="shared_prefix", **changes):
        model = make_decoder(num_layers=1, init_std=0.3, **changes)
        choose_layout(model, layout)
        return model

    return make


@pytest.mark.parametrize("layout", ["shared_prefix", "packed", "padded"])
@pytest.mark.parametrize("head", HEADS)
def test_models_that_score_each_response_by_itself(make_model, groups, head, layout):
    def make(**changes):
        return with_lengths(RewardScorer(make_model(layout, head=HEADS[head], **changes)), None, "drop", name="model")

    others = [partial(make, seed=1), lambda: with_lengths(make(), 64, None, name="model")]
    check_scorer(make, groups, unscorable=[LONG], others=others)


def test_an_encoder(tokenizer, groups, tmp_path):
    """Its encoding takes both texts in one padded row, and knows no layout but the padded one."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, initializer_range=0.3, **sizes
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")

    def make(**options):
        return RewardScorer(load_reward_model(str(tmp_path / "encoder"), layout="padded", strict=False)[0], **options)

    check_scorer(make, groups)


def test_a_gated_model(make_model, groups):
    def make():
        torch.manual_seed(0)
        gate = Gate([(torch.randn(6, 32), torch.randn(6)), (torch.randn(2, 6), None)], temperature=2.0)
        model = with_gate(make_model(head=HEADS["attributes"]), gate)
        return with_lengths(RewardScorer(model), None, "drop", name="model")

    check_scorer(make, groups, unscorable=[LONG])


@pytest.mark.parametrize("mode", ["all_pairs", "linear"])
def test_a_model_that_compares(make_model, groups, mode):
    model = make_model(head=COMPARISON, max_length=256)
    tagged = Group(conversation("hi"), ("yes", "no [RESPONSE A]", "never"), id="tagged")
    alone = Group(conversation("hi"), ("yes",), id="alone")
    check_scorer(
        lambda: PairwiseScorer(model, mode=mode),
        groups,
        unscorable=[tagged, alone],
        others=[lambda: PairwiseScorer(model, mode="linear" if mode == "all_pairs" else "all_pairs")],
        read_ahead=WINDOW,
    )


def test_an_implicit_reward(make_model, groups):
    policy, reference = (make_model(head=LanguageModelHead(), seed=seed) for seed in (0, 1))
    make = partial(ImplicitRewardScorer, policy, reference)
    others = [
        partial(make, beta=0.2),
        partial(make, per_token="mean"),
        partial(make, step_separator="|"),
        lambda: ImplicitRewardScorer(policy, None),
        lambda: ImplicitRewardScorer(reference, policy),
    ]
    check_scorer(make, groups, others=others)
    check_scorer(lambda: with_lengths(make(), None, "drop", name="pair"), groups, unscorable=[LONG])


def of_texts(prompt, responses):
    """Rewards that depend on every character; None for a response without letters."""
    return [
        sum(map(ord, response)) % 97 / 7 + len(prompt[-1].content) if any(map(str.isalpha, response)) else None
        for response in responses
    ]


def shortest(prompt, responses):
    return [-float(len(response)) for response in responses]


SILENT = Group(conversation("hi"), ("yes", "12", "no"), id="silent")


def test_a_function(groups):
    check_scorer(partial(FunctionScorer, of_texts), groups, unscorable=[SILENT])


@pytest.mark.parametrize("rule", ["mean", "minimum", "mean_minus_std"])
def test_an_ensemble(make_model, groups, rule):
    members = [FunctionScorer(of_texts), FunctionScorer(shortest), RewardScorer(make_model())]
    make = partial(EnsembleScorer, members)
    scales = [Scale(float(k), 2.0) for k in range(3)]
    others = [
        lambda: EnsembleScorer(members[:2], rule),
        lambda: make(rule, penalty=2.0),
        lambda: make(rule, scales=scales),
        lambda: make("mean" if rule == "minimum" else "minimum"),
    ]
    check_scorer(lambda: make(rule), groups, unscorable=[SILENT], others=others)


def test_an_ensemble_of_models_that_compare(make_model, groups):
    members = [PairwiseScorer(make_model(head=COMPARISON, max_length=256, seed=seed)) for seed in (0, 1)]
    check_scorer(partial(EnsembleScorer, members, "minimum"), groups, read_ahead=WINDOW)


@pytest.fixture
def server(monkeypatch):
    """A reward server of the shape of OpenRLHF that scores as ``of_texts`` does, and refuses long texts."""
    monkeypatch.setenv("no_proxy", "*")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
            refused = any(len(text) > 400 for text in texts)
            prompt = [SimpleNamespace(content="")]
            answer = {"error": "too long"} if refused else {"rewards": of_texts(prompt, texts)}
            content = json.dumps(answer).encode()
            self.send_response(413 if refused else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/get_reward"
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_server(server, groups):
    options = "shape=openrlhf&batch=4&concurrency=2&retries=0"
    others = [f"{server}?{options}&template=concatenate", f"{server}?{options}&template=plain&model={quote('a b')}"]
    check_scorer(
        partial(open_scorer, f"{server}?{options}&template=plain"),
        groups,
        unscorable=[LONG],
        others=[partial(open_scorer, other) for other in others],
        read_ahead=4 * (2 + 1) + 1,
    )


def test_rewards_on_file_and_rewards_of_an_earlier_evaluation(groups, tmp_path):
    rows = [{"id": group.id, "rewards": [float(k) for k in range(len(group.responses))]} for group in groups]
    for name, scale in (("a", 1.0), ("b", 2.0)):
        text = "".join(json.dumps({**row, "rewards": [scale * each for each in row["rewards"]]}) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    stranger = Group(conversation("hi"), ("yes", "no"), id="stranger")
    check_scorer(
        lambda: PrecomputedRewards([str(tmp_path / "a.jsonl")]),
        groups,
        unscorable=[stranger],
        others=[lambda: PrecomputedRewards([str(tmp_path / "b.jsonl")])],
        looks_up=True,
    )
    evaluate(FunctionScorer(of_texts), groups, name="n", model="m", output_dir=tmp_path / "out", recipe_hash="r")
    kept = partial(StoredItems, str(tmp_path / "out" / "items.jsonl"))
    check_scorer(lambda: StoredRewards([kept()]), groups, unscorable=[stranger], looks_up=True)


# ------------------------------------------------------------------------------------- scorers that break it


class Sound:
    """Keeps the contract; each broken scorer changes one thing of it."""

    info = ScorerInfo("r", "w")

    def score_groups(self, groups):
        for group in groups:
            yield self.rewards(group)

    def rewards(self, group):
        return GroupRewards(group.id, tuple(of_texts(group.prompt, group.responses)), reason="no letters")


class Late(Sound):
    def score_groups(self, groups):
        before = None
        for group in groups:
            found = self.rewards(group)
            yield found if before is None else GroupRewards(before.id, found.rewards[: len(before.rewards)])
            before = found


class Hoarding(Sound):
    def score_groups(self, groups):
        yield from [self.rewards(group) for group in groups]


class Dropping(Sound):
    def score_groups(self, groups):
        return (found for found in map(self.rewards, groups) if None not in found.rewards)


class Remembering(Sound):
    seen = 0

    def rewards(self, group):
        self.seen += 1
        return GroupRewards(group.id, tuple(self.seen + len(text) for text in group.responses))


class Compared(Sound):
    def rewards(self, group):
        mean = sum(map(len, group.responses)) / len(group.responses)
        return GroupRewards(group.id, tuple(len(text) - mean for text in group.responses))


class Placed(Sound):
    def rewards(self, group):
        return GroupRewards(group.id, tuple(len(text) + 0.1 * k for k, text in enumerate(group.responses)))


class Counting(Sound):
    """Rewards of texts, less one for each time that a text stood there before."""

    def rewards(self, group):
        texts = group.responses
        return GroupRewards(group.id, tuple(len(text) - texts[:k].count(text) for k, text in enumerate(texts)))


class Peeking(Sound):
    def rewards(self, group):
        wins = [sum(each.chosen == k for each in group.preferences) for k in range(len(group.responses))]
        return GroupRewards(group.id, tuple(map(float, wins)))


class NotANumber(Sound):
    def rewards(self, group):
        return GroupRewards(group.id, (math.nan,) * len(group.responses))


class Short(Sound):
    def rewards(self, group):
        return GroupRewards(group.id, (1.0,), attributes={"a": (1.0,)})


class Speechless(Sound):
    def rewards(self, group):
        return GroupRewards(group.id, tuple(of_texts(group.prompt, group.responses)))


class TakingAlong(Sound):
    def rewards(self, group):
        values = of_texts(group.prompt, group.responses)
        return GroupRewards(group.id, (None,) * len(values) if None in values else tuple(values), reason="no letters")


class Inventing(Sound):
    def rewards(self, group):
        return GroupRewards(group.id, tuple(each or 0.0 for each in of_texts(group.prompt, group.responses)))


class NewEachTime(Sound):
    numbers = itertools.count()

    @property
    def info(self):
        return ScorerInfo(f"r{next(self.numbers)}")


class NotJson(Sound):
    info = ScorerInfo("r", "w", settings={"table": {1, 2}})


class Boasting(Sound):
    info = ScorerInfo("r", "w", strengths="log_odds_differences", relative=True)


class Unbatched(Sound):
    info = ScorerInfo("r", "w", window=0)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Late, "answers each group once, in order"),
        (Dropping, "answers each group once, in order"),
        (Hoarding, "it may read 1 ahead"),
        (Remembering, "same rewards when it is asked a second time"),
        (Compared, "does not depend on the other responses"),
        (Placed, "follow the responses in another order"),
        (Counting, "stands twice has one reward"),
        (Peeking, "without its labels"),
        (NotANumber, "is not finite is None"),
        (Short, "are not one for each of"),
        (Speechless, "missing without a reason"),
        (TakingAlong, "takes no other along"),
        (Inventing, "no reward of it is missing"),
        (NewEachTime, "info is the same each time"),
        (NotJson, "settings of info are JSON"),
        (Boasting, "strengths of group 'g0' are not as info says"),
        (Unbatched, "batches at least one group"),
    ],
)
def test_a_scorer_that_breaks_the_contract_is_seen(groups, broken, promise):
    check_scorer(Sound, groups, unscorable=[SILENT])
    with pytest.raises(AssertionError, match=promise):
        check_scorer(broken, groups, unscorable=[SILENT])


def test_two_settings_of_one_hash_are_seen(groups):
    with pytest.raises(AssertionError, match="other 0 has another setting, but the hashes"):
        check_scorer(Sound, groups, others=[Compared])


def test_a_scorer_without_info_is_taken(groups):
    class Plain:
        def score_groups(self, groups):
            return map(Sound().rewards, groups)

    check_scorer(Plain, groups, unscorable=[SILENT])
