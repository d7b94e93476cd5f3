"""MT-Bench: 80 two-turn questions in eight categories, each turn rated 1 to 10 by a judge."""

from harness.bench.mt_bench.benchmark import BENCHMARK, MTBenchSettings
from harness.bench.mt_bench.scores import score_files

__all__ = ["BENCHMARK", "MTBenchSettings", "score_files"]
