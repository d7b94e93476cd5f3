"""A fake run with everything that a run of mixtures and domain data leaves in its folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data.contamination import Overlap
from harness.record.profiles import write_profiles
from harness.record.run import ContaminationRecord, CostRecord, MixRecord
from tests.report.fake_run import Fake, a_profile, trained

AXES = {"domain_ratio": (0, 0.05, 0.1, 0.25, 0.5), "architecture": ("dense", "2 experts")}
CURVES = ("loss", "loss/general", "loss/domain", "agreement/reference", "held_out_loss", "grad_norm")


def full_run(folder: Path, seeds: int = 2, **changes: Any) -> Path:
    """Write it: a sweep of domain ratio and architecture, leaked prompts, a judge with a price."""
    folder.mkdir(parents=True, exist_ok=True)
    fake = Fake(questions=16, tasks=30, axes=AXES, seeds=seeds, curves=CURVES, experts=4, **changes)
    swept = [c.cell for c in fake.cells if not c.baseline]
    fake.record["training"] = tuple(
        trained(c, skipped=0, truncated=0, train_flops=2.5e14 * (k + 1)) for k, c in enumerate(swept)
    )
    fake.record["mixes"] = tuple(
        MixRecord(c, "1 sft", domain, tokens, rows, share=rows / 800, token_share=tokens / 61_240)
        for c in swept
        for domain, rows, tokens in (("general", 600, 30_620), ("shop", 200, 30_620))
    )
    leaky = ContaminationRecord(
        "data train", "mt_bench", n=13, prompts=16, exact=1, ngram=2, shared=3,
        examples=(Overlap("mt-81", exact=True, share=1.0, row="train-7"),), cells=tuple(swept),
    )  # fmt: skip
    fake.record["contamination"] = (leaky, replace(leaky, benchmark="pocket", exact=0, ngram=0, shared=0, examples=()))
    seconds = {"train": 61.5, "answer": 8.0, "judge": 4.0, "score": 0.2}
    fake.record["costs"] = tuple(
        CostRecord(c, seconds, judge_calls=32, judge_tokens=48_000, price_usd=0.42) for c in swept
    )
    write_profiles(folder, [a_profile(f"data {name}", swept) for name in ("train", "shop")])
    return fake.write(folder)
