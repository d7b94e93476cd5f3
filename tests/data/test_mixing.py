"""Mixes: the right numbers, nested, in a seeded order."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import HarnessError
from harness.data.mixing import Drawn, mix, shares

Rows = list[Drawn]


def rows(number: int, said: str) -> list[str]:
    return [f"{said} {i}" for i in range(number)]


def counts(mixed: Rows) -> dict[str | None, int]:
    return dict(Counter(row.domain for row in mixed))


def sources(mixed: Rows, domain: str | None) -> set[str | None]:
    return {row.source for row in mixed if row.domain == domain}


def test_numbers_and_names() -> None:
    mixed = mix(rows(100, "g"), {"shop": rows(50, "s")}, {"shop": 0.29}, None, 0)
    assert counts(mixed) == {None: 71, "shop": 29}
    assert len({row.id for row in mixed}) == 100
    one = next(row for row in mixed if row.domain == "shop")
    assert one.id == f"shop/{one.source}"
    assert one.source == f"s {one.row}"
    assert {row.id.partition("/")[0] for row in mixed if row.domain is None} == {"train"}


def test_all_of_one_kind() -> None:
    general, domain = rows(20, "g"), rows(20, "d")
    assert counts(mix(general, {"d": domain}, {"d": 0.0}, None, 0)) == {None: 20}
    assert counts(mix(general, {"d": domain}, {"d": 1.0}, None, 0)) == {"d": 20}


def test_interleaved() -> None:
    mixed = mix(rows(400, "g"), {"d": rows(200, "d")}, {"d": 0.5}, 400, 0)
    first = counts(mixed[:100])
    assert 25 < first["d"] < 75, "a random half"


def test_seed_changes_draw_and_order() -> None:
    general, domain = rows(100, "g"), {"d": rows(100, "d")}
    one, same, other = (mix(general, domain, {"d": 0.2}, 50, seed) for seed in (1, 1, 2))
    assert one == same
    assert sources(one, "d") != sources(other, "d")
    assert sources(one, None) != sources(other, None)


def test_order_of_the_datasets_is_of_no_matter() -> None:
    general, domain = rows(60, "g"), rows(60, "d")
    one = mix(general, {"d": domain}, {"d": 0.3}, 40, 3)
    other = mix(general[::-1], {"d": domain[::-1]}, {"d": 0.3}, 40, 3)
    assert [row.id for row in one] == [row.id for row in other]


@given(
    low=st.floats(0, 1), high=st.floats(0, 1), examples=st.integers(1, 60), seed=st.integers(0, 5), two=st.booleans()
)
def test_nested_at_every_ratio(low: float, high: float, examples: int, seed: int, two: bool) -> None:
    low, high = sorted((low, high))
    general = rows(60, "g")
    domains = {"a": rows(60, "a"), "b": rows(60, "b")} if two else {"a": rows(60, "a")}
    little, much = (mix(general, domains, shares(ratio, list(domains)), examples, seed) for ratio in (low, high))
    assert len(little) == len(much) == examples
    for name in domains:
        assert sources(little, name) <= sources(much, name)
    assert sources(much, None) <= sources(little, None)


def test_shares() -> None:
    assert shares(0.5, ["maths", "law"]) == {"maths": 0.25, "law": 0.25}
    assert shares({"law": 0.1}, ["maths", "law"]) == {"maths": 0.0, "law": 0.1}
    assert shares(0.1, ["domain"]) == shares({"domain": 0.1}, ["domain"])


def test_too_few_domain_rows() -> None:
    with pytest.raises(HarnessError) as error:
        mix(rows(1000, "g"), {"maths": rows(100, "m")}, {"maths": 0.5}, None, 0)
    assert error.value.what == "domain 'maths' holds 100 rows, ratio 0.5 of 1,000 examples needs 500"
    assert "Lower `examples`" in (error.value.fix or "")


def test_too_few_general_rows() -> None:
    with pytest.raises(HarnessError, match=r"data.train holds 100 rows, ratio 0.9 of 1,000 examples needs 900"):
        mix(rows(100, "g"), {"maths": rows(500, "m")}, {"maths": 0.1}, 1000, 0)
