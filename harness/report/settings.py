"""What a report shows beyond the defaults."""

from pydantic import Field

from harness.core.settings import Settings, execution


class ReportSettings(Settings):
    """Report options; none of them changes a result."""

    coverage_floor: float = execution(1.0, ge=0, le=1)
    """Below this share of scored samples a score is marked and kept out of rankings and tests."""
    baseline: str | None = execution(None)
    """What the cells are compared against: a cell, or labels such as `method=sft`. By default the first baseline."""
    matters: dict[str, float] = Field(default_factory=dict, json_schema_extra={"execution": True})
    """Smallest difference that matters, by metric name, in its unit. By default 0.2 sd between questions."""
