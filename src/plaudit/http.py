"""JSON over HTTP to one server: kept connections, retries, deadlines, caps, and a key that is shown nowhere."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import random
import re
import ssl
import time
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from threading import Lock, Thread
from typing import Any, Literal, Self, TypeVar, final
from urllib.parse import urlsplit

import httpx2

from plaudit.errors import ConfigError, ModelError

API_KEY = "PLAUDIT_API_KEY"
"""Environment variable whose value is sent as a bearer token. It never stands in a URL, which results keep."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_INPUT = frozenset({400, 413, 422, 424})
"""Statuses that refuse the input of a request; 424 is TEI's for a text whose reward is NaN."""
_LONGEST_WAIT = 60.0
_SHOWN = 200
_SILENT = "Server disconnected without sending a response."
"""httpx2's words for a connection that was closed before the first byte of an answer."""
_TIMED = frozenset(
    f"http11.{part}"
    for part in ("send_request_headers.started", "send_request_body.complete", "receive_response_headers.complete")
)
"""Events of a request from which the next part of it may take ``timeout_seconds``."""
_STOPPED = "when it was stopped"

Job = TypeVar("Job")
Answer = TypeVar("Answer")

FailureKind = Literal["no answer", "broken", "refused", "unusable"]
"""Kind of failure of a request: no answer came; the server failed with HTTP 500; the server refused the input;
the answer is not JSON, or too long."""


@final
@dataclass(frozen=True, slots=True)
class Failure:
    """Failure of a request: no usable answer, with the reason."""

    words: str
    """Outcome of the last try, with the number of tries where there may be several."""
    kind: FailureKind


@final
@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server, and how patiently it is asked.

    Passing failures (no connection, no answer in time, a torn answer, HTTP 408, 425, 429, 5xx) are retried, ``retries``
    times, after ``backoff_seconds`` × 1, 2, 4, … or as long as the server's ``Retry-After`` asks, whichever is longer;
    at most a minute.
    """

    base: str
    timeout_seconds: float = 120.0
    """Seconds in which a server has to begin its answer, and seconds after that in which it has to end it."""
    retries: int = 5
    backoff_seconds: float = 0.5
    jitter: float = 0.25
    """Largest share by which a wait is drawn longer, so that clients that failed together do not return together."""
    deadline_seconds: float | None = None
    """Longest time of one request, with all its tries and waits."""
    overall_seconds: float | None = None
    """Time after the opening of a client at which all its requests end."""
    max_bytes: int = 64 * 2**20
    """Longest answer that is read."""
    key_variable: str = API_KEY

    def key(self) -> str | None:
        """Return the key that the environment holds; None where it holds none.

        Raises:
            ModelError: when it cannot stand in a header.
        """
        key = os.environ.get(self.key_variable)
        if key and not (key.isascii() and key.isprintable() and key == key.strip()):
            raise ModelError(
                f"{self.key_variable} holds a line break, an outer space or another character that no header can carry"
            )
        return key or None


@final
class Client:
    """Connections to the server of an endpoint, kept open between requests; safe to use from several threads.

    At most ``concurrency`` requests run at a time, over as many connections; others wait for their turn. Requests are
    run by an event loop in a thread of its own, as only there one that waits for its answer can be ended. Proxies are
    those of the environment (``http_proxy``, ``https_proxy``, ``no_proxy``); ``.netrc``, cookies and redirects are not
    followed. ``with`` closes the client.
    """

    def __init__(self, endpoint: Endpoint, *, concurrency: int = 8) -> None:
        self.endpoint = endpoint
        self.pause: Callable[[float], Awaitable[None]] = asyncio.sleep
        """Waits some seconds between two tries."""
        self._http = _async_client(endpoint, concurrency)
        self._lock, self._is_closed = Lock(), False
        self._ends = None if endpoint.overall_seconds is None else time.monotonic() + endpoint.overall_seconds
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="plaudit-http", daemon=True)
        self._thread.start()

    def get(self, path: str) -> object | Failure:
        """Return the parsed answer to a GET; see ``post``."""
        return self._run("GET", path, None, self.endpoint.retries)

    def post(self, path: str, body: Mapping[str, Any], *, retries: int | None = None) -> object | Failure:
        """Return the parsed answer to a POST of ``body``, or the failure.

        ``retries`` stands in for the endpoint's own. Where a kept connection turns out to be closed before the server
        has said anything, as servers do with those that were idle for long, the request is sent once more over another,
        which is no try.

        Raises:
            ModelError: for failures that no other request would change: not found, not allowed, a redirect, a
                certificate that is not trusted.
        """
        content = json.dumps(body, ensure_ascii=False).encode()
        return self._run("POST", path, content, self.endpoint.retries if retries is None else retries)

    def close(self) -> None:
        """Close every connection; a request that waits for its answer ends at once, without one."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    async def _end(self) -> None:
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        await self._http.aclose()

    def _run(self, method: str, path: str, content: bytes | None, retries: int) -> object | Failure:
        with self._lock:
            if self._is_closed:
                return Failure(f"it was never asked, {_STOPPED}", "no answer")
            future = asyncio.run_coroutine_threadsafe(self._ask(method, path, content, retries), self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            return Failure(f"it was never asked, {_STOPPED}", "no answer")

    async def _ask(self, method: str, path: str, content: bytes | None, retries: int) -> object | Failure:
        found = _Passing("no answer yet")
        ends, over = self._deadline()
        try:
            async with asyncio.timeout_at(ends):
                for number in range(retries + 1):
                    if number:
                        await self.pause(_wait(self.endpoint, number, found.wait_seconds))
                    answer = await self._try(method, path, content)
                    if not isinstance(answer, _Passing):
                        return answer
                    found = answer
        except TimeoutError:
            return Failure(f"{found.words}, {over}", "no answer")
        except asyncio.CancelledError:
            return Failure(f"{found.words}, {_STOPPED}", "no answer")
        tries = retries + 1
        kind: FailureKind = "broken" if found.is_broken else "no answer"
        return Failure(f"{found.words}, after {tries} {'try' if tries == 1 else 'tries'}", kind)

    def _deadline(self) -> tuple[float | None, str]:
        """Return the time of the loop's clock at which a request that begins now ends, and why it does."""
        own, overall = self.endpoint.deadline_seconds, self.endpoint.overall_seconds
        now = time.monotonic()  # the clock of the loop too
        if self._ends is not None and (own is None or self._ends < now + own):
            return self._ends, f"when the {overall:g} s for all requests were over"
        return (None, "") if own is None else (now + own, f"when its {own:g} s were over")

    async def _try(self, method: str, path: str, content: bytes | None) -> object | Failure | _Passing:
        endpoint, url = self.endpoint, self.endpoint.base + path
        key = endpoint.key()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        while True:
            events, body = set[str](), bytearray()

            clock = asyncio.timeout(None)  # waiting for a free connection takes as long as others do

            async def see(event: str, _: object, events: set[str] = events, clock: asyncio.Timeout = clock) -> None:
                events.add(event)
                if event in _TIMED:
                    clock.reschedule(self._loop.time() + endpoint.timeout_seconds)

            try:
                sent = self._http.stream(method, url, content=content, headers=headers, extensions={"trace": see})
                async with clock, sent as response:
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > endpoint.max_bytes:
                            break
            except TimeoutError:
                return _Passing(f"no whole answer within {endpoint.timeout_seconds:g} s")
            except httpx2.InvalidURL as error:
                raise ModelError(f"{masked(url)}: it is not a URL: {error}") from None
            except httpx2.HTTPError as error:
                is_begun = "http11.receive_response_headers.complete" in events
                is_kept = "connection.connect_tcp.started" not in events
                if is_kept and not is_begun and _is_closed(error):
                    continue
                return _Passing(self._words(error, url, len(body) if is_begun else None))
            return _judged(endpoint, masked(url), response, bytes(body), key)

    def _words(self, error: httpx2.HTTPError, url: str, received: int | None) -> str:
        """Return the failure of a try; ``received`` bytes of an answer that had begun."""
        reasons = list(_reasons(error))
        for reason in reasons:
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise ModelError(f"{masked(url)}: the certificate is not trusted: {reason.verify_message}")
        if isinstance(error, httpx2.TimeoutException):
            return f"no answer within {self.endpoint.timeout_seconds:g} s"
        if received is not None:
            return f"the answer breaks off after {received} bytes"
        for reason in reasons:
            if isinstance(reason, OSError) and reason.strerror:
                # asyncio puts its own words, with the address, in the place of the system's
                words = os.strerror(reason.errno) if reason.errno and reason.errno > 0 else reason.strerror
                return f"no connection ({words})"
        return f"no whole answer ({' '.join(str(error).split()).rstrip('.') or type(error).__name__})"


def in_order(ask: Callable[[Job], Answer], jobs: Iterable[Job], *, concurrency: int) -> Iterator[Answer]:
    """Yield ``ask(job)`` for each of ``jobs``, in order.

    At most ``concurrency`` run at a time, each in a thread, and one more job is read ahead. Jobs that have not begun
    when the iterator is closed never begin; closing the client afterwards ends those that have.
    """
    workers = ThreadPoolExecutor(concurrency, thread_name_prefix="plaudit-http")
    running: deque[Future[Answer]] = deque()
    try:
        for job in jobs:
            running.append(workers.submit(ask, job))
            if len(running) > concurrency:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def masked(text: str) -> str:
    """Return a URL without the user and password that may stand in it."""
    return re.sub(r"//[^/?#]*@", "//", text)


@final
@dataclass(frozen=True, slots=True)
class _Passing:
    """A failure of one try that is worth a retry."""

    words: str
    wait_seconds: float = 0.0
    is_broken: bool = False


def _async_client(endpoint: Endpoint, concurrency: int) -> httpx2.AsyncClient:
    scheme = urlsplit(endpoint.base).scheme
    proxy = _proxy_of(endpoint.base)
    is_secure = scheme == "https" or (proxy is not None and proxy.startswith("https:"))
    # the roots of trust take a while to load, and an empty context trusts nobody
    tls = ssl.create_default_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx2.AsyncClient(
        verify=tls,
        # the environment is read here, as httpx2 would take SOCKS proxies and all_proxy from it too
        trust_env=False,
        proxy=None if proxy is None else httpx2.Proxy(proxy, ssl_context=tls if proxy.startswith("https:") else None),
        timeout=httpx2.Timeout(endpoint.timeout_seconds, pool=None),
        limits=httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency, keepalive_expiry=None),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        # a balancer's cookie would send every request to one of its servers
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def _proxy_of(base: str) -> str | None:
    """Return the proxy that the environment names for an address.

    Raises:
        ConfigError: when it is neither an HTTP nor an HTTPS proxy.
    """
    parts = urlsplit(base)
    address = urllib.request.getproxies().get(parts.scheme)
    if not address or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxy = address if "://" in address else f"http://{address}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigError(f"{parts.scheme}_proxy is {masked(proxy)}; it must be an http:// or https:// proxy")
    return proxy


def _wait(endpoint: Endpoint, number: int, asked_seconds: float) -> float:
    """Return the seconds to wait before try ``number``, counted from 0, of which the server has asked for some."""
    wait = max(endpoint.backoff_seconds * 2 ** (number - 1), asked_seconds)
    return min(wait * (1 + random.uniform(0, endpoint.jitter)), _LONGEST_WAIT)


def _is_closed(error: httpx2.HTTPError) -> bool:
    """Return whether a connection was closed, or torn down, under a request."""
    return isinstance(error, httpx2.ReadError | httpx2.WriteError) or str(error) == _SILENT


def _reasons(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it was raised from."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _reasons(each)
        error = error.__cause__ or error.__context__


def _judged(
    endpoint: Endpoint, url: str, response: httpx2.Response, content: bytes, key: str | None
) -> object | Failure | _Passing:
    """Return the parsed content of an answer, or the failure that its status stands for.

    Raises:
        ModelError: when no other request would be answered.
    """
    status = response.status_code
    if 200 <= status < 300:
        if len(content) > endpoint.max_bytes:
            return Failure(f"the answer is longer than {endpoint.max_bytes} bytes", "unusable")
        try:
            answer = json.loads(content)
            return _without(key, answer) if key else answer
        except (ValueError, RecursionError):
            return Failure(f"the answer is not JSON: {_short(content, key) or 'it is empty'}", "unusable")
    words = f"HTTP {status} {_short(content, key)}".strip()
    if status in _AGAIN:
        return _Passing(words, _seconds(response.headers.get("Retry-After")), is_broken=status == 500)
    if status in _INPUT:
        return Failure(words, "refused")
    if 300 <= status < 400:
        place = _short(masked(response.headers.get("Location", "no place")).partition("?")[0].encode(), key)
        raise ModelError(f"{url}: the server sends on to {place}; give that address")
    hint = f"; set {endpoint.key_variable} to the server's key" if status in (401, 403) else ""
    raise ModelError(f"{url}: the server answers {words}{hint}")


def _without(key: str, value: object) -> object:
    """Return a JSON value with the key masked wherever it stands, however it was escaped."""
    match value:
        case str():
            return value.replace(key, "***")
        case list():
            return [_without(key, each) for each in value]
        case dict():
            return {_without(key, name): _without(key, each) for name, each in value.items()}
        case _:
            return value


def _seconds(text: str | None) -> float:
    """Return how long ``Retry-After``, a number of seconds or a date, asks to wait; 0 where it is neither."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    with suppress(ValueError):
        until = parsedate_to_datetime(text)
        aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    return 0.0


def _short(content: bytes, key: str | None) -> str:
    """Return the first words of an answer, without the key, which a server may repeat."""
    text = " ".join(content.decode("utf-8", errors="replace").split())
    text = text.replace(key, "***") if key else text
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
