"""What run.json tells the command that runs a recipe again."""

from collections.abc import Sequence

from harness.core.errors import HarnessError
from harness.record import contamination
from harness.record.folder import RunFolder
from harness.record.run import JudgeRecord, read_run


def says_of_judges(folder: RunFolder, judges: Sequence[JudgeRecord]) -> bool:
    """Whether run.json says of the judges what is known now: a calibration may have come since.

    A record that cannot be read says nothing, and is to be written anew.
    """
    try:
        return read_run(folder.record).judges == tuple(judges)
    except HarnessError:
        return False


def warnings(folder: RunFolder) -> list[str]:
    """What run.json warns of, and each dataset that it found prompts of a benchmark in."""
    record = read_run(folder.record)
    return [*record.warnings, *contamination.warnings(record.contamination)]
