"""`python -m harness.stages ID [--results DIR]`: run one planned stage alone, its inputs being there."""

import argparse
import sys
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.plugins import name_files
from harness.stages.api import Session
from harness.stages.runner import read_order, run_stage
from harness.store.store import Store


def main() -> int:
    """Run the stage named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.stages", description=__doc__)
    parser.add_argument("id", help="stage id, or its beginning")
    parser.add_argument("--results", type=Path, default=Path("results"))
    words = parser.parse_args()
    session = Session()
    try:
        store = Store(words.results / "store")
        order = read_order(store, words.id)
        name_files(order.plugins)
        built = run_stage(store, order, session, _say)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        session.close()
    print(f"{order.title}: {'done' if built else 'was done already'}: {store.path(order.id)}")
    return 0


def _say(done: int, total: int, unit: str, **values: float | str) -> None:
    print(f"{done}/{total} {unit} " + " ".join(f"{k}={v}" for k, v in values.items()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
