"""One property, two depths: a few cases that are the same each time, and many that are not (`make test-slow`)."""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis.strategies import SearchStrategy

Property = Callable[..., None]

LONGEST_S = 20.0
"""Seconds of processor time, which others' work does not use up. A case takes milliseconds; what takes this long does
not end."""
MANY: dict[str, int] = {}
"""Property -> its cases in the slow target."""


def fuzz(
    few: int, many: int, examples: Sequence[Mapping[str, Any]] = (), **drawn: SearchStrategy[Any]
) -> Callable[[Property], Property]:
    """Runs the decorated property on drawn values; its other parameters are pytest's fixtures.

    `examples` were found by a run: they come first, at both depths. A strategy that has fewer cases to give than were
    asked for fails.
    """

    def decorate(body: Property) -> Property:
        fixtures = [p for name, p in inspect.signature(body).parameters.items() if name not in drawn]
        MANY[f"{body.__module__}.{body.__name__}"] = many

        def run(cases: int, **fixed: Any) -> None:
            ran = 0

            def case(**values: Any) -> None:
                nonlocal ran
                ran += 1
                started = time.process_time()
                body(**fixed, **values)
                assert time.process_time() - started < LONGEST_S

            test = given(**drawn)(case)
            for values in examples:
                test = example(**values)(test)
            _profile(cases, same=cases == few)(test)()
            assert ran >= cases, f"the strategy has {ran} cases to give, not {cases}"

        cases = inspect.Parameter("cases", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = inspect.Signature([cases, *fixtures])  # type: ignore[attr-defined]
        run.__name__, run.__module__, run.__doc__ = body.__name__, body.__module__, body.__doc__
        slow = pytest.param(many, id="many", marks=[pytest.mark.slow, pytest.mark.timeout(900)])
        depths: Property = pytest.mark.parametrize("cases", [pytest.param(few, id="few"), slow])(run)
        return depths

    return decorate


def _profile(cases: int, *, same: bool) -> settings:
    return settings(
        max_examples=cases,
        derandomize=same,
        database=None,  # nothing is left in the repository
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
