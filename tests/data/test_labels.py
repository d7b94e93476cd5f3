"""Counts of what columns such as `language` say."""

import json
from pathlib import Path
from typing import Any

from harness.data.labels import OTHER, Labels
from harness.data.readers import read_dataset
from harness.data.settings import DatasetSettings


def counted(*rows: dict[str, Any]) -> dict[str, dict[str, int]]:
    labels = Labels()
    for row in rows:
        labels.add(row)
    return labels.record


def test_the_commonest_come_first_and_what_is_no_label_is_not_counted() -> None:
    values: list[Any] = ["de", "en", "en", None, 3, "", "e" * 61]
    rows: list[dict[str, Any]] = [{"Language": value} for value in values]
    assert counted(*rows, {"x": "y"}) == {"Language": {"en": 2, "de": 1}}


def test_many_values_are_counted_together() -> None:
    rows: list[dict[str, Any]] = [{"source": f"page {number}"} for number in range(3_000)] + [{"source": "page 7"}] * 5
    record = counted(*rows)["source"]
    assert list(record)[:1] == [OTHER]
    assert record["page 7"] == 6
    assert sum(record.values()) == 3_005
    assert len(record) <= 11


def test_a_dataset_counts_its_usable_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [{"prompt": "a", "response": "b", "lang": lang} for lang in ("fr", "en", "fr")] + [
        {"prompt": 3, "lang": "x"}
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_dataset(DatasetSettings(path=path), 0).labels == {"lang": {"fr": 2, "en": 1}}
