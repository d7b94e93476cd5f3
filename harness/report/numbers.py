"""Numbers as readers see them: as many digits as the error allows, a real minus sign."""

import math

from harness.report.measure import MARKS, Estimate


def digits(error: float | None, value: float | None = None) -> int:
    """Decimals that a number with this standard error deserves: one or two significant digits of the error."""
    scale = error if error is not None and error > 0 else abs(value or 0.0) / 20
    return 1 if scale >= 0.5 else 2 if scale >= 0.02 else 3 if scale >= 0.002 else 4


def number(value: float | None, decimals: int = 2, *, sign: bool = False) -> str:
    """A fixed number of decimals; an en dash for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = f"{0:.{decimals}f}"
    return text.replace("-", "−")


def p_text(p: float | None) -> str:
    """A p-value: two significant digits, or below one in a thousand."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def decimals(estimate: Estimate) -> int:
    """How many decimals an estimate is printed with."""
    return digits(estimate.stderr, estimate.value) if estimate.decimals is None else estimate.decimals


def symbols(estimate: Estimate) -> str:
    """The marks' symbols, in the legend's order."""
    return "".join(symbol for mark, (symbol, _) in MARKS.items() if mark in estimate.marks)


def interval(estimate: Estimate, *, sign: bool = False) -> str:
    """`[low, high]`, or nothing where it is not known."""
    if estimate.low is None or estimate.high is None:
        return ""
    d = decimals(estimate)
    return f"[{number(estimate.low, d, sign=sign)}, {number(estimate.high, d, sign=sign)}]"


def count(estimate: Estimate) -> str:
    """`n/total`, the samples that were scored."""
    return f"{estimate.n}/{estimate.total}"


def value_text(estimate: Estimate, *, sign: bool = False) -> str:
    """The value with its error's digits, and its marks."""
    return number(estimate.value, decimals(estimate), sign=sign) + symbols(estimate)


def plain(estimate: Estimate, *, sign: bool = False) -> str:
    """`6.21† [5.90, 6.52] 79/80`, for tables of text."""
    parts = [value_text(estimate, sign=sign), interval(estimate, sign=sign), "" if sign else count(estimate)]
    return " ".join(p for p in parts if p)


def duration(seconds: float) -> str:
    """`13 min 32 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", "" if hours else f"{rest} s"]
    return " ".join(p for p in parts if p) if math.isfinite(seconds) else "–"


def si(value: float) -> str:
    """Three digits and a prefix: `1.25 P`; from a thousand of the largest prefix on as a power of ten."""
    if not math.isfinite(value) or value <= 0:
        return "–"
    power = min(math.floor(math.log10(value)) // 3, 8) if value >= 1 else 0
    return f"{value / 1000**power:.3g} {' kMGTPEZY'[power]}".strip()
