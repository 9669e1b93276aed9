"""Rewards come in the order of the groups, over as few connections and as little reading ahead as they need."""

from __future__ import annotations

import threading

import pytest
from tests.json_server import Raw

from plaudit.http import Client, Endpoint

from .remote_scorers import group, plain, quick, rewards_of_length


def numbered(count):
    return (group(str(number), id=str(number)) for number in range(count))


def number_in(body):
    return int(body["query"][0].split()[-1])


def test_order_is_kept_and_as_many_requests_run_at_once_as_allowed(serve):
    """Rounds of four requests that are all there at once, of which the first is answered last."""
    everyone = threading.Barrier(4, timeout=60)
    answered, turn = set(), threading.Condition()

    def answer(body):
        number = number_in(body)
        everyone.wait()
        with turn:
            later = set(range(number + 1, number - number % 4 + 4))
            turn.wait_for(lambda: later <= answered, timeout=60)
            answered.add(number)
            turn.notify_all()
        return 200, {"rewards": [float(number)]}

    server = serve(__get_reward=answer)
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=4, retries=0)
    found = list(scorer.score_groups(numbered(40)))
    assert [(each.id, each.rewards) for each in found] == [(str(number), (float(number),)) for number in range(40)]
    assert server.most_at_once == 4
    assert server.connections == 4


def test_groups_are_read_no_further_ahead_than_the_requests_need(serve):
    server = serve(__get_reward=rewards_of_length)
    read = []

    def groups():
        for number in range(1000):
            read.append(number)
            yield group("a", "b", id=str(number))

    stream = quick(server.url, "openrlhf", template=plain(), batch=4, concurrency=2).score_groups(groups())
    next(stream)
    assert len(read) <= 2 * (2 + 1) + 1
    stream.close()


def test_batches_hold_whole_groups_up_to_their_size(serve):
    server = serve(__get_reward=rewards_of_length)
    scorer = quick(server.url, "openrlhf", template=plain(), batch=5, concurrency=1)
    sizes = [2, 2, 2, 7, 1]
    list(scorer.score_groups(group(*map(str, range(size)), id=str(size)) for size in sizes))
    # 2 + 2 fit into 5; the group of 7 is sent as 5 and 2, of which no reward is lost
    assert [len(body["query"]) for body in server.bodies("/get_reward")] == [4, 2, 5, 2, 1]


def test_two_streams_of_one_scorer_do_not_stop_each_other(serve):
    server = serve(__get_reward=rewards_of_length)
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=2)
    one, other = scorer.score_groups(numbered(30)), scorer.score_groups(numbered(30))
    next(one), next(other)
    one.close()
    assert [each.reason for each in other] == [None] * 29


# ------------------------------------------------------------------------------------------------- connections


def test_one_connection_carries_every_request_of_one_worker(serve):
    server = serve(__get_reward=rewards_of_length)
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=1)
    assert len(list(scorer.score_groups(numbered(50)))) == 50
    assert (len(server.requests), server.connections) == (50, 1)


def test_a_server_that_closes_after_each_answer_is_asked_each_request_once(serve):
    server = serve(__get_reward=lambda body: (*rewards_of_length(body), {"Connection": "close"}))
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=1, retries=0)
    assert [each.reason for each in scorer.score_groups(numbered(5))] == [None] * 5
    assert (len(server.requests), server.connections) == (5, 5)


def test_a_server_that_closes_an_idle_connection_unannounced_is_asked_each_request_once(serve):
    whole = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"rewards": [1]}'
    server = serve(__get_reward=lambda body: Raw(whole))
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=1, retries=0)
    assert [each.rewards for each in scorer.score_groups(numbered(5))] == [(1.0,)] * 5
    numbers = [number_in(body) for body in server.bodies("/get_reward")]
    # whether the end of the connection is seen before the next request is sent is up to the network; if it is not, the
    # server has not read that request
    assert numbers == [0, 1, 2, 3, 4]


def closing(*when):
    """A server that closes the connection, without a word, at the requests of these places."""
    count = iter(range(10**6))
    return lambda body: Raw() if next(count) in when else rewards_of_length(body)


def test_a_kept_connection_that_closes_at_a_request_is_replaced_once_and_that_is_no_try(serve):
    server = serve(__get_reward=closing(1))
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=1, retries=0)
    assert [each.reason for each in scorer.score_groups(numbered(3))] == [None] * 3
    assert [number_in(body) for body in server.bodies("/get_reward")] == [0, 1, 1, 2]
    assert server.connections == 2


def test_a_second_closed_connection_in_a_row_is_a_failure(serve):
    server = serve(__get_reward=closing(1, 2))
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=1, retries=0)
    found = list(scorer.score_groups(numbered(3)))
    assert [each.rewards == (None,) for each in found] == [False, True, False]
    assert found[1].reason.endswith("Server disconnected without sending a response), after 1 try (response 0)")
    assert [number_in(body) for body in server.bodies("/get_reward")] == [0, 1, 1, 2]


def test_a_new_connection_that_closes_at_a_request_is_a_failure_at_once(serve):
    server = serve(__get_reward=closing(0))
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=1, retries=0)
    found = list(scorer.score_groups(numbered(2)))
    assert [each.rewards == (None,) for each in found] == [True, False]
    assert [number_in(body) for body in server.bodies("/get_reward")] == [0, 1]


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize(("retries", "sent"), [(0, [0, 1, 2]), (1, [0, 1, 1, 2])])
def test_a_request_whose_answer_had_begun_is_sent_again_only_as_a_try(serve, retries, sent, is_reset):
    half = Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{", is_reset=is_reset)
    count = iter(range(10**6))
    server = serve(__get_reward=lambda body: half if next(count) == 1 else rewards_of_length(body))
    scorer = quick(server.url, "openrlhf", template=plain(), batch=1, concurrency=1, retries=retries)
    found = list(scorer.score_groups(numbered(3)))
    assert [number_in(body) for body in server.bodies("/get_reward")] == sent
    assert [each.rewards == (None,) for each in found] == [False, retries == 0, False]


@pytest.mark.parametrize("is_kept", [False, True])
def test_closing_a_client_ends_a_request_that_waits_and_sends_it_to_nobody_else(serve, is_kept):
    asked, release = threading.Event(), threading.Event()

    def answer(body):
        asked.set()
        release.wait(60)
        return 200, {}

    server = serve(__get_reward=answer, __score=lambda body: (200, {}))
    client, found = Client(Endpoint(server.url, timeout_seconds=3600.0)), []
    if is_kept:
        assert client.post("/score", {}) == {}
    waiting = threading.Thread(target=lambda: found.append(client.post("/get_reward", {})))
    waiting.start()
    assert asked.wait(60)
    client.close()
    waiting.join(20)
    release.set()
    waiting.join(60)
    assert found[0].words.endswith("when it was stopped")
    assert (len(server.bodies("/get_reward")), server.connections) == (1, 1)


def test_a_proxy_of_the_environment_is_asked_with_its_password(serve, monkeypatch):
    proxy = serve(**{"http:____rewards.invalid:81__get_reward": rewards_of_length})
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:p%40ss@"))
    scorer = quick("http://rewards.invalid:81", "openrlhf", template=plain(), batch=1, concurrency=1)
    assert [each.reason for each in scorer.score_groups(numbered(3))] == [None] * 3
    assert proxy.headers[0]["Proxy-Authorization"] == "Basic dXNlcjpwQHNz"  # base64 of user:p@ss
    assert proxy.headers[0]["Host"] == "rewards.invalid:81"
    assert proxy.connections == 1
