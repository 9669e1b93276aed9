"""Kept-alive HTTP connections to one server: each lent to one request at a time, all closed together."""

from __future__ import annotations

import base64
import http.client
import selectors
import socket
import ssl
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock
from typing import Self, final
from urllib.parse import SplitResult, unquote, urlsplit


@final
@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, of whatever status."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes


@final
class Pool:
    """Connections to the server of a URL, kept open between requests; safe to use from several threads.

    A request takes a connection that is free and opens one where none is, so there are never more than requests ran at
    a time. Proxies are those of the environment (``http_proxy``, ``https_proxy``, ``no_proxy``). ``with`` closes it.
    """

    def __init__(self, base: str, timeout_seconds: float) -> None:
        parts = urlsplit(base)
        proxy = _proxy_of(parts)
        self._prefix = parts.path if proxy is None or parts.scheme == "https" else base
        self._headers = _authorization(proxy) if proxy is not None and parts.scheme == "http" else {}
        self._parts, self._proxy, self._timeout = parts, proxy, timeout_seconds
        is_secure = parts.scheme == "https" or (proxy is not None and proxy.scheme == "https")
        self._tls = ssl.create_default_context() if is_secure else None
        self._lock = Lock()
        self._free = list[http.client.HTTPConnection]()
        self._lent = set[http.client.HTTPConnection]()
        self.closed = Event()
        """Set once no further request is to be begun."""

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """Return the answer of the server.

        Where a kept connection turns out to be closed before the server has said anything, as servers do with those
        that were idle for long, the request is sent once more over a new one.

        Raises:
            OSError, http.client.HTTPException: when there is no connection, no answer in time, or half of one.
        """
        connection = self._take()
        is_kept = connection.sock is not None
        headers = {**headers, **self._headers}
        try:
            try:
                response = _sent(connection, method, self._prefix + path, body, headers)
            except ConnectionError:
                if not is_kept or self.closed.is_set():
                    raise
                connection.close()
                response = _sent(connection, method, self._prefix + path, body, headers)
            reply = Reply(response.status, response.headers, response.read())
        except BaseException:
            connection.close()
            raise
        finally:
            self._give_back(connection)
        return reply

    def close(self) -> None:
        """Close every connection; a request that waits for its answer ends at once, without one."""
        self.closed.set()
        with self._lock:
            free, lent = list(self._free), list(self._lent)
            self._free.clear()
        for connection in free:
            connection.close()
        for connection in lent:
            # its own thread closes it, and is woken by this; of TLS too it is the socket itself that is shut
            if isinstance(sock := connection.sock, socket.socket):
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            connection = self._free.pop() if self._free else self._new()
            self._lent.add(connection)
        if connection.sock is not None and _is_readable(connection.sock):
            connection.close()
        return connection

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._lent.discard(connection)
            if connection.sock is not None and not self.closed.is_set():
                self._free.append(connection)
                return
        connection.close()

    def _new(self) -> http.client.HTTPConnection:
        nearest = self._proxy or self._parts
        host, port = nearest.hostname or "", nearest.port
        if self._proxy is not None and self._parts.scheme == "https":
            # the proxy itself is spoken to in the clear, and its port is 80 where none is named
            tunnelled = http.client.HTTPSConnection(host, port or 80, timeout=self._timeout, context=self._tls)
            tunnelled.set_tunnel(self._parts.hostname or "", self._parts.port or 443, _authorization(self._proxy))
            return tunnelled
        if nearest.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._timeout)


def _sent(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    """Return the answer to a request, of which the first line and the headers are read."""
    # a server may answer that a body is too large, and close, before it has read all of it: the answer counts
    with suppress(BrokenPipeError):
        connection.request(method, target, body, dict(headers))
    return connection.getresponse()


def _is_readable(sock: socket.socket) -> bool:
    """Return whether an idle connection has something to read: that it was closed, or what nobody asked for."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _proxy_of(parts: SplitResult) -> SplitResult | None:
    address = urllib.request.getproxies().get(parts.scheme)
    if not address or urllib.request.proxy_bypass(parts.netloc):
        return None
    return urlsplit(address if "://" in address else f"http://{address}")


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}
