"""A fake run with everything that a run of mixtures and domain data leaves in its folder."""

from pathlib import Path
from typing import Any

from tests.report.fake_run import Fake

AXES = {"domain_ratio": (0, 0.05, 0.1, 0.25, 0.5), "architecture": ("dense", "2 experts")}
CURVES = ("loss", "loss/general", "loss/domain", "agreement/reference", "held_out_loss", "grad_norm")


def full_run(folder: Path, seeds: int = 2, **changes: Any) -> Path:
    """Write it: a sweep of domain ratio and architecture, leaked prompts, a judge with a price."""
    fake = Fake(questions=16, tasks=30, axes=AXES, seeds=seeds, curves=CURVES, experts=4, **changes)
    swept = [c["cell"] for c in fake.cells if not c["baseline"]]
    lead = {"step": "1 sft", "rows": 800}
    fake.record["training"] = [
        lead | {"cell": c, "steps": 100, "response_tokens": 61_240, "train_flops": 2.5e14 * (k + 1)}
        for k, c in enumerate(swept)
    ]
    fake.record["mixes"] = [
        {"cell": c, "step": "1 sft", "domain": d, "rows": rows, "response_tokens": tokens}
        | {"share": rows / 800, "token_share": tokens / 61_240}
        for c in swept
        for d, rows, tokens in (("general", 600, 30_620), ("shop", 200, 30_620))
    ]
    leak = {"prompt": "mt-81", "row": "train-7", "exact": True, "share": 1.0}
    found = {"dataset": "data train", "benchmark": "mt_bench", "prompts": 16, "exact": 1, "ngram": 2, "n": 13}
    fake.record["contamination"] = [
        found | {"examples": [leak], "cells": swept},
        found | {"benchmark": "pocket", "exact": 0, "ngram": 0, "examples": [], "cells": swept},
    ]
    fake.record["costs"] = [
        {"cell": c, "seconds": {"train": 61.5, "answer": 8.0, "judge": 4.0, "score": 0.2}}
        | {"judge_calls": 32, "judge_tokens": 48_000, "price_usd": 0.42}
        for c in swept
    ]
    return fake.write(folder)
