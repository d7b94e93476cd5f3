"""What of a graph of stages is still to be built."""

from collections.abc import Collection, Mapping

from harness.stages.api import Stage
from harness.store.store import Store

Graph = Mapping[str, Collection[str]]
"""Stage -> the stages it stands on; these come before it."""


def graph(stages: Mapping[str, Stage]) -> dict[str, list[str]]:
    """The graph of a plan's stages, by id."""
    return {i: [given.id for given in stage.inputs.values()] for i, stage in stages.items()}


def to_build(stages: Graph, store: Store) -> set[str]:
    """The stages that are asked for and not there.

    An input that is gone, or of which something was evicted, is built again only for what is itself to be built.
    """
    consumed = {given for inputs in stages.values() for given in inputs}
    wanted: set[str] = set()
    missing: set[str] = set()
    for stage, inputs in reversed(list(stages.items())):  # what stands on a stage is seen before it
        there = store.whole(stage) if stage in wanted else stage in consumed or store.has(stage)
        if not there:
            missing.add(stage)
            wanted.update(inputs)
    return missing
