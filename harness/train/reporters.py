"""Where a training's curve goes beside our own log: TensorBoard, PlannedModel & Biases, Trackio, MLflow.

They are transformers' own reporters; their settings (project, server, key) are their own environment variables.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

from harness.core.errors import HarnessError
from harness.train.settings import Reporter


def reporters(names: Sequence[Reporter], folder: Path) -> list[TrainerCallback]:
    """The callbacks of these reporters; TensorBoard's events go to `folder`.

    Raises:
        HarnessError: one is not installed.
    """
    made = []
    for name in names:
        (callback,) = get_reporting_integration_callbacks([name])
        try:
            made.append(callback())
        except RuntimeError:
            raise HarnessError(f"{name} is not installed", where="report_to", fix=f"pip install {name}") from None
        if name == "tensorboard":
            made[-1].logging_dir = str(folder)
    return made
