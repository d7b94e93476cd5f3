"""The stand-in endpoint as a fixture."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.judge import caller
from tests.judge.stand_in import CANARY, Judge, standing_in


@pytest.fixture
async def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Judge]:
    """A stand-in on a free port of the loopback, with a key that must be found nowhere."""
    monkeypatch.setenv("TEST_JUDGE_KEY", CANARY)
    monkeypatch.setattr(caller, "BACKOFF_S", 0.01)
    async with standing_in(tmp_path / "ledger.sqlite") as stand_in:
        yield stand_in
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), f"the key is in {path.name}"
