"""Whether a recipe's judges can be asked."""

from harness.core.errors import HarnessError
from harness.doctor.diagnosis import Finding
from harness.judge.identity import endpoint
from harness.judge.settings import JudgeSettings
from harness.judge.standing import look
from harness.recipe.load import Recipe


def judge_findings(recipe: Recipe) -> list[Finding]:
    """A finding for each model judge of a recipe's cells, and for each that audits it."""
    named = (cell.settings.judge for cell in recipe.cells if cell.settings.judge is not None)
    judges = dict.fromkeys(judge for settings in named for judge in settings.asked.values())
    return list(dict.fromkeys(_finding(judge) for judge in judges))


def _finding(settings: JudgeSettings) -> Finding:
    name = f"judge {settings.model}"
    if settings.serve is not None:
        return Finding(name, "ok", "served here")
    try:
        said = look(settings)
    except HarnessError as error:
        return Finding(name, "fail", error.what, error.fix)
    return Finding(name, "warn" if said else "ok", said or f"{endpoint(settings)} lists it")
