"""What a report shows beyond the defaults."""

from harness.core.settings import Settings, execution


class ReportSettings(Settings):
    """Report options; none of them changes a result."""

    coverage_floor: float = execution(1.0, ge=0, le=1)
    """Below this share of scored samples a score is marked and kept out of rankings and tests."""
