"""Which stages of a graph are still to be built."""

from collections.abc import Collection, Mapping

from harness.stages.api import Stage
from harness.store.store import Store

Graph = Mapping[str, Collection[str]]
"""Stage -> its inputs; these come before it."""


def graph(stages: Mapping[str, Stage]) -> dict[str, list[str]]:
    """The graph of a plan's stages, by id."""
    return {stage_id: [source.id for source in stage.inputs.values()] for stage_id, stage in stages.items()}


def to_build(stages: Graph, store: Store) -> set[str]:
    """The stages that are to be built: those no other consumes, if absent, and whatever inputs these lack.

    An input that is gone, or partly evicted, is built again only for a stage that is itself to be built.
    """
    consumed = {stage for inputs in stages.values() for stage in inputs}
    needed: set[str] = set()
    missing: set[str] = set()
    for stage, inputs in reversed(list(stages.items())):  # consumers before their inputs
        complete = store.whole(stage) if stage in needed else stage in consumed or store.has(stage)
        if not complete:
            missing.add(stage)
            needed.update(inputs)
    return missing
