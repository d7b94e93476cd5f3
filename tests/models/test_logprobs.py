import math
from typing import Any

import pytest
import torch

from harness.models.logprobs import (
    Head,
    response_positions,
    token_logprobs,
    token_logprobs_and_ranks,
)

N, H, V = 13, 8, 29


@pytest.fixture
def case() -> dict[str, Any]:
    """Hidden states, a head and targets, from a seed."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    return {
        "hidden": normal(N, H).requires_grad_(),
        "head": normal(V, H).requires_grad_(),
        "targets": torch.randint(V, (N,), generator=g),
        "weights": normal(N),
    }


def _exact(case: dict[str, Any]) -> dict[str, Any]:
    """The same in float64, without history."""
    return {
        k: v.detach().double().requires_grad_(v.requires_grad) if v.is_floating_point() else v for k, v in case.items()
    }


def _gradients(values: torch.Tensor, case: dict[str, Any]) -> list[torch.Tensor]:
    return list(torch.autograd.grad((values * case["weights"]).sum(), [case["hidden"], case["head"]]))


def _close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 4, N, 100])
def test_logprobs_and_gradients_are_those_of_plain_float64(case: dict[str, Any], chunk: int) -> None:
    got = token_logprobs(case["hidden"], Head(case["head"]), case["targets"], chunk)
    exact = _exact(case)
    want = torch.log_softmax(exact["hidden"] @ exact["head"].T, -1)[torch.arange(N), exact["targets"]]
    assert got.dtype == torch.float32
    _close(got, want)
    for mine, reference in zip(_gradients(got, case), _gradients(want, exact), strict=True):
        _close(mine, reference)


def test_no_logits_are_kept_for_the_backward_pass(case: dict[str, Any]) -> None:
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        token_logprobs(case["hidden"], Head(case["head"]), case["targets"], 4)
    assert max(kept, default=0) <= V * H  # a head at most; a chunk of logits would show as N x V in sum
    assert not any(size in {4 * V, N * V} for size in kept)


def test_positions_are_those_that_predict_a_response() -> None:
    mask = torch.tensor([[True, False, True, True], [False, False, False, True]])
    rows, columns = response_positions(mask)
    assert rows.tolist() == [0, 0, 1]
    assert columns.tolist() == [1, 2, 2]


def test_no_positions_give_no_values(case: dict[str, Any]) -> None:
    got = token_logprobs(case["hidden"][:0], Head(case["head"]), case["targets"][:0])
    assert got.shape == (0,)
    assert got.sum().item() == 0


def test_ranks() -> None:
    head = torch.eye(4)
    hidden = torch.tensor([[0.1, 0.4, 0.3, 0.2]] * 3)
    assert token_logprobs_and_ranks(hidden, Head(head), torch.tensor([1, 3, 0]), chunk=2)[1].tolist() == [1, 3, 4]


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_one_projection_gives_both(case: dict[str, Any], chunk: int) -> None:
    given = case["hidden"], Head(case["head"]), case["targets"]
    logprobs, ranks = token_logprobs_and_ranks(*given, chunk)
    torch.testing.assert_close(logprobs, token_logprobs(*given).detach())
    assert ranks.tolist() == token_logprobs_and_ranks(*given)[1].tolist(), "whatever the chunks"
    assert not logprobs.requires_grad


def test_shift_is_right_on_a_model_that_only_predicts_the_next_number() -> None:
    """A model sure of token + 1 has log-probability 0 where the mask is shifted right, and far less where it is not."""
    ids = torch.tensor([[0, 1, 2, 3]])
    hidden = torch.nn.functional.one_hot(ids, 5).float() * 50
    head = torch.roll(torch.eye(5), 1, dims=0)
    rows, columns = response_positions(torch.ones(1, 4, dtype=torch.bool))
    got = token_logprobs(hidden[rows, columns], Head(head), ids[rows, columns + 1])
    assert math.isclose(got.sum().item(), 0, abs_tol=1e-5)
