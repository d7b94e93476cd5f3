"""What a report shows beyond the defaults."""

from pydantic import Field

from harness.core.settings import Settings, execution


class ReportSettings(Settings):
    """Report options; none of them changes a result."""

    coverage_floor: float = execution(1.0, ge=0, le=1)
    """Below this share of scored samples a score is marked and kept out of rankings and tests."""
    transfer_floor: float = execution(0.9, ge=0, le=1)
    """Share of the recorded models, each left out in turn, whose own score a transferred interval has to hold: below it
    a transferred score is marked and not ranked. Of ten models one may be missed: intervals that hold 95 % of the time
    pass nine times in ten, those that hold 70 % of the time once in seven."""
    baseline: str | None = execution(None)
    """What the cells are compared against: a cell, or labels such as `method=sft`. By default the first baseline."""
    matters: dict[str, float] = Field(default_factory=dict, json_schema_extra={"execution": True})
    """Smallest difference that matters, by metric name, in its unit. By default 0.2 sd between questions."""
