"""AlpacaEval 1 and 2: 805 instructions, each answer compared by a judge with a baseline's."""

from harness.bench.alpaca_eval.benchmark import BENCHMARK, EDITIONS, AlpacaEvalSettings
from harness.bench.alpaca_eval.scores import audit_files, score_files, second_annotations

__all__ = ["BENCHMARK", "EDITIONS", "AlpacaEvalSettings", "audit_files", "score_files", "second_annotations"]
