"""`harness doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RESULTS, Format, Results, Sets


def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(help="Look too whether this recipe's judges can be asked.", show_default=False)
    ] = None,
    set_: Sets = None,
    measure: Annotated[
        bool, typer.Option(help="Measure this machine's rates too (15 s), from which `plan` tells times.")
    ] = False,
    results: Results = RESULTS,
    format_: Format = "table",
) -> None:
    """Check this environment: packages, vLLM, GPU, processor, memory, disk, keys; every fault with its fix.

    Exits with 1 when something is broken (`fail`).

    Examples:

        harness doctor

        harness doctor recipe.yaml

        harness doctor --measure
    """
    import pandas as pd

    from harness.cli.output import check_format, emit
    from harness.doctor.diagnosis import diagnose
    from harness.doctor.probe import probe

    check_format(format_)
    findings = diagnose(probe(results))
    if measure:
        from harness.doctor.measure import measure as measured

        findings.append(measured(results))
    if recipe is not None:
        from harness.api.recipes import load_recipe
        from harness.doctor.judges import judge_findings

        findings += judge_findings(load_recipe(recipe, set_ or []))
    emit(pd.DataFrame([vars(finding) for finding in findings]), format_)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)
