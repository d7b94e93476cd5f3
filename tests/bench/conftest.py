"""One process of the `alpaca_eval` package for a file of tests: starting it takes seconds, answering hardly any."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from harness.bench.alpaca_eval import package

ANSWERS = """
import json, logging, sys
from harness.bench.alpaca_eval import package_child
out, sys.stdout = sys.stdout, sys.stderr
logging.disable(logging.ERROR)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(getattr(package_child, request["do"])(request)), file=out, flush=True)
"""


@pytest.fixture(scope="module")
def one_package_process() -> Iterator[None]:
    """Requests to the package go to one child that stays, not each to a child of its own."""
    command = [sys.executable, "-c", ANSWERS]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
        pytest.MonkeyPatch.context() as patch,
    ):
        sent, told = child.stdin, child.stdout
        assert sent is not None
        assert told is not None

        def call(request: Any) -> Any:
            sent.write(json.dumps(request) + "\n")
            sent.flush()
            answer = told.readline()
            assert answer, "the package's process has ended"
            return json.loads(answer)

        patch.setattr(package, "_call", call)
        yield
        sent.close()
