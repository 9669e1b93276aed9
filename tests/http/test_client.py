"""The HTTP client: when it asks again and how long it waits, what ends a request, and that its key is shown nowhere."""

from __future__ import annotations

import itertools
import json
import shutil
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.json_server import Raw

from plaudit.errors import ConfigError, ModelError
from plaudit.http import Client, Endpoint, Failure, in_order, masked

KEY = "sk-secret-1234"


def waits(url, answers, **options):
    """Return what the server answers in the end, and how long each try after the first waited for its turn."""
    waited = []

    async def pause(seconds):
        waited.append(seconds)

    with Client(Endpoint(url, 60.0, len(answers) - 1, **{"jitter": 0.0} | options)) as client:
        client.pause = pause
        return client.post("/get_reward", {"query": ["a"]}), waited


def in_turn(*answers):
    """A function of a body that gives one answer after the other."""
    rest = iter(answers)
    return lambda body: next(rest)


# ----------------------------------------------------------------------------------------------------- retries


def test_a_busy_server_is_asked_again_after_as_long_as_it_says(serve):
    answers = [(503, {}), (429, {"error": "busy"}, {"Retry-After": "7"}), (529, {}, {"Retry-After": "300"}), (200, [1])]
    server = serve(__get_reward=in_turn(*answers))
    assert waits(server.url, answers, backoff_seconds=0.5) == ([1], [0.5, 7.0, 60.0])


def test_a_date_in_retry_after_is_waited_for(serve):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    answers = [(429, {}, {"Retry-After": soon}), (429, {}, {"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"})]
    answers += [(429, {}, {"Retry-After": "soon"}), (200, [1])]
    server = serve(__get_reward=in_turn(*answers))
    found, (first, second, third) = waits(server.url, answers, backoff_seconds=0.5)
    assert found == [1]
    assert (second, third) == (1.0, 2.0)
    assert 0.5 < first <= 40.0


def test_the_waits_double_up_to_a_minute(serve):
    answers = [(500, {})] * 9
    server = serve(__get_reward=in_turn(*answers))
    found, waited = waits(server.url, answers, backoff_seconds=0.5)
    assert waited == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert found == Failure("HTTP 500 {}, after 9 tries", "broken")


def test_a_closed_client_asks_nobody(direct):
    client = Client(Endpoint("http://127.0.0.1:9", retries=3, backoff_seconds=100.0))
    client.close()
    assert client.post("/x", {}) == Failure("it was never asked, when it was stopped", "no answer")


def test_waits_are_drawn_longer_by_their_jitter_and_never_shorter_than_the_server_asks(serve):
    answers = [(503, {}, {"Retry-After": "10"})] * 20 + [(200, [1])]
    server = serve(__get_reward=in_turn(*answers))
    _, waited = waits(server.url, answers, backoff_seconds=0.001, jitter=0.5)
    assert all(10.0 <= each <= 15.0 for each in waited[:13])  # 0.001 s × 2**13 is below 10 s
    assert len(set(waited[:13])) == 13


# --------------------------------------------------------------------------------------------------- what ends it


def trickle():
    """A long answer, a byte at a time, so that no wait for a byte is long."""
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(1000):
        time.sleep(0.02)
        yield b" "


def trickle_head():
    """A head that never ends."""
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    while True:
        time.sleep(0.02)
        yield b"x"


def test_a_request_ends_at_its_deadline_whatever_the_server_sends(serve):
    server = serve(__slow=lambda body: Raw(trickle()))
    with Client(Endpoint(server.url, deadline_seconds=0.3)) as client:
        begun = time.monotonic()
        assert client.post("/slow", {}) == Failure("no answer yet, when its 0.3 s were over", "no answer")
    assert time.monotonic() - begun < 10.0


def test_an_answer_that_comes_byte_by_byte_ends_at_the_time_out(serve):
    server = serve(__slow=lambda body: Raw(trickle()), __head=lambda body: Raw(itertools.islice(trickle_head(), 500)))
    with Client(Endpoint(server.url, timeout_seconds=0.3, retries=1, backoff_seconds=0.0)) as client:
        begun = time.monotonic()
        for path in ("/slow", "/head"):
            assert client.post(path, {}) == Failure("no whole answer within 0.3 s, after 2 tries", "no answer")
    assert time.monotonic() - begun < 10.0
    assert len(server.requests) == 4


def test_a_deadline_holds_for_the_waits_between_the_tries_too(serve):
    server = serve(__busy=lambda body: (503, {}, {"Retry-After": "50"}))
    with Client(Endpoint(server.url, deadline_seconds=0.5)) as client:
        assert client.post("/busy", {}) == Failure("HTTP 503 {}, when its 0.5 s were over", "no answer")


def test_all_requests_end_when_the_time_of_their_client_is_over(serve):
    server = serve(__ok=lambda body: (200, 1), __busy=lambda body: (503, {}, {"Retry-After": "50"}))
    with Client(Endpoint(server.url, deadline_seconds=100.0, overall_seconds=0.4)) as client:
        assert client.post("/busy", {}) == Failure(
            "HTTP 503 {}, when the 0.4 s for all requests were over", "no answer"
        )
        over = Failure("no answer yet, when the 0.4 s for all requests were over", "no answer")
        assert client.post("/ok", {}) == over


def test_an_answer_that_is_too_long_is_left(serve):
    server = serve(__long=lambda body: (200, ["x" * 100]), __fits=lambda body: (200, ["x" * 96]))
    with Client(Endpoint(server.url, max_bytes=100)) as client:
        assert client.post("/fits", {}) == ["x" * 96]  # with its brackets and quotes 100 bytes
        assert client.post("/long", {}) == Failure("the answer is longer than 100 bytes", "unusable")
        assert client.post("/fits", {}) == ["x" * 96]


def test_an_answer_that_is_too_long_is_not_read_to_its_end(serve):
    server = serve(__slow=lambda body: Raw(trickle()))
    with Client(Endpoint(server.url, max_bytes=5, deadline_seconds=10.0)) as client:
        assert client.post("/slow", {}) == Failure("the answer is longer than 5 bytes", "unusable")


def test_no_more_requests_run_at_once_than_allowed_however_many_are_asked_for(serve):
    everyone = threading.Barrier(3, timeout=60)

    def answer(body):
        everyone.wait()
        return 200, body["number"]

    server = serve(__echo=answer)
    with Client(Endpoint(server.url), concurrency=3) as client:
        found = list(in_order(lambda number: client.post("/echo", {"number": number}), range(12), concurrency=12))
    assert found == list(range(12))
    assert (server.most_at_once, server.connections) == (3, 3)


# -------------------------------------------------------------------------------------------------------- the key


def test_a_key_in_a_json_answer_is_masked_wherever_it_stands(serve, monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    answer = json.dumps({KEY: [f"Bearer {KEY}", {"deep": KEY}], "reward": 1.0})
    escaped = answer.replace("secret", "\\u0073ecret")
    assert json.loads(escaped) == json.loads(answer)
    server = serve(__x=in_turn((200, answer.encode()), (200, escaped.encode())))
    with Client(Endpoint(server.url, key_variable="A_KEY")) as client:
        for _ in range(2):
            assert client.post("/x", {}) == {"***": ["Bearer ***", {"deep": "***"}], "reward": 1.0}


@pytest.mark.parametrize("status", [200, 401, 422, 503])
def test_a_key_that_the_server_repeats_is_masked(serve, monkeypatch, status):
    monkeypatch.setenv("A_KEY", KEY)
    server = serve(__x=lambda body: (status, f"wrong key {KEY}, {KEY}".encode()))
    with Client(Endpoint(server.url, retries=0, key_variable="A_KEY")) as client:
        try:
            words = client.post("/x", {}).words
        except ModelError as error:
            words = str(error)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "wrong key ***, ***" in words
    assert ("set A_KEY to the server's key" in words) == (status == 401)


def test_a_redirect_is_not_followed_and_named_without_the_secrets_in_it(serve):
    server = serve(
        __old=lambda body: (307, {}, {"Location": f"http://me:{KEY}@other.invalid/new?key={KEY}"}),
    )
    with Client(Endpoint(server.url)) as client, pytest.raises(ModelError) as caught:
        client.post("/old", {})
    assert str(caught.value) == f"{server.url}/old: the server sends on to http://other.invalid/new; give that address"
    assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["secret\n", "secret ", "sécret"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(serve, monkeypatch, key):
    monkeypatch.setenv("PLAUDIT_API_KEY", key)
    server = serve(__x=lambda body: (200, 1))
    with Client(Endpoint(server.url)) as client, pytest.raises(ModelError, match="PLAUDIT_API_KEY holds") as caught:
        client.post("/x", {})
    assert key.strip() not in str(caught.value)
    assert server.requests == []


def test_user_and_password_of_a_url_are_masked():
    assert masked("http://me:se@cret@host:81/x?a=b@c") == "http://host:81/x?a=b@c"
    assert masked("http://host/a@b") == "http://host/a@b"


# ----------------------------------------------------------------------------------- the environment, cookies, TLS


def test_a_cookie_is_not_sent_back(serve):
    server = serve(__x=lambda body: (200, 1, {"Set-Cookie": "server=7; Path=/"}))
    with Client(Endpoint(server.url)) as client:
        assert [client.post("/x", {}) for _ in range(2)] == [1, 1]
    assert "cookie" not in {name.lower() for name in server.headers[1]}


def test_a_proxy_for_everything_is_not_taken_and_one_of_another_kind_refused(serve, monkeypatch):
    server = serve(__x=lambda body: (200, 1))
    monkeypatch.setenv("no_proxy", "elsewhere.invalid")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    with Client(Endpoint(server.url, retries=0)) as client:
        assert client.post("/x", {}) == 1
    monkeypatch.setenv("http_proxy", f"socks5://me:{KEY}@127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"http_proxy is socks5://127.0.0.1:9; it must be an http") as caught:
        Client(Endpoint(server.url))
    assert KEY not in str(caught.value)


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody has signed, with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (tmp_path / "certificate.pem.crt").read_text())
    return path


def test_a_certificate_must_be_trusted(serve, certificate, monkeypatch):
    server = serve(__x=lambda body: (200, 1))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server.http.socket = tls.wrap_socket(server.http.socket, server_side=True)
    endpoint = Endpoint(server.url.replace("http:", "https:"), retries=2)
    with Client(endpoint) as client, pytest.raises(ModelError, match=r"the certificate is not trusted: self.signed"):
        client.post("/x", {})
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Client(endpoint) as client:
        assert client.post("/x", {}) == 1


def test_an_address_that_is_no_url_is_refused(direct):
    with Client(Endpoint("http://a b:c")) as client, pytest.raises(ModelError, match="it is not a URL"):
        client.post("/x", {})


# ------------------------------------------------------------------------------------------------------- in order


def test_an_error_of_one_job_comes_in_its_turn_and_nothing_later_begins():
    begun = []

    def ask(number):
        begun.append(number)
        if number == 3:
            raise ModelError("three")
        return number

    found, answers = [], in_order(ask, range(100), concurrency=2)
    with pytest.raises(ModelError, match="three"):
        found.extend(answers)
    assert found == [0, 1, 2]
    assert max(begun) <= 3 + 3


def test_the_client_loads_no_torch():
    code = "import sys, plaudit.http; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert shown.stdout.strip() == "[]"
