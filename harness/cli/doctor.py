"""`harness doctor`."""

import typer

from harness.cli.options import RESULTS, Format, Results


def doctor(results: Results = RESULTS, format_: Format = "table") -> None:
    """Check this environment: packages, vLLM, GPU, processor, memory, disk, keys; every fault with its fix.

    Exits with 1 when something is broken (`fail`).

    Example: harness doctor
    """
    import pandas as pd

    from harness.cli.output import check_format, emit
    from harness.doctor.diagnosis import diagnose
    from harness.doctor.probe import probe

    check_format(format_)
    findings = diagnose(probe(results))
    emit(pd.DataFrame([vars(finding) for finding in findings]), format_)
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(1)
