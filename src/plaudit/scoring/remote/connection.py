"""JSON over HTTP with retries: what a remote scorer asks of a server, and how it fails."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, final

from plaudit.errors import ModelError
from plaudit.scoring.remote.pool import Pool, Reply

API_KEY = "PLAUDIT_API_KEY"
"""Environment variable whose value is sent as a bearer token. It never stands in a URL, which results keep."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_INPUT = frozenset({400, 413, 422, 424})
"""Statuses by which a server refuses what it was sent; 424 is TEI's for a text whose number is NaN."""
_LONGEST_WAIT = 60.0
_SHOWN = 200

FailureKind = Literal["no answer", "broken", "refused", "unusable"]
"""How a request failed: no answer came; the server broke over it, HTTP 500; it found fault with what it was sent;
what it answered is not JSON."""


@final
@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer that can be read."""

    words: str
    """What happened at the last try, and how many tries there were where there may be several."""
    kind: FailureKind


@final
@dataclass(frozen=True, slots=True)
class Connection:
    """A server that is asked in JSON.

    What may pass (no connection, no answer in time, a torn answer, HTTP 408, 425, 429, 5xx) is tried again, ``retries``
    times, after ``backoff_seconds`` × 1, 2, 4, … or as long as the server's ``Retry-After`` asks, at most a minute.
    """

    base: str
    timeout_seconds: float = 120.0
    retries: int = 5
    backoff_seconds: float = 0.5

    def pool(self) -> Pool:
        """Return the connections over which the server is asked; to be closed after the last request."""
        return Pool(self.base, self.timeout_seconds)

    def get(self, path: str) -> object | Failure:
        """Return what the server answers to GET, parsed; see ``post``."""
        with self.pool() as pool:
            return self._ask(pool, "GET", path, None, self.retries)

    def post(self, pool: Pool, path: str, body: Mapping[str, Any], *, retries: int | None = None) -> object | Failure:
        """Return what the server answers to ``body``, parsed, or why there is no answer; no more tries once it closes.

        ``retries`` stands in for the connection's own.

        Raises:
            ModelError: for what no other request would change: not found, not allowed, a redirect, a certificate that
                is not trusted.
        """
        content = json.dumps(body, ensure_ascii=False).encode()
        return self._ask(pool, "POST", path, content, self.retries if retries is None else retries)

    def _ask(self, pool: Pool, method: str, path: str, body: bytes | None, retries: int) -> object | Failure:
        found = _Passing("it was never asked")
        for number in range(retries + 1):
            wait = min(max(self.backoff_seconds * 2 ** (number - 1), found.wait_seconds), _LONGEST_WAIT)
            if pool.closed.wait(wait if number else 0.0):
                return Failure(f"{found.words}, when it was stopped", "no answer")
            answer = self._try(pool, method, path, body)
            if not isinstance(answer, _Passing):
                return answer
            found = answer
        tries = retries + 1
        kind: FailureKind = "broken" if found.is_broken else "no answer"
        return Failure(f"{found.words}, after {tries} {'try' if tries == 1 else 'tries'}", kind)

    def _try(self, pool: Pool, method: str, path: str, body: bytes | None) -> object | Failure | _Passing:
        url = self.base + path
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := os.environ.get(API_KEY):
            if not (key.isascii() and key.isprintable()):
                raise ModelError(f"{API_KEY} holds a line break or another character that no header can carry")
            headers["Authorization"] = f"Bearer {key}"
        try:
            reply = pool.request(method, path, body, headers)
        except ssl.SSLCertVerificationError as error:
            raise ModelError(f"{url}: the certificate is not trusted: {error.verify_message}") from None
        except (OSError, http.client.HTTPException) as error:
            return _Passing(self._words(error))
        if not 200 <= reply.status < 300:
            return _judged(url, reply)
        try:
            return json.loads(reply.content)
        except (ValueError, RecursionError):
            return Failure(f"the answer is not JSON: {_short(reply.content) or 'it is empty'}", "unusable")

    def _words(self, reason: OSError | http.client.HTTPException) -> str:
        if isinstance(reason, TimeoutError):
            return f"no answer within {self.timeout_seconds:g} s"
        if isinstance(reason, http.client.IncompleteRead):
            return f"the answer breaks off after {len(reason.partial)} bytes"
        if isinstance(reason, OSError) and reason.strerror:
            return f"no connection ({reason.strerror})"
        return f"no whole answer ({type(reason).__name__}: {' '.join(str(reason).split())})"


@final
@dataclass(frozen=True, slots=True)
class _Passing:
    """What went wrong at one try and may go right at the next."""

    words: str
    wait_seconds: float = 0.0
    is_broken: bool = False


def _judged(url: str, reply: Reply) -> Failure | _Passing:
    """Return what an HTTP status other than 2xx means for the request.

    Raises:
        ModelError: when no other request would be answered.
    """
    words = f"HTTP {reply.status} {_short(reply.content)}".strip()
    if reply.status in _AGAIN:
        return _Passing(words, _seconds(reply.headers.get("Retry-After")), is_broken=reply.status == 500)
    if reply.status in _INPUT:
        return Failure(words, "refused")
    if 300 <= reply.status < 400:
        place = reply.headers.get("Location", "no place")
        raise ModelError(f"{url}: the server sends on to {place}; give that address")
    hint = f"; set {API_KEY} to the server's key" if reply.status in (401, 403) else ""
    raise ModelError(f"{url}: the server answers {words}{hint}")


def _seconds(text: str | None) -> float:
    """Return how long ``Retry-After``, a number of seconds or a date, asks to wait; 0 where it is neither."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _short(content: bytes) -> str:
    text = " ".join(content.decode("utf-8", errors="replace").split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
