"""Student's t, the normal and the logistic distribution.

`scipy.special` is imported at the first call: that takes a tenth of a second, and planning computes no interval.
"""

from typing import Any


def t_quantile(df: Any, share: float) -> Any:
    """Below which lies this share of a t distribution with `df` degrees of freedom; of the shape of `df`."""
    from scipy.special import stdtrit

    return stdtrit(df, share)


def t_below(df: Any, value: Any) -> Any:
    """The share of a t distribution that lies below a value."""
    from scipy.special import stdtr

    return stdtr(df, value)


def normal_quantile(share: Any) -> Any:
    """Below which lies this share of the normal distribution; of the shape of `share`."""
    from scipy.special import ndtri

    return ndtri(share)


def normal_below(value: Any) -> Any:
    """The share of the normal distribution that lies below a value."""
    from scipy.special import ndtr

    return ndtr(value)


def logistic(value: Any) -> Any:
    """1 / (1 + exp(-value)), elementwise: the share of the standard logistic distribution that lies below a value."""
    from scipy.special import expit

    return expit(value)
