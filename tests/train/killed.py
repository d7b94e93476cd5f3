"""A training in a process of its own, to be killed: imported by a fork server, which has torch loaded already."""

from pathlib import Path

from harness.train.job import TrainJob, TrainPlace
from harness.train.run import train

PRELOAD = [__name__]


def run(job: TrainJob, place: TrainPlace, steps: Path) -> None:
    """Train; `steps` grows by a line after each step."""

    def progress(done: int, *_: object, **__: object) -> None:
        with steps.open("a") as file:
            file.write(f"{done}\n")

    train(job, place, progress)
