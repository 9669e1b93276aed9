"""The benchmarks by name: one literal table."""

from __future__ import annotations

from plaudit.config import import_object
from plaudit.errors import ConfigError, UnknownNameError, closest_or_all
from plaudit.evaluation.official.benchmark import Benchmark

CATALOG = {
    "big_bench_mistake": "plaudit.evaluation.official.benchmarks.big_bench_mistake:BIG_BENCH_MISTAKE",
    "judgebench": "plaudit.evaluation.official.benchmarks.judgebench:JUDGEBENCH",
    "llmbar": "plaudit.evaluation.official.benchmarks.llmbar:LLMBAR",
    "m_reward_bench": "plaudit.evaluation.official.benchmarks.m_reward_bench:M_REWARD_BENCH",
    "ppe_correctness": "plaudit.evaluation.official.benchmarks.ppe_correctness:PPE_CORRECTNESS",
    "ppe_preference": "plaudit.evaluation.official.benchmarks.ppe_preference:PPE_PREFERENCE",
    "prmbench": "plaudit.evaluation.official.benchmarks.prmbench:PRMBENCH",
    "processbench": "plaudit.evaluation.official.benchmarks.processbench:PROCESSBENCH",
    "rag_reward_bench": "plaudit.evaluation.official.benchmarks.rag_reward_bench:RAG_REWARD_BENCH",
    "reward_bench": "plaudit.evaluation.official.benchmarks.reward_bench:REWARD_BENCH",
    "reward_bench_2": "plaudit.evaluation.official.benchmarks.reward_bench_2:REWARD_BENCH_2",
    "rewardmath": "plaudit.evaluation.official.benchmarks.rewardmath:REWARDMATH",
    "rm_bench": "plaudit.evaluation.official.benchmarks.rm_bench:RM_BENCH",
    "rmb": "plaudit.evaluation.official.benchmarks.rmb:RMB",
}
"""Name → module and object."""


def benchmark_named(name: str) -> Benchmark:
    """Return the benchmark of the catalogue called ``name``, or the one at the import path ``module:OBJECT``.

    Raises:
        UnknownNameError: with the closest name.
        ConfigError: where an import path leads to no benchmark.
    """
    if ":" not in name and name not in CATALOG:
        raise UnknownNameError(f"unknown benchmark {name!r}; {closest_or_all(name, CATALOG)}")
    found = import_object(CATALOG.get(name, name), key="benchmark")
    if not isinstance(found, Benchmark):
        raise ConfigError(f"benchmark: {name} is {type(found).__name__}; it must be a Benchmark")
    return found
