"""Results on a disk that cannot be written: what reads works, what writes says so in one message."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app
from harness.core.errors import HarnessError
from harness.record.stages import named_stages
from harness.store.ledger import Ledger
from tests.cli.command import executed, harness
from tests.durability.conftest import ONE
from tests.durability.frozen import frozen
from tests.store.test_ledger import REPLY, keep


def cli(results: Path, *words: str) -> Result:
    """A command that is to succeed, in this process."""
    done = CliRunner().invoke(app, [*words, "--results", str(results)])
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done


def test_what_reads_works(results: Path, tmp_path: Path) -> None:
    stage = unfinish(results)
    elsewhere = tmp_path / "elsewhere"
    with frozen(results):
        for words in (["scores", "tiny"], ["compare", "tiny"], ["status"], ["store", "verify"], ["store", "du"]):
            cli(results, *words)
        shown = json.loads(cli(results, "status", "tiny", "--format", "json").stdout)
        plan = json.loads(cli(results, "plan", "tiny.yaml", "--format", "json").stdout)
        cli(results, "report", "tiny", "--out", str(elsewhere))
    assert [row["stage"] for row in shown if row["state"] != "done"] == [stage[:12]]
    assert plan[-1]["done"] == len(shown) - 1
    assert (elsewhere / "report.html").exists()


def unfinish(results: Path) -> str:
    """Take one artifact away on which nothing stands."""
    stage = next(stage for stage, kind, _ in named_stages(results / "runs/tiny") if kind == "score")
    (results / "store/artifacts" / stage).rename(results.parent / "away")
    return stage


def test_a_finished_run_is_found_finished(results: Path) -> None:
    with frozen(results):
        done = harness(*ONE, "--results", results)
    assert done.returncode == 0, done.stderr
    assert executed(done) == 0


@pytest.mark.parametrize("words", [ONE, ["run", "tiny.yaml", "--set", "name=other"], ["report", "tiny"]])
def test_what_writes_says_so(results: Path, words: list[str]) -> None:
    """A run that has something left to do, one that is new, a report into the run's own folder."""
    unfinish(results)
    with frozen(results):
        done = harness(*words, "--results", results)
    assert done.returncode == 1
    *_, head, fix = done.stderr.splitlines()
    assert head.startswith(f"harness: {results}"), done.stderr
    assert "name another" in fix
    assert "Traceback" not in done.stderr


def test_another_recipe_into_the_folder_of_a_run(results: Path) -> None:
    """The old tables stay whole."""
    with frozen(results):
        done = harness("run", "tiny.yaml", "--results", results)
    assert done.returncode == 1
    assert f"harness: {results / 'runs/tiny'}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert (results / "runs/tiny/scores.csv").exists()


@pytest.mark.parametrize("killed", [False, True])
def test_a_ledger_that_cannot_be_written_is_read(tmp_path: Path, killed: bool) -> None:
    """After a clean end, and with what a kill leaves beside it: replies that are not in the file itself yet."""
    folder = tmp_path / "store"
    writer = Ledger(folder / "ledger.sqlite")
    keep(writer)
    if not killed:
        writer.close()
    assert (folder / "ledger.sqlite-wal").exists() == killed
    with frozen(folder):
        reader = Ledger(folder / "ledger.sqlite")
        assert reader.recorded("judge", [("request", 0)])["request", 0] == REPLY
        assert [cost.calls for cost in reader.costs()] == [1]
        with pytest.raises(HarnessError, match="cannot write to the ledger"):
            keep(reader)
        reader.close()
