"""`python -m tests.judge.asker URL LEDGER COUNT [batch]`: asks a stand-in for verdicts in a process to be killed.

Prints the verdicts as JSON lines at the end.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from harness.judge import batch_api, caller
from harness.judge.client import ask
from harness.judge.protocol import find_protocol
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Ledger
from tests.judge.stand_in import tasks

CONCURRENCY = 32


def main(url: str, ledger: str, count: str, how: str = "") -> None:
    """Ask everything."""
    caller.BACKOFF_S = 0.01
    batch_api.GATHER_S, batch_api.POLL_S, batch_api.LONGEST_POLL_S, batch_api.SETTLE_S = 0.05, 0.02, 0.05, 1.0
    settings = JudgeSettings(
        model="gpt-4",
        base_url=url,
        concurrency=CONCURRENCY,
        retries=12,
        timeout_s=2.0,
        api_key_env="TEST_JUDGE_KEY",
        batch=how == "batch",
    )
    with Ledger(Path(ledger)) as opened:
        verdicts = asyncio.run(
            ask(
                tasks(int(count)),
                settings,
                find_protocol("rating", "text"),
                judge_digest="judge",
                ledger=opened,
                progress=lambda *_, **__: None,
            )
        )
    for verdict in verdicts:
        print(json.dumps([verdict.task.item, asdict(verdict.reply)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
