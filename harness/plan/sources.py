"""The models and datasets that a recipe names, as stages."""

from harness.data.settings import DatasetSettings, DataSettings
from harness.models.settings import ModelSettings
from harness.plan.context import CellContext
from harness.stages import dataset as datasets
from harness.stages import upcycle
from harness.stages.api import Stage
from harness.stages.model import PlannedModel, resolve, weights


def model(ctx: CellContext, settings: ModelSettings) -> PlannedModel:
    """A model of the recipe, made into a mixture of experts if `architecture` says so."""
    graph = ctx.graph
    base = graph.share_model(weights(settings, ctx.trained, lambda text: graph.once(resolve, text)))
    moe = settings.architecture
    if moe is None:
        return base
    experts = [model(ctx, ModelSettings(model=reference)) for reference in moe.from_ or ()]
    prompts = [dataset(ctx, ctx.settings.data.role(role), role) for role in moe.prompts]
    return graph.share_model(upcycle.stage(base, experts, moe, prompts))


def teacher_model(ctx: CellContext) -> PlannedModel | None:
    """The recipe's teacher; None without a teacher, or if it has no weights (recorded responses)."""
    teacher = ctx.settings.teacher
    return None if teacher is None or teacher.model is None else model(ctx, ModelSettings(model=teacher.model))


def dataset(ctx: CellContext, settings: DatasetSettings | None, title: str) -> Stage:
    """A dataset of the recipe."""
    assert settings is not None, "the schema checks that the data a step names is there"
    return ctx.graph.share(ctx.graph.once(datasets.stage, settings, ctx.settings.data_seed, title))


def domains(ctx: CellContext, data: DataSettings) -> dict[str, Stage]:
    """The datasets of the domains, by name."""
    datasets = {"domain": data.domain} if data.domain else data.domains
    return {name: dataset(ctx, datasets[name], name) for name in data.domain_names}
