"""Arena-Hard v0.1: 500 hard prompts, each answer judged against a baseline's in both orders."""

from harness.bench.arena_hard.benchmark import BENCHMARK, ArenaHardSettings
from harness.bench.arena_hard.scores import score_files

__all__ = ["BENCHMARK", "ArenaHardSettings", "score_files"]
