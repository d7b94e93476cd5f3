"""Run a recipe from Python and print its scores.

    python examples/first_run.py

Prints each stage as it ends, the overall scores of all cells, what a reader must know, and where the report is.
"""

from pathlib import Path

import harness
from harness.run.events import Ended


def tell(event: object) -> None:
    """Print what has ended; other events tell how far a stage is."""
    if isinstance(event, Ended):
        print(f"{event.status}: {event.title}")


recipe = harness.load_recipe(Path(__file__).with_name("tiny.yaml"))
run = harness.run_recipe(recipe, jobs=2, listen=tell)

overall = run.scores[run.scores["category"] == "overall"]
print(overall[["cell", "metric", "value", "stderr", "n", "total"]].to_string(index=False))
print(*run.warnings, sep="\n")
print("report:", *run.pages)
