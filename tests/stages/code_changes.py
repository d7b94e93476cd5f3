"""Small changes of code that change what a stage means: what a golden test must find."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import pytest


@dataclass(frozen=True)
class Change:
    """A function that is replaced while one stage of the golden plan runs."""

    stage: str
    what: str
    place: str
    """The function: module:name."""
    other: Callable[..., Any]
    """What the function becomes: called with the right function, then with what it was called with."""

    def plant(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put it in."""
        module, _, name = self.place.partition(":")
        owner: Any = import_module(module)
        *outer, last = name.split(".")
        for part in outer:
            owner = getattr(owner, part)
        right = getattr(owner, last)
        monkeypatch.setattr(owner, last, lambda *given, **named: self.other(right, *given, **named))


def _one_step_more(right: Any, trainer: Any, num_training_steps: int, **named: Any) -> Any:
    return right(trainer, num_training_steps=num_training_steps + 1, **named)


def _without_a_token(right: Any, mask: Any) -> Any:
    rows, columns = right(mask)
    return rows[1:], columns[1:]


def _a_token_early(right: Any, student: Any, batch: Any) -> Any:
    return right(student, batch | {"labels": batch["labels"].roll(-1, 1)})


def _reversed_kl(right: Any, divergence: Any, *given: Any) -> Any:
    return right(replace(divergence, kind="reverse_kl"), *given)


def _least_first(right: Any, *given: Any) -> Any:
    top = right(*given)
    return replace(top, ids=top.ids.flip(-1), logprobs=top.logprobs.flip(-1))


def _ranks_from_zero(right: Any, *given: Any) -> Any:
    logprobs, ranks = right(*given)
    return logprobs, ranks - 1


def _negative(right: Any, folder: Any) -> Any:
    rewards = right(folder)
    return rewards.assign(reward=-rewards["reward"])


def _rows_turned(right: Any, loaded: Any) -> Any:
    import torch

    model = right(loaded)
    query = model.model.layers[0].self_attn.q_proj
    query.weight = torch.nn.Parameter(query.weight.detach().flip(0).clone())
    return model


def _sides_swapped(right: Any, pairs: Any, pad: int) -> Any:
    return right([{"chosen": pair["rejected"], "rejected": pair["chosen"]} for pair in pairs], pad)


STAGES, TRAIN, MODELS, TEACHERS = "harness.stages", "harness.train", "harness.models", "harness.teachers"
CHANGES = [
    Change(
        "import_model",
        "rows of a matrix in another order",
        f"{MODELS}.gguf:_plain_copy",
        _rows_turned,
    ),
    Change("pocket_model", "another seed", f"{MODELS}.pocket:derive_seed", lambda right, *seed: right(*seed) + 1),
    Change(
        "template",
        "a file left out",
        f"{STAGES}.model:_link",
        lambda right, source, target: None if source.name == "generation_config.json" else right(source, target),
    ),
    Change(
        "average",
        "the last model left out",
        f"{MODELS}.weights:write_mean",
        lambda right, folders, out: right(folders[:-1], out),
    ),
    Change(
        "upcycle",
        "a router 1 % larger",
        f"{MODELS}.moe:random_router",
        lambda right, scale, seed: right(1.01 * scale, seed),
    ),
    Change(
        "upcycle, hidden",
        "the last prompt left out",
        f"{MODELS}.moe:_mean_states",
        lambda right, dense, prompts: right(dense, prompts[:-1]),
    ),
    Change(
        "utilisation", "entropy in bits", f"{MODELS}.routing:entropy", lambda right, shares: right(shares) / math.log(2)
    ),
    Change(
        "dataset",
        "another draw of rows",
        "harness.data.readers:write_dataset",
        lambda right, settings, data_seed, *places: right(settings, data_seed + 1, *places),
    ),
    Change("mix", "rows in another order", "harness.data.mixing:mix", lambda right, *given: right(*given)[::-1]),
    Change(
        "respond",
        "a token less",
        f"{STAGES}.respond:_question",
        lambda right, *given: replace(right(*given), max_new_tokens=3),
    ),
    Change(
        "encode",
        "one token less at most",
        f"{TRAIN}.tokens:write_tokens",
        lambda right, a, b, limit, *to: right(a, b, 9, *to),
    ),
    Change(
        "encode",
        "a token more is learned",
        f"{MODELS}.encoding:within",
        lambda right, a, b, s: right(a, b, [(0, j) for _, j in s]),
    ),
    Change("targets", "the likeliest word last", f"{TRAIN}.targets:top_logprobs", _least_first),
    Change("train", "a schedule of one step more", f"{TRAIN}.trainer:DistillTrainer.create_scheduler", _one_step_more),
    Change("train", "the loss without one token", f"{TRAIN}.losses:response_positions", _without_a_token),
    Change("train", "tokens predicted one too early", f"{TRAIN}.losses:response_states", _a_token_early),
    Change("train, kd", "the divergence turned round", f"{MODELS}.token_losses:divergence_of", _reversed_kl),
    Change(
        "select",
        "without its checkpoints",
        f"{STAGES}.select:link_tree",
        lambda right, source, target: right(source, target) if target.name == "model" else None,
    ),
    Change("command", "a row not counted", f"{STAGES}.command:read_lines", lambda right, path: list(right(path))[1:]),
    Change(
        "answer",
        "a token less",
        f"{STAGES}.answer:converse",
        lambda right, ctx, asked, *given: right(
            ctx, [replace(q, max_new_tokens=q.max_new_tokens - 1) for q in asked], *given
        ),
    ),
    Change("answer, two turns", "another seed", f"{STAGES}.answer:derive_seed", lambda right, *seed: right(*seed) + 1),
    Change(
        "judge",
        "a right answer is worth 1",
        "harness.bench.pocket:check",
        lambda right, *given: (right(*given)[0] / 100, right(*given)[1]),
    ),
    Change("measure", "texts a byte longer", "harness.bench.nll:_bytes", lambda right, *given: right(*given) + 1),
    Change(
        "score",
        "each turn by itself",
        "harness.bench.turns:clustered_mean",
        lambda right, values, clusters: right(values, list(range(len(values)))),
    ),
    Change(
        "score, measured",
        "two items of one cluster",
        "harness.bench.nll:clustered_mean",
        lambda right, values, clusters: right(values, [0, 0, *clusters[2:]]),
    ),
    Change(
        "contamination",
        "shorter n-grams",
        f"{STAGES}.contamination:overlaps",
        lambda right, prompts, rows, n: right(prompts, rows, 2),
    ),
    Change(
        "reward",
        "the share of wrong turns",
        f"{TEACHERS}.rewards:_share_right",
        lambda right, *given: 1 - right(*given),
    ),
    Change("pick", "the worse candidate", f"{STAGES}.reward:read", _negative),
    Change("reward_model", "sides changed", f"{TRAIN}.reward:collate_pairs", _sides_swapped),
    Change(
        "reward_model", "a loss 1 % smaller", f"{TRAIN}.reward:reward_loss", lambda right, *given: 0.99 * right(*given)
    ),
    Change("tokens", "ranks from 0", f"{TEACHERS}.measure:token_logprobs_and_ranks", _ranks_from_zero),
    Change("score_teacher", "all refused", f"{STAGES}.score_teacher:is_refusal", lambda right, text: True),
]
