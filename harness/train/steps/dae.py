"""Domain Alignment from Expert: (1 - lambda) CE + lambda T^2 KL(teacher || student), the teacher chosen by row.

arXiv 2406.19112. The teacher of a domain's row is the domain's expert, of a general row the reference model. CE and KL
are sums over response tokens. The paper's code runs every teacher over every row; here only the row's teacher runs.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.core.errors import HarnessError
from harness.train.api import Batch, Loss, Objective, Step, Sum, Teacher
from harness.train.settings import TargetSettings

REFERENCE = "reference"
"""The role of the model that general conversations are learned from; an expert's role is its domain's name."""


class DAESettings(TargetSettings):
    """Domain alignment from experts."""

    data: Literal["mix"] = "mix"
    expert: str | None = None
    """Model reference of the expert for `data.domain`."""
    experts: dict[str, str] = Field(default_factory=dict)
    """With several domains: name in `data.domains` -> model reference of its expert."""
    reference: str = "student"
    """`student` (the model that this step starts from; after a `kd` step the paper's KD model), `teacher` (the
    recipe's), or a model reference."""

    @model_validator(mode="after")
    def _experts(self) -> Self:
        if (self.expert is None) == (not self.experts):
            raise ValueError("dae has exactly one of 'expert' (of data.domain) and 'experts' (of data.domains)")
        return self


def _teachers(settings: DAESettings) -> Mapping[str, str]:
    experts = settings.experts or {"domain": settings.expert or ""}
    return {REFERENCE: settings.reference, **experts}


def _asks(role: str, domain: str | None) -> bool:
    return role == (REFERENCE if domain is None else domain)


def dae_loss(settings: DAESettings, teachers: Mapping[str, Teacher], vocab_size: int) -> Objective:
    """Rows of the k-th domain learn from the k-th of `teachers`, the reference not counted.

    A teacher runs on its domain's rows only, the student once over the whole batch. Parts, by domain: `loss/NAME` in
    nats (`loss/general` on the reference's rows), and `agreement/NAME` (`agreement/reference`), the tokens at which the
    student's likeliest token is the teacher's.
    """
    import torch

    from harness.models.logprobs import response_positions
    from harness.models.token_losses import TeacherTarget
    from harness.train.losses import IGNORED, batch_losses, distillation_terms, sub_batch

    terms = distillation_terms(settings, vocab_size)
    roles = [REFERENCE, *(role for role in teachers if role != REFERENCE)]

    def loss(student: Any, batch: Batch) -> Loss:
        domains = batch["domain"]
        if int(domains.max()) >= len(roles):
            raise HarnessError(f"a row of domain {int(domains.max())}, and {len(roles) - 1} experts")
        of_tokens = domains[response_positions(batch["labels"] != IGNORED)[0]]
        positions = {role: (of_tokens == number).nonzero().squeeze(-1) for number, role in enumerate(roles)}
        targets: list[TeacherTarget] = []
        for number, (role, at) in enumerate(positions.items()):
            if len(at) or (terms.kd_weight and teachers[role].together):
                # Other processes may have rows of this domain: a teacher in shares then runs here on any row.
                rows = domains == number if len(at) else torch.arange(len(domains), device=domains.device) == 0
                targets.append((at, teachers[role].target(sub_batch(batch, rows)) if terms.kd_weight else None))
        losses = batch_losses(student, batch, targets, terms)
        parts: dict[str, Sum] = {}
        for role, at in positions.items():
            parts[f"loss/{'general' if role == REFERENCE else role}"] = (losses.weighted(at, terms), float(len(at)))
            parts[f"agreement/{role}"] = (float(losses.agrees[at].sum()), float(len(at)))
        return Loss(losses.total, parts)

    return loss


STEP = Step("dae", DAESettings, dae_loss, _teachers, _asks, domain_keys=("expert", "experts"))
