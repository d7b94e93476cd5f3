"""The stand-in for a judge answers every form of verdict in every mode."""

import asyncio
from pathlib import Path

import pytest

from harness.judge.api import JudgeTask
from harness.judge.client import ask
from harness.judge.protocol import forms
from harness.judge.settings import JudgeSettings
from harness.judge.stand_in import standing_in
from harness.store.ledger import Ledger


@pytest.mark.parametrize(("form", "mode"), [(name, mode) for name, form in forms().items() for mode in form.modes])
def test_every_form_reads_a_verdict(form: str, mode: str, tmp_path: Path) -> None:
    task = JudgeTask("1", 1, form, ({"role": "user", "content": "judge"},))
    with standing_in() as url, Ledger(tmp_path / "ledger.sqlite") as ledger:
        settings = JudgeSettings(model="any", base_url=url, protocol=mode, retries=0)  # type: ignore[arg-type]
        protocol = forms()[form].modes[settings.protocol]
        asked = ask(
            [task], settings, protocol, judge_digest="d", ledger=ledger, progress=lambda done, total, unit, **_: None
        )
        (verdict,) = asyncio.run(asked)
    assert verdict.reply.status == "ok", verdict.reply.text
    assert verdict.reply.value is not None
