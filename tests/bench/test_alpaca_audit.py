"""Stored annotations of a live judge audited by those of a reference: the rows, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from harness.bench.alpaca_eval import audit_files
from harness.cli.score import app
from harness.core.errors import HarnessError
from harness.stats.audit import Judged, audit
from harness.stats.spread import Rows
from tests.worlds.alpaca_eval import PUBLISHED

Row = dict[str, Any]


def annotations(judge: str, kinder: float, noise: float = 0.2, n: int = 300) -> list[Row]:
    """One judge's preferences on the same n answers, 0.3 on average and `kinder` more."""
    merit = np.random.default_rng(0).uniform(0, 0.6, size=n)
    said = merit + kinder + noise * np.random.default_rng(len(judge)).uniform(-1, 1, size=n)
    return [
        {"index": k, "model": "student", "annotator": judge, "preference": 1 + float(v), "len_1": 50, "len_2": 40 + k}
        for k, v in enumerate(said.clip(0, 1))
    ]


def write(path: Path, rows: list[Row]) -> Path:
    """A file of annotations."""
    path.write_text(json.dumps(rows))
    return path


def a_share(rows: list[Row], n: int) -> list[Row]:
    """A random share of them."""
    return [rows[k] for k in np.random.default_rng(5).permutation(len(rows))[:n]]


def test_an_audited_win_rate_is_the_references(tmp_path: Path) -> None:
    """The live judge is 20 points too kind; its audit is not, and is narrower than the reference's verdicts alone."""
    reference = annotations("expensive", 0.0)
    live, audit = (
        write(tmp_path / "a.json", annotations("cheap", 0.2)),
        write(tmp_path / "b.json", a_share(reference, 80)),
    )
    result = CliRunner().invoke(app, ["alpaca-eval", str(live), "--audit", str(audit), "--format", "json"])
    assert result.exit_code == 0, result.output
    rows = [row for row in json.loads(result.stdout) if row["metric"] == "win_rate"]
    own, audited, alone = rows
    truth = 100 * (np.mean([row["preference"] for row in reference]) - 1)
    assert (own["audited"], own["n_audited"], own["judge"]) == (False, None, "cheap")
    assert own["value"] > truth + 15
    assert (audited["audited"], audited["n_audited"], audited["judge"], audited["n"]) == (True, 80, "cheap", 300)
    assert audited["low"] < truth < audited["high"]
    assert (alone["audited"], alone["n_audited"], alone["judge"], alone["n"]) == (False, 80, "expensive", 80)
    assert audited["high"] - audited["low"] < 0.9 * (alone["high"] - alone["low"])
    assert audited["n_effective"] > 100
    assert "if those that it judged are a random share" in result.stderr


def test_where_the_reference_judged_all_the_audit_is_its_rate(tmp_path: Path) -> None:
    """Nothing of the live judge is left."""
    reference = annotations("expensive", 0.0)
    paths = [write(tmp_path / "a.json", annotations("cheap", 0.2))], [write(tmp_path / "b.json", reference)]
    audited, alone = audit_files(*paths).query("metric == 'win_rate'").to_dict("records")
    assert audited["value"] == pytest.approx(100 * (np.mean([row["preference"] for row in reference]) - 1))
    assert audited["high"] == pytest.approx(alone["high"])


def test_a_failed_verdict_of_either_judge_audits_nothing(tmp_path: Path) -> None:
    """Only instructions with both verdicts count."""
    live, reference = annotations("cheap", 0.2), annotations("expensive", 0.0)[:60]
    live[0]["preference"] = reference[1]["preference"] = None
    paths = [write(tmp_path / "a.json", live)], [write(tmp_path / "b.json", reference)]
    table = audit_files(*paths)
    assert table["n_audited"].tolist() == [58, 58]
    assert table["metric"].unique().tolist() == ["win_rate"], "a length-controlled rate needs more verdicts"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda rows: rows[:9], "fewer than 10 instructions have a verdict of both judges on student"),
        (lambda rows: [row | {"model": "another"} for row in rows], "holds verdicts of no judge on student"),
        (lambda rows: [*rows, rows[0] | {"annotator": "b"}], "holds verdicts of b, expensive on student"),
        (lambda rows: [row | {"len_2": 7} for row in rows], "60 of the reference's verdicts on student are on answers"),
        (
            lambda rows: [rows[3] | {"len_2": 7}, *rows[4:]],
            "1 of the reference's verdicts on student are on ans",
        ),
    ],
)
def test_what_cannot_audit_is_refused(spoil: Callable[[list[Row]], list[Row]], words: str, tmp_path: Path) -> None:
    """Too few labels, another model's, two judges', or verdicts on other answers."""
    live = write(tmp_path / "a.json", annotations("cheap", 0.2))
    with pytest.raises(HarnessError, match=words):
        audit_files([live], [write(tmp_path / "b.json", spoil(annotations("expensive", 0.0)[:60]))])


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published verdicts are not beside the project (../shared/data)")
def test_on_recorded_verdicts_of_two_judges() -> None:
    """Of 40 random audits of 100 of 805, most hold the reference's own rate and are narrower than the audit alone."""
    table = pd.read_parquet(PUBLISHED / "two_judges.parquet").query("generator == 'cohere'")
    (_, live), (_, reference) = table.sort_values("index").groupby("annotator")
    f, y = (100 * (rows["preference"].to_numpy(dtype=float) - 1) for rows in (live, reference))
    index, held, narrower = np.arange(len(f)), 0, 0
    for seed in range(40):
        chosen = np.random.default_rng(seed).permutation(index)[:100]
        result = audit(Judged(Rows(f, index, index), Rows(y[chosen], chosen, chosen)))
        assert result is not None
        assert result.score.low is not None
        assert result.score.high is not None
        assert result.reference.low is not None
        held += result.score.low < y.mean() < result.score.high
        narrower += result.score.value - result.score.low < result.reference.value - result.reference.low
    assert held >= 35
    assert narrower >= 35
