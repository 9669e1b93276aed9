"""What a server fails at is counted with its reason, tried again where that helps, and never made a number."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from tests.json_server import Raw
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.data.reading.write import write_groups
from plaudit.errors import ModelError

from .remote_scorers import group, plain, quick, rewards_of_length

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
TEXT = "user: hi\n\nassistant: "


# --------------------------------------------------------------------------------- failures of one group of many


FAILURES = {
    "nan": ((200, b'{"rewards": [NaN]}'), "the server gave no finite number: nan (response 0)"),
    "infinite": ((200, b'{"rewards": [-Infinity]}'), "the server gave no finite number: -inf (response 0)"),
    "huge": ((200, b'{"rewards": [1' + b"0" * 400 + b"]}"), "the server gave no finite number: inf (response 0)"),
    "null": ((200, {"rewards": [None]}), "the server gave no finite number: null (response 0)"),
    "text": (
        (200, {"rewards": ["high"]}),
        "an answer of the server that cannot be used: 'rewards' holds 'high' where a number must stand (response 0)",
    ),
    "truth": (
        (200, {"rewards": [True]}),
        "an answer of the server that cannot be used: 'rewards' holds True where a number must stand (response 0)",
    ),
    "two": (
        (200, {"rewards": [1.0, 2.0]}),
        "an answer of the server that cannot be used: the answer is 2 entries; it must be a list with an entry for "
        "each of 1 (response 0)",
    ),
    "none": (
        (200, {"rewards": []}),
        "an answer of the server that cannot be used: the answer is 0 entries; it must be a list with an entry for "
        "each of 1 (response 0)",
    ),
    "error": (
        (200, {"error": {"message": "model is loading"}}),
        "an answer of the server that cannot be used: the answer is {'error': {'message': 'model is loading'}}; it "
        "must be an object with 'rewards' (response 0)",
    ),
    "html": (
        (200, b"<html>\n<h1>Bad Gateway</h1></html>"),
        "an answer of the server that cannot be used: the answer is not JSON: <html> <h1>Bad Gateway</h1></html> "
        "(response 0)",
    ),
    "empty": (
        (200, b""),
        "an answer of the server that cannot be used: the answer is not JSON: it is empty (response 0)",
    ),
    "long": ((413, {"error": "long"}), 'refused by the server: HTTP 413 {"error": "long"} (response 0)'),
    "busy": (
        (429, {}, {"Retry-After": "0"}),
        "no answer from the server: HTTP 429 {}, after 3 tries (response 0)",
    ),
    "gateway": (
        (502, b"<html>Bad Gateway</html>"),
        "no answer from the server: HTTP 502 <html>Bad Gateway</html>, after 3 tries (response 0)",
    ),
    "half": (
        Raw(HEAD + b'{"rewards"'),
        "no answer from the server: the answer breaks off after 10 bytes, after 3 tries (response 0)",
    ),
    "gone": (
        Raw(),
        "no answer from the server: no whole answer (Server disconnected without sending a response), after 3 tries "
        "(response 0)",
    ),
    "head": (
        Raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
        "no answer from the server: no whole answer (Server disconnected without sending a response), after 3 tries "
        "(response 0)",
    ),
    "noise": (
        Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        "no answer from the server: no whole answer (illegal status line: bytearray(b'SSH-2.0-OpenSSH_9.6')), after 3 "
        "tries (response 0)",
    ),
}


def faulty(body):
    """A server that fails in the way that its text names."""
    (word,) = (text.split()[-1] for text in body["query"])
    return FAILURES[word][0] if word in FAILURES else rewards_of_length(body)


def test_every_way_to_fail_costs_one_reward_and_is_named(serve):
    server = serve(__get_reward=faulty)
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1)
    words = ["fine", *FAILURES, "good"]
    found = list(scorer.score_groups(group(word, id=word) for word in words))
    assert [each.id for each in found] == words
    assert {each.id: each.reason for each in found[1:-1]} == {word: reason for word, (_, reason) in FAILURES.items()}
    assert all(each.rewards == (None,) for each in found[1:-1])
    assert [(each.rewards, each.reason) for each in (found[0], found[-1])] == [((float(len(TEXT) + 4),), None)] * 2


def test_failures_are_counted_by_evaluate_and_their_reasons_kept(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = serve(__get_reward=faulty)
    words = ["fine", *FAILURES]
    write_groups(tmp_path / "pairs.jsonl", [group("a longer answer", word, id=word) for word in words])
    url = f"{server.url}/get_reward?template=plain&batch=1&retries=0"
    ran = CliRunner().invoke(app, ["evaluate", url, "pairs.jsonl", "-o", "out"])
    assert ran.exit_code == 0, ran.output
    result = json.loads((tmp_path / "out" / "pairs" / "result.json").read_text())
    assert (result["n"], result["scored"], result["failed"]) == (len(words), 1, len(FAILURES))
    assert f"1 scored, 0 without a label, {len(FAILURES)} failed" in " ".join(ran.output.split())
    items = [json.loads(line) for line in (tmp_path / "out" / "pairs" / "items.jsonl").read_text().splitlines()]
    assert items[0]["rewards"] == [len(TEXT) + 15.0, len(TEXT) + 4.0]
    for item, (_, reason) in zip(items[1:], FAILURES.values(), strict=True):
        assert item["rewards"] == [len(TEXT) + 15.0, None]
        assert item["reason"] == reason.replace("3 tries", "1 try").replace("response 0", "response 1")


def test_a_slow_answer_is_a_failure_with_the_time_named_and_not_a_number(serve):
    release = threading.Event()

    def answer(body):
        release.wait(60)
        return 200, {"rewards": [1.0]}

    server = serve(__get_reward=answer)
    scorer = quick(server.url, "openrlhf", template=plain(), timeout=0.1, retries=1)
    (found,) = scorer.score_groups([group("a")])
    release.set()
    assert found.rewards == (None,)
    assert found.reason == "no answer from the server: no whole answer within 0.1 s, after 2 tries (response 0)"


def test_a_server_that_is_not_there_says_so(direct):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        (found,) = quick(url, "openrlhf", template=plain(), retries=0).score_groups([group("a")])
    assert found.rewards == (None,)
    assert "no connection (Connection refused), after 1 try" in found.reason


def test_a_bad_entry_of_many_takes_no_other_with_it(serve):
    server = serve(__get_reward=lambda body: (200, b'{"rewards": [1.5, NaN, "high", -2.0]}'))
    first, second = quick(server.url, "openrlhf", template=plain()).score_groups([group("a", "b"), group("c", "d")])
    assert (first.rewards, first.reason) == ((1.5, None), "the server gave no finite number: nan (response 1)")
    assert second.rewards == (None, -2.0)


def test_entries_whose_owner_cannot_be_told_are_all_failed(serve):
    rows = [{"index": 0, "probs": [1.0]}, {"index": 0, "probs": [2.0]}]
    server = serve(__classify=lambda body: (200, {"data": rows}))
    (found,) = quick(server.url, "vllm-classify", template=plain()).score_groups([group("a", "b")])
    assert found.rewards == (None, None)
    assert found.reason == (
        "an answer of the server that cannot be used: the entries of the answer have the indices [0, 0]; they must be "
        "0 to 1 (response 0 and 1 more)"
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"id": "x", "rewards": [1.0, 2.0]}, "it holds group 'x' where '0' was due"),
        ({"id": "0", "rewards": [1.0]}, "it has 1 rewards"),
        ({"id": "0", "rewards": [1.0, 2.0], "uncertainty": [1.0]}, "another list of another length"),
        ({"id": "0", "rewards": ["high", 1.0]}, "is not one of rewards"),
        ({"id": "0"}, "is not one of rewards"),
        ({"id": "0", "rewards": [1.0, 2.0], "steps": [[0.5, float("nan")], None]}, "no finite number for an attribute"),
        (None, "is not one of rewards"),
    ],
)
def test_a_wrong_entry_of_plaudits_shape_costs_its_group_alone(serve, entry, words):
    right = {"id": "1", "rewards": [3.0, -1.0]}
    server = serve(__rewards=lambda body: (200, {"groups": [entry, right]}))
    wrong, good = quick(server.url, "plaudit").score_groups([group("a", "b"), group("c", "d", id="1")])
    assert (wrong.id, wrong.rewards, good.rewards) == ("0", (None, None), (3.0, -1.0))
    assert words in wrong.reason
    assert good.reason is None


def test_groups_in_another_order_are_not_taken_for_each_other(serve):
    def answer(body):
        return 200, {"groups": [{"id": each["id"], "rewards": [1.0]} for each in body["groups"][::-1]]}

    server = serve(__rewards=answer)
    found = list(quick(server.url, "plaudit").score_groups([group("a", id="x"), group("b", id="y")]))
    assert [each.rewards for each in found] == [(None,), (None,)]
    assert found[0].reason == "an answer of the server that cannot be used: it holds group 'y' where 'x' was due"


# ------------------------------------------------------------------------------------- a part is asked by itself


def test_a_text_that_is_refused_takes_no_other_with_it(serve):
    def answer(body):
        return (
            (413, {"error": "too long"}) if any("long" in text for text in body["query"]) else rewards_of_length(body)
        )

    server = serve(__get_reward=answer)
    groups = [group("a", "b"), group("long", "c", id="1"), group("d", "e", id="2")]
    found = list(quick(server.url, "openrlhf", template=plain()).score_groups(groups))
    size = float(len(TEXT) + 1)
    assert [each.rewards for each in found] == [(size, size), (None, size), (size, size)]
    assert found[1].reason == 'refused by the server: HTTP 413 {"error": "too long"} (response 0)'


def test_a_text_that_the_server_breaks_over_takes_no_other_with_it_and_each_part_is_asked_once(serve):
    """As a server does whose JSON has no NaN."""

    def answer(body):
        return (
            (500, b"Internal Server Error") if any("bad" in text for text in body["query"]) else rewards_of_length(body)
        )

    server = serve(__get_reward=answer)
    groups = [group("a", "b"), group("bad", "c", id="1")]
    found = list(quick(server.url, "openrlhf", template=plain(), retries=2).score_groups(groups))
    size = float(len(TEXT) + 1)
    assert [each.rewards for each in found] == [(size, size), (None, size)]
    assert found[1].reason == "no answer from the server: HTTP 500 Internal Server Error, after 1 try (response 0)"
    assert [len(body["query"]) for body in server.bodies("/get_reward")] == [4, 4, 4, 2, 2, 1, 1]


def test_groups_of_plaudits_shape_are_parted_too(serve):
    def answer(body):
        if any("long" in each["responses"] for each in body["groups"]):
            return 413, {"error": "too long"}
        return 200, {"groups": [{"id": each["id"], "rewards": [1.0]} for each in body["groups"]]}

    server = serve(__rewards=answer)
    words = ["a", "b", "long", "c"]
    found = list(quick(server.url, "plaudit").score_groups(group(word, id=word) for word in words))
    assert [each.rewards for each in found] == [(1.0,), (1.0,), (None,), (1.0,)]
    assert found[2].reason == 'refused by the server: HTTP 413 {"error": "too long"}'


# -------------------------------------------------------------------------------------------- the end of a run


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((503, {}), "no answer from the server: HTTP 503"),
        ((200, {"scores": [1.0]}), "an answer of the server that cannot be used: the answer is"),
        ((200, b"<html>login</html>"), "an answer of the server that cannot be used: the answer is not JSON"),
        ((422, {"detail": "field required"}), "refused by the server: HTTP 422"),
    ],
)
def test_a_server_that_gives_nothing_ends_the_run_after_twenty_groups(serve, answer, words):
    server = serve(__get_reward=lambda body: answer)
    scorer = quick(server.url, "openrlhf", template=plain(), retries=0, batch=1, concurrency=8)
    made = []
    with pytest.raises(ModelError, match=f"20 groups in a row have no reward; the last: {words}"):
        made.extend(scorer.score_groups(group("a", id=str(number)) for number in range(1000)))
    assert len(made) == 19
    assert len(server.requests) <= 20 + 8


def test_long_texts_in_a_row_do_not_end_the_run_of_a_server_that_answers(serve):
    def answer(body):
        return (413, {}) if any("long" in text for text in body["query"]) else (200, {"rewards": [1.0]})

    server = serve(__get_reward=answer)
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1)
    texts = ["short", *["long"] * 30, "short"]
    found = list(scorer.score_groups(group(text, id=str(number)) for number, text in enumerate(texts)))
    assert [each.rewards for each in found] == [(1.0,), *[(None,)] * 30, (1.0,)]


@pytest.mark.parametrize(
    ("status", "words"), [(404, "HTTP 404"), (401, "set PLAUDIT_API_KEY"), (307, "sends on to no place")]
)
def test_what_no_other_request_would_change_ends_the_run_at_once(serve, status, words):
    server = serve(__get_reward=lambda body: (status, {"error": "no"}))
    with pytest.raises(ModelError, match=words):
        list(quick(server.url, "openrlhf", template=plain()).score_groups([group("a")]))
    assert len(server.requests) == 1


def test_the_key_of_the_environment_is_sent_and_stands_in_no_name(serve, monkeypatch):
    monkeypatch.setenv("PLAUDIT_API_KEY", "secret")
    server = serve(__get_reward=rewards_of_length)
    scorer = quick(server.url, "openrlhf", template=plain())
    list(scorer.score_groups([group("a")]))
    assert server.headers[0]["Authorization"] == "Bearer secret"
    monkeypatch.setenv("PLAUDIT_API_KEY", "secret\n")
    with pytest.raises(ModelError, match="PLAUDIT_API_KEY holds a line break") as caught:
        list(scorer.score_groups([group("a")]))
    assert "secret" not in str(caught.value)
