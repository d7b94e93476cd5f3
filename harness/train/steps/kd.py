"""Knowledge distillation: (1 - lambda) CE + lambda (w_pred T^2 KL(teacher || student) + w_attn L_attn).

arXiv 2406.19112; L_attn is the divergence of the attention maps (`train/attention.py`), off unless it is asked for.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.train.api import Objective, Step, Teacher
from harness.train.settings import TargetSettings

Layer = Annotated[int, Field(ge=0, strict=False)]  # Keys of a JSON object are strings.


class KDSettings(TargetSettings):
    """Knowledge distillation."""

    w_pred: float = Field(1.0, ge=0)
    """Weight of the divergence of predictions within the distillation term."""
    w_attn: float = Field(0.0, ge=0)
    """Weight of the divergence of attention maps; it needs the teacher beside the student (`targets: live`)."""
    attention_layers: dict[Layer, Layer] | None = None
    """Student layer -> the teacher's layer that it learns from, counted from 0; one to one by default."""

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if self.w_attn > 0 and self.targets == "cached":
            raise ValueError("stored targets hold no attention maps: 'w_attn' above 0 needs 'targets: live'")
        if self.lambda_ > 0 and self.w_pred == self.w_attn == 0:
            raise ValueError("with 'w_pred' and 'w_attn' 0 there is nothing to distil; fine-tuning is 'lambda: 0'")
        if self.attention_layers is not None and not self.attention_layers:
            raise ValueError("'attention_layers' names no layer")
        return self


def _teachers(settings: KDSettings) -> Mapping[str, str]:
    return {"teacher": "teacher"} if settings.lambda_ > 0 else {}


def _objective(settings: KDSettings, teachers: Mapping[str, Teacher], words: int) -> Objective:
    from harness.train.losses import kd_loss

    return kd_loss(settings, teachers.get("teacher"), words)


STEP = Step("kd", KDSettings, _objective, _teachers)
