"""Knowledge distillation: (1 - lambda) CE + lambda (w_pred T^2 KL(teacher || student) + w_attn L_attn).

arXiv 2406.19112. CE and KL are sums over response tokens; `divergence` names others than KL (`models/divergences.py`).
L_attn is the divergence of the attention maps (`train/attention.py`), off by default. The paper's code does not shift
the response mask against the logits; here the logits at t are scored against the token at t + 1.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from harness.train.api import Batch, Loss, Objective, Step, Teacher
from harness.train.settings import TargetSettings

Layer = Annotated[int, Field(ge=0, strict=False)]  # Keys of a JSON object are strings.


class KDSettings(TargetSettings):
    """Knowledge distillation."""

    w_pred: float = Field(1.0, ge=0)
    """Weight of the divergence of predictions within the distillation term."""
    w_attn: float = Field(0.0, ge=0)
    """Weight of the divergence of attention maps; it needs the teacher beside the student (`targets: live`)."""
    attention_layers: dict[Layer, Layer] | None = None
    """Student layer -> the teacher layer that it learns from, counted from 0; one to one by default."""

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


def kd_loss(settings: KDSettings, teachers: Mapping[str, Teacher], vocab_size: int) -> Objective:
    """Distillation from the `teacher`, which has the student's tokenizer; without a teacher, cross-entropy alone.

    Parts: `agreement/teacher`, the tokens at which the student's likeliest token is the teacher's; with attention maps
    `loss/attention` in nats, `loss/attention_of_mean_heads` where the maps had to be averaged over heads.
    """
    from harness.train import attention
    from harness.train.losses import IGNORED, batch_losses, distillation_terms, everywhere

    terms, w_attn = distillation_terms(settings, vocab_size, settings.w_pred), settings.lambda_ * settings.w_attn

    def recorded(model: Any) -> AbstractContextManager[Mapping[int, attention.Attention]]:
        return attention.recorded_attention(model) if w_attn else nullcontext({})

    def cross_entropy(student: Any, batch: Batch) -> Loss:
        return Loss(batch_losses(student, batch, everywhere(batch, None), terms).total)

    def distillation(student: Any, batch: Batch) -> Loss:
        teacher = teachers["teacher"]
        with recorded(teacher.model) as teacher_maps:
            target = teacher.target(batch)
        with recorded(student) as student_maps:
            losses = batch_losses(student, batch, everywhere(batch, target), terms)
        total, tokens = losses.total, float(len(losses.agrees))
        parts = {"agreement/teacher": (float(losses.agrees.sum()), tokens)}
        if w_attn:
            layers = attention.layers_of(student), attention.layers_of(teacher.model)
            pairs = attention.layer_pairs(settings.attention_layers, *layers)
            divergence = attention.attention_loss(student_maps, teacher_maps, pairs, batch["labels"] != IGNORED)
            total = total + w_attn * divergence
            name = "attention_of_mean_heads" if attention.heads_differ(student_maps, teacher_maps) else "attention"
            parts[f"loss/{name}"] = (float(divergence.detach()), tokens)
        return Loss(total, parts)

    return distillation if teachers else cross_entropy


STEP = Step("kd", KDSettings, kd_loss, _teachers)
