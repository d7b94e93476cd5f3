"""Domain Alignment from Expert: KL to a domain's expert on its rows, to a reference on all others. arXiv 2406.19112."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.train.api import Objective, Step, Teacher
from harness.train.settings import TargetSettings

REFERENCE = "reference"
"""The role of the model that general conversations are learned from; an expert's role is its domain's name."""


class DAESettings(TargetSettings):
    """Domain alignment from experts."""

    data: Literal["mix"] = "mix"
    expert: str | None = None
    """Model reference of the expert for `data.domain`."""
    experts: dict[str, str] = Field(default_factory=dict)
    """Of several domains: name in `data.domains` -> model reference of its expert."""
    reference: str = "student"
    """`student` is the model that this step starts from (after a `kd` step: the paper's KD model), `teacher` the
    recipe's; or a model reference."""

    @model_validator(mode="after")
    def _experts(self) -> Self:
        if (self.expert is None) == (not self.experts):
            raise ValueError("dae has exactly one of 'expert' (of data.domain) and 'experts' (of data.domains)")
        return self


def _teachers(settings: DAESettings) -> Mapping[str, str]:
    experts = settings.experts or {"domain": settings.expert or ""}
    return {REFERENCE: settings.reference, **experts}


def _objective(settings: DAESettings, teachers: Mapping[str, Teacher], words: int) -> Objective:
    from harness.train.losses import dae_loss

    return dae_loss(settings, teachers, words)


STEP = Step("dae", DAESettings, _objective, _teachers)
