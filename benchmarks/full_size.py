"""The table of docs/full-size.md: what the papers' recipes take on several machines, as `harness plan` says it.

    HF_HUB_OFFLINE=1 python benchmarks/full_size.py

Neither weights nor data are here: sizes are those of the recipes' `expect` and of the table of shapes.
"""

import tempfile
from pathlib import Path

from harness.api.recipes import load_recipe, plan_recipe
from harness.plan.fit import gigabytes

PAPERS = Path(__file__).parents[1] / "recipes" / "papers"
ROWS = (
    ("1 x H100", "stronger-teachers", ["resources={gpus: 1, gpu: H100}"], "student=Qwen2-1.5B*"),
    ("4 x H100", "stronger-teachers", [], "*"),
    ("8 x H100", "teacher-million", [], "*"),
    ("8 x H200", "teacher-million", ["resources.gpu=H200"], "*"),
    ("16 x H100", "teacher-million", ["resources.gpus=16", "resources.processes=16"], "*"),
)


def main() -> None:
    """Print the rows of the table."""
    with tempfile.TemporaryDirectory() as results:
        for machine, name, overrides, only in ROWS:
            recipe = load_recipe(PAPERS / f"{name}.yaml", [*overrides, "vars.data=nowhere"])
            seen = plan_recipe(recipe, results=results, only=only).prospect
            said = " ".join([name, *(f"`--set '{one}'`" for one in overrides), *[f"`--only '{only}'`"] * (only != "*")])
            peaks = ", ".join(f"{kind} {gigabytes(fit.peak.total)}" for kind, fit in seen.peaks.items())
            stops = " (does not fit)" if any(fit.remedy for fit in seen.fits) else ""
            hours = seen.gpu_hours
            ends = f"{hours.expected:,.0f} ({hours.least:,.0f} to {hours.most:,.0f})"
            print(f"| {machine} | {said} | {peaks}{stops} | {ends} | {gigabytes(seen.kept)} |")


if __name__ == "__main__":
    main()
