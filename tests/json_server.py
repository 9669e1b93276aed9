"""A real local server that answers in JSON, in the place of a reward server or any other."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Raw:
    """Bytes that are written to the socket as they are, one after the other; then the server closes the connection."""

    content: bytes | Iterable[bytes] = b""
    is_reset: bool = False
    """Whether the connection is torn down instead."""


class _Listening(ThreadingHTTPServer):
    """A server that lets more than the usual five connections wait, as real ones do, and counts them."""

    request_queue_size = 64
    connections = 0

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)


class Server:
    """A server on a free port that keeps its connections open.

    ``answers[path]`` is a function of the parsed body that gives ``(status, answer)``, ``(status, answer, headers)`` or
    ``Raw``. A request is counted as done before it is answered: who has the answer may send the next at once.
    """

    def __init__(self, answers):
        self.requests, self.headers, self.most_at_once = [], [], 0
        at_once, lock = [0], threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "null")
                with lock:
                    at_once[0] += 1
                    outer.most_at_once = max(outer.most_at_once, at_once[0])
                    outer.requests.append((self.path, body))
                    outer.headers.append(dict(self.headers))
                try:
                    answer = answers[self.path](body) if self.path in answers else (404, {"error": "no such route"})
                finally:
                    with lock:
                        at_once[0] -= 1
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.reply(answer)

            do_GET = do_POST

            def reply(self, answer):
                if isinstance(answer, Raw):
                    self.close_connection = True
                    for part in [answer.content] if isinstance(answer.content, bytes) else answer.content:
                        self.wfile.write(part)
                    if answer.is_reset:
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        os.close(self.connection.detach())
                    return
                status, answer, headers = answer if len(answer) == 3 else (*answer, {})
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.http = _Listening(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def connections(self):
        return self.http.connections

    def bodies(self, path):
        return [body for found, body in self.requests if found == path]

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()
