"""Where a training's curve goes beside `log.jsonl`: TensorBoard, Weights & Biases, Trackio, MLflow.

The reporters are those of transformers; each reads its project, server and key from its environment variables.
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
        HarnessError: a reporter is not installed.
    """
    callbacks = []
    for name in names:
        (callback,) = get_reporting_integration_callbacks([name])
        try:
            callbacks.append(callback())
        except RuntimeError:
            raise HarnessError(f"{name} is not installed", where="report_to", fix=f"pip install {name}") from None
        if name == "tensorboard":
            callbacks[-1].logging_dir = str(folder)
    return callbacks
