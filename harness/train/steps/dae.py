"""Domain Alignment from Expert: (1 - lambda) CE + lambda T^2 KL(teacher || student), the teacher chosen by row.

arXiv 2406.19112. The teacher of a domain's row is the domain's expert, of a general row the reference model. CE and KL
are sums over response tokens. The paper's code runs every teacher over every row; here only the row's teacher runs.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

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


def expert_teachers(reference: str, expert: str | None, experts: Mapping[str, str]) -> Mapping[str, str]:
    """The model of each role: the reference's, and each domain's expert (of a single domain: `expert`)."""
    return {REFERENCE: reference, **(experts or {"domain": expert or ""})}


def _teachers(settings: DAESettings) -> Mapping[str, str]:
    return expert_teachers(settings.reference, settings.expert, settings.experts)


def asks(role: str, domain: str | None) -> bool:
    """Whether a role is the teacher of a domain's rows (None: general)."""
    return role == (REFERENCE if domain is None else domain)


def dae_loss(settings: DAESettings, teachers: Mapping[str, Teacher], vocab_size: int) -> Objective:
    """Rows of the k-th domain learn from the k-th of `teachers`, the reference not counted.

    A teacher runs on its domain's rows only, the student once over the whole batch. Parts, by domain: `loss/NAME` in
    nats (`loss/general` on the reference's rows), and `agreement/NAME` (`agreement/reference`), the tokens at which the
    student's likeliest token is the teacher's.
    """
    from harness.train.losses import distillation_terms, routed_losses

    terms = distillation_terms(settings, vocab_size)
    by_domain = {REFERENCE: teachers[REFERENCE], **teachers}

    def loss(student: Any, batch: Batch) -> Loss:
        losses, positions = routed_losses(student, batch, by_domain, batch["domain"], terms)
        parts: dict[str, Sum] = {}
        for role, at in positions.items():
            parts[f"loss/{'general' if role == REFERENCE else role}"] = (losses.weighted(at, terms), float(len(at)))
            parts[f"agreement/{role}"] = (float(losses.agrees[at].sum()), float(len(at)))
        return Loss(losses.total, parts)

    return loss


STEP = Step("dae", DAESettings, dae_loss, _teachers, asks, domain_keys=("expert", "experts"))
