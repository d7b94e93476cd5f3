"""The judges that a run will ask, and whether they can be asked."""

from collections.abc import Iterable, Sequence

from harness.core.errors import HarnessError
from harness.judge.identity import endpoint
from harness.judge.settings import JudgeSettings
from harness.judge.standing import look
from harness.plan.estimate import Estimate
from harness.stages import judge
from harness.stages.api import Stage


def looks(stages: Iterable[Stage], rows: Sequence[Estimate]) -> list[str]:
    """Look at each judge that these stages will ask; what there is to know of those that can be asked.

    Raises:
        HarnessError: a judge cannot be asked (see `judge.standing.look`).
    """
    return [said for settings in _asked(stages, rows) if (said := look(settings))]


def forecast(stages: Iterable[Stage], rows: Sequence[Estimate]) -> list[str]:
    """The same before anybody wants a run: a judge that cannot be asked is said too."""
    said = []
    for settings in _asked(stages, rows):
        try:
            said.append(look(settings))
        except HarnessError as error:
            said.append(f"a run stops: {error}")
    return [line for line in said if line]


def _asked(stages: Iterable[Stage], rows: Sequence[Estimate]) -> list[JudgeSettings]:
    """The settings of judges with verdicts left to give, those at one endpoint with one name and key once."""
    done = {row.asked.digest for row in rows if not row.verdicts}
    known = {stage: row.asked for row in rows for stage in row.stages}
    judges = {}
    for stage in stages:
        if "judge" not in stage.execution:
            continue
        resolved = known.get(stage.id) or judge.resolved(stage.params, stage.execution)
        settings = resolved.settings
        if resolved.digest not in done and settings.serve is None:
            judges[settings.model, endpoint(settings), settings.api_key_env] = settings
    return list(judges.values())
