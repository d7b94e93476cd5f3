"""What is read from routers: the right layers, the right tokens, and nothing left behind."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.core.errors import HarnessError
from harness.models.load import load_model
from harness.models.pocket import build, parse_spec
from harness.models.routing import entropy, measure_load, router_logits, routers


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("mixtral")
    build(parse_spec("mixtral?layers=2&width=32&heads=4&experts=4&per_token=2&seed=0"), folder)
    return load_model(folder, "float32")


def test_logits_are_those_of_transformers(mixtral: Any) -> None:
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    with router_logits(mixtral) as found:
        out = mixtral(ids, output_router_logits=True)
    assert [one.shape for one in found] == [(6, 4), (6, 4)]
    for mine, theirs in zip(found, out.router_logits, strict=True):
        assert torch.equal(mine, theirs)
    assert found[0].requires_grad


def test_hooks_are_gone_afterwards(mixtral: Any) -> None:
    before = [len(router._forward_hooks) for router in routers(mixtral)]
    with pytest.raises(ZeroDivisionError), router_logits(mixtral) as found:
        raise ZeroDivisionError
    mixtral(torch.tensor([[5]]))
    assert found == []
    assert [len(router._forward_hooks) for router in routers(mixtral)] == before


def test_a_dense_model_is_told(pocket_folder: Path) -> None:
    model = load_model(pocket_folder, "float32")
    assert routers(model) == []
    with pytest.raises(HarnessError, match="LlamaForCausalLM has no experts"):
        measure_load(model, [5, 6])


def test_load_counts_every_visit(mixtral: Any) -> None:
    load = measure_load(mixtral, [5, 6, 7, 8, 9])
    assert load.tokens == 5
    assert load.visits.sum(dim=-1).tolist() == [10, 10]
    torch.testing.assert_close(load.mass.sum(dim=-1), torch.full((2,), 5.0, dtype=torch.float64))
    with router_logits(mixtral) as found:
        mixtral(torch.tensor([[5, 6, 7, 8, 9]]))
    for layer, one in enumerate(found):
        chosen = [e for row in one.tolist() for e in sorted(range(4), key=lambda e: -row[e])[:2]]
        assert load.visits[layer].tolist() == [chosen.count(e) for e in range(4)]
        torch.testing.assert_close(load.mass[layer].float(), one.softmax(dim=-1).sum(dim=0))


def test_loads_add_up(mixtral: Any) -> None:
    both = measure_load(mixtral, [5, 6]) + measure_load(mixtral, [7, 8, 9])
    assert both.tokens == 5
    assert both.visits.sum(dim=-1).tolist() == [10, 10]


def test_entropy_in_nats() -> None:
    found = entropy(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]]))
    assert found.tolist() == pytest.approx([0, math.log(4), math.log(2)])
