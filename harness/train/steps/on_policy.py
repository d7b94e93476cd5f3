"""On-policy distillation: the divergence from a teacher on answers that the student samples itself (arXiv 2306.13649).

Of each row of a batch the student answers the prompt with probability `sampled`, with no gradient through the draws;
the other rows keep the data's response. The loss is the sum over response tokens of T^2 D(teacher, student), where D is
KL(teacher || student) at `beta` 0, KL(student || teacher) at 1, and the generalised Jensen-Shannon divergence between,
as TRL's `generalized_jsd_loss` has it. With experts each row learns from its domain's teacher, as in `dae`: sampled
rows then give what is called multi-teacher on-policy distillation, and `sampled: 0` is `dae` itself.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from harness.train.api import Batch, Loss, Objective, Step, Sum, Teacher
from harness.train.settings import Sampling, StepSettings
from harness.train.steps.dae import REFERENCE, asks, expert_teachers

if TYPE_CHECKING:
    from harness.models.divergences import Divergence


class OnPolicySettings(StepSettings):
    """On-policy distillation."""

    sampled: float = Field(1.0, ge=0, le=1)
    """The share of rows whose response the student samples; the others keep the data's. 0 is distillation on data."""
    beta: float = Field(1.0, ge=0, le=1)
    """0: KL(teacher || student), which covers all that the teacher does; 1: KL(student || teacher), which seeks what it
    does most; between: the generalised Jensen-Shannon divergence, `beta` the teacher's weight in the mixture."""
    temperature: float = Field(1.0, gt=0)
    """Of the distributions in the loss, as in `kd`."""
    sampling_temperature: float = Field(1.0, ge=0)
    """Of the student's draws; 0 takes the likeliest token."""
    max_new_tokens: int = Field(512, ge=1)
    """Of an answer; `max_length` limits it too. Few answers should be cut: the curve's `sample_cut` says it."""
    sample_every: int = Field(1, ge=1)
    """Steps for which answers are made at once. More sample faster, from weights that are up to so many steps old."""
    expert: str | None = None
    """With `data: mix`, the model reference of the teacher of `data.domain`'s rows; general rows have `reference`."""
    experts: dict[str, str] = Field(default_factory=dict)
    """With several domains: name in `data.domains` -> model reference of its teacher."""
    reference: str = "teacher"
    """With experts, who teaches general rows: `teacher` (the recipe's), `student` (the model that this step starts
    from), or a model reference."""

    @model_validator(mode="after")
    def _routed(self) -> Self:
        experts = (self.expert is not None) + bool(self.experts)
        if experts == 2:
            raise ValueError("there is 'expert' (of data.domain) or 'experts' (of data.domains), not both")
        if experts and self.data != "mix":
            raise ValueError("experts teach the domains of a mix: 'data: mix'")
        return self


def _is_routed(settings: OnPolicySettings) -> bool:
    return settings.expert is not None or bool(settings.experts)


def _teachers(settings: OnPolicySettings) -> Mapping[str, str]:
    if not _is_routed(settings):
        return {"teacher": "teacher"}
    return expert_teachers(settings.reference, settings.expert, settings.experts)


def _asks(role: str, domain: str | None) -> bool:
    return role == "teacher" or asks(role, domain)


def _sampling(settings: OnPolicySettings) -> Sampling | None:
    if not settings.sampled:
        return None
    return Sampling(settings.sampled, settings.sampling_temperature, settings.max_new_tokens, settings.sample_every)


def divergence(settings: OnPolicySettings) -> "Divergence":
    """The divergence that `beta` names."""
    from harness.models.divergences import Divergence

    if settings.beta in (0, 1):
        return Divergence("reverse_kl" if settings.beta else "forward_kl", settings.temperature)
    return Divergence("jsd", settings.temperature, settings.beta)


def on_policy_loss(settings: OnPolicySettings, teachers: Mapping[str, Teacher], vocab_size: int) -> Objective:
    """The divergence from the `teacher`, or from each row's.

    Parts, for tokens that were `sampled` and those of `data`: `loss/` in nats, `agreement/` (the tokens at which the
    student's likeliest token is the teacher's); `logprob/teacher`, the teacher's of the sampled tokens, in nats. With
    experts the loss and the agreement by domain, too, as in `dae`.
    """
    from harness.models.logprobs import response_positions
    from harness.models.token_losses import Terms
    from harness.train.losses import IGNORED, routed_losses

    terms = Terms(0.0, settings.temperature**2, divergence(settings), vocab_size)
    routed = _is_routed(settings)
    by_place = {REFERENCE: teachers[REFERENCE], **teachers} if routed else teachers

    def loss(student: Any, batch: Batch) -> Loss:
        number = batch["domain"] if routed else batch["domain"] * 0
        losses, positions = routed_losses(student, batch, by_place, number, terms)
        sampled = batch["sampled"][response_positions(batch["labels"] != IGNORED)[0]]
        groups = {"sampled": sampled.nonzero()[:, 0], "data": (~sampled).nonzero()[:, 0]}
        if routed:
            groups |= {"general" if role == REFERENCE else role: at for role, at in positions.items()}
        parts: dict[str, Sum] = {}
        for name, at in groups.items():
            parts[f"loss/{name}"] = (losses.weighted(at, terms), float(len(at)))
            parts[f"agreement/{name}"] = (float(losses.agrees[at].sum()), float(len(at)))
        at = groups["sampled"]
        parts["logprob/teacher"] = (float(losses.teacher_logprobs[at].sum()), float(len(at)))
        return Loss(losses.total, parts)

    return loss


STEP = Step(
    "on_policy",
    OnPolicySettings,
    on_policy_loss,
    _teachers,
    _asks,
    domain_keys=("expert", "experts"),
    sampling=_sampling,
)
