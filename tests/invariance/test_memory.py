"""Attention with a window, a soft cap or latent queries needs memory that grows with the text, not with its square."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attention_memory.py"
KINDS = ("mistral, window 4,096", "gemma2, soft cap and window 4,096", "deepseek_v3, latent attention")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_peak_memory_is_far_below_the_square_of_the_length(kind):
    # eight heads of 6,000 by 6,000 logits are 1.07 GiB in float32, and the softmax over them as much again
    command = [sys.executable, str(SCRIPT), "--one", kind, "--tokens", "6000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    import json

    peak = json.loads(done.stdout.splitlines()[-1])["peak_gib"]
    assert 0.01 < peak < 1.0
