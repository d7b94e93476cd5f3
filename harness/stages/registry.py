"""All stage kinds by name."""

from harness.stages import (
    answer,
    average,
    command,
    contamination,
    dataset,
    encode,
    judge,
    measure,
    mix,
    model,
    pick,
    respond,
    reward,
    reward_model,
    score,
    score_teacher,
    select,
    targets,
    tokens,
    train,
    upcycle,
    utilisation,
)
from harness.stages.api import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        model.IMPORT,
        model.POCKET,
        model.TEMPLATE,
        upcycle.KIND,
        utilisation.KIND,
        dataset.KIND,
        mix.KIND,
        encode.KIND,
        respond.KIND,
        targets.KIND,
        train.KIND,
        select.KIND,
        average.KIND,
        command.KIND,
        answer.KIND,
        judge.KIND,
        measure.KIND,
        score.KIND,
        contamination.KIND,
        reward.KIND,
        pick.KIND,
        reward_model.KIND,
        tokens.KIND,
        score_teacher.KIND,
    )
}
