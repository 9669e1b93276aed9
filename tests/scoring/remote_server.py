"""A real local server in the place of a reward server, and scorers that ask it."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.scoring.remote.connection import Connection
from plaudit.scoring.remote.scorer import RemoteScorer, Template


@dataclass(frozen=True)
class Raw:
    """What is written to the socket as it is, after which the server closes the connection."""

    content: bytes = b""


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
                    self.wfile.write(answer.content)
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


def group(*responses, prompt="hi", id="0"):
    pairs = (Preference(0, 1),) if len(responses) > 1 else ()
    return Group(conversation(prompt), responses, pairs, id=id)


def quick(url, shape, *, retries=2, timeout=60.0, **options):
    """A scorer that waits next to nothing between its tries."""
    return RemoteScorer(Connection(url, timeout, retries, backoff_seconds=0.001), shape, **options)


def plain():
    return Template("plain", "", special_tokens=True, tokenizer=None)


def rewards_of_length(body):
    """The answer of an OpenRLHF server whose model likes long texts."""
    numbers = [float(len(text)) for text in body["query"]]
    return 200, {"rewards": numbers, "scores": numbers, "extra_logs": {"dummy_scores": numbers}}
