"""What run.json tells the command that runs a recipe again."""

from collections.abc import Sequence

from harness.core.lines import read_json
from harness.record import contamination
from harness.record.folder import RunFolder
from harness.record.run import AGAIN, JudgeRecord, as_json, read_run


def says_of_judges(folder: RunFolder, judges: Sequence[JudgeRecord]) -> bool:
    """Whether run.json says of the judges what is known now: a calibration may have come since."""
    known = [as_json(judge) for judge in judges]
    return folder.record.exists() and read_json(folder.record, AGAIN).get("judges") == known


def warnings(folder: RunFolder) -> list[str]:
    """What run.json warns of, and each dataset that it found prompts of a benchmark in."""
    record = read_run(folder.record)
    return [*record.warnings, *contamination.warnings(record.contamination)]
