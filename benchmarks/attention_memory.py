"""Memory of attention over long prompts on the CPU: windows, soft caps and latent attention beside Llama.

A random model of two layers reads a prompt with four responses in the shared-prefix layout, each size in a process of
its own; the peak is above that of the process before the forward pass. Linear memory: peak per token does not grow.

    python benchmarks/attention_memory.py           # 9,000 and 30,000 tokens; writes results/attention_memory.json
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "attention_memory.json"
SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 40_000,
    "pad_token_id": 0,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "mistral, window 4,096": ("MistralConfig", {"sliding_window": 4096}),
    "gemma2, soft cap and window 4,096": ("Gemma2Config", {"head_dim": 32, "sliding_window": 4096}),
    "deepseek_v3, latent attention": (
        "DeepseekV3Config",
        {
            "num_key_value_heads": 8, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 16,
            "qk_nope_head_dim": 32, "v_head_dim": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
            "topk_group": 1, "moe_intermediate_size": 64, "first_k_dense_replace": 2,
        },
    ),
}  # fmt: skip


def measure(kind: str, tokens: int, *, train: bool) -> dict[str, Any]:
    """Return seconds and the peak in GiB above that before the pass."""
    import numpy as np
    import torch
    import transformers

    from plaudit.batching.batch import build_batch
    from plaudit.batching.prefix_tree import build_prefix_tree
    from plaudit.batching.tokens import TokenGroup
    from plaudit.models.attention.interface import ATTENTION_NAME
    from plaudit.models.attention.read_out import FOREST_ARGUMENT

    torch.set_num_threads(1)
    name, fields = KINDS[kind]
    config = getattr(transformers, name)(**SIZES | fields)
    network = transformers.AutoModel.from_config(config, attn_implementation=ATTENTION_NAME)
    rng = np.random.default_rng(0)
    prompt = rng.integers(3, 90, tokens)
    sequences = [np.concatenate([prompt, rng.integers(3, 90, 200)]).astype(np.int32) for _ in range(4)]
    tree = build_prefix_tree(sequences, min_saving=1)
    group = TokenGroup(0, tree, np.full(4, tokens, dtype=np.int32))
    batch = build_batch([group], layout="shared_prefix", pad_id=0)
    before, start = _peak(), time.perf_counter()
    with torch.set_grad_enabled(train):
        arguments = {FOREST_ARGUMENT: batch.forest, "position_ids": batch.position_ids, "use_cache": False}
        hidden = network(input_ids=batch.input_ids, **arguments).last_hidden_state
        if train:
            hidden.sum().backward()
    return {"seconds": round(time.perf_counter() - start, 1), "peak_gib": round(_peak() - before, 3)}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_process(kind: str, tokens: int, mode: str) -> dict[str, Any]:
    """Return the measurement, made in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, "--tokens", str(tokens), "--mode", mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:] or [f"code {done.returncode}"]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure one size, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--one")
    parser.add_argument("--tokens", type=int, nargs="+", default=[9_000, 30_000])
    parser.add_argument("--mode", nargs="+", default=["score"])
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one, chosen.tokens[0], train=chosen.mode == ["train"])))
        return
    from machine import describe

    found = []
    for kind in KINDS:
        for tokens in chosen.tokens:
            for mode in chosen.mode:
                found.append({"kind": kind, "tokens": tokens, "mode": mode} | in_process(kind, tokens, mode))
                print(found[-1], flush=True)
                RESULT.write_text(json.dumps({"machine": describe(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
