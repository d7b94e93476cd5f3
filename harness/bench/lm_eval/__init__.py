"""Tasks of the lm-eval harness: any task, tag or group by its name, run by the package itself."""

from harness.bench.lm_eval.benchmark import BENCHMARK, LmEvalSettings

__all__ = ["BENCHMARK", "LmEvalSettings"]
