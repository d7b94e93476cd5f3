import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.divergences import Divergence, divergence_of, top_divergence
from harness.models.logprobs import DenseTarget, Head, Target, TopTarget
from harness.models.token_losses import TeacherTarget, Terms, TokenLosses, token_losses

N, H, V, K = 13, 8, 29, 6
KINDS = ("forward_kl", "reverse_kl", "jsd")
Case = dict[str, torch.Tensor]


def _case(dtype: torch.dtype = torch.float32, seed: int = 0, sure: float = 1.0) -> Case:
    """Hidden states and heads (the teacher of another width), next tokens; the same numbers whatever the type.

    The teacher's logits are `sure` times normal ones.
    """
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g).to(dtype)

    return {
        "hidden": normal(N, H).requires_grad_(),
        "head": normal(V, H).requires_grad_(),
        "teacher_hidden": normal(N, H + 3),
        "teacher_head": normal(V, H + 3) * sure,
        "tokens": torch.randint(V, (N,), generator=g),
    }


Caps = tuple[float | None, float | None]
"""The bounds of the student's and of the teacher's logits."""
FREE: Caps = (None, None)


def _dense(case: Case, caps: Caps = FREE) -> DenseTarget:
    return DenseTarget(case["teacher_hidden"], Head(case["teacher_head"], caps[1]))


def _logits(case: Case, caps: Caps = FREE) -> tuple[torch.Tensor, torch.Tensor]:
    """The student's and the teacher's, by their formulas."""
    products = case["hidden"] @ case["head"].T, case["teacher_hidden"] @ case["teacher_head"].T
    mine, taught = (x if cap is None else cap * torch.tanh(x / cap) for x, cap in zip(products, caps, strict=True))
    return mine, taught


def _top(case: Case, temperature: float = 1.0, k: int = K, caps: Caps = FREE) -> TopTarget:
    """The teacher's k likeliest tokens, in no order."""
    log_p = torch.log_softmax(_logits(case, caps)[1] / temperature, -1)
    logprobs, ids = log_p.topk(k)
    return TopTarget(ids.flip(-1), logprobs.flip(-1))


def _fused(case: Case, target: Target | None, terms: Terms, chunk: int = 5, cap: float | None = None) -> TokenLosses:
    targets: list[TeacherTarget] = [(torch.arange(N), target)]
    return token_losses(case["hidden"], Head(case["head"], cap), case["tokens"], targets, terms, chunk)


def _kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p * (p.log() - q.log())).sum(-1)


def _plain_divergence(kind: str, p: torch.Tensor, q: torch.Tensor, beta: float) -> torch.Tensor:
    if kind == "jsd":
        m = beta * p + (1 - beta) * q
        return beta * _kl(p, m) + (1 - beta) * _kl(q, m)
    return _kl(p, q) if kind == "forward_kl" else _kl(q, p)


def _coarse(p: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    kept = p.gather(-1, ids)
    return torch.cat([kept, 1 - kept.sum(-1, keepdim=True)], -1)


def _plain(
    case: Case, terms: Terms, top: TopTarget | None = None, caps: Caps = FREE
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Total, cross-entropies and divergences by their formulas."""
    d = terms.divergence
    logits, taught = _logits(case, caps)
    cross_entropy = torch.nn.functional.cross_entropy(logits, case["tokens"], reduction="none")
    q = torch.softmax(logits / d.temperature, -1)
    p = torch.softmax(taught / d.temperature, -1)
    if top is not None:
        p, q = _coarse(p, top.ids), _coarse(q, top.ids)
    divergence = _plain_divergence(d.kind, p, q, d.beta)
    return terms.ce_weight * cross_entropy.sum() + terms.kd_weight * divergence.sum(), cross_entropy, divergence


def _gradients(total: torch.Tensor, case: Case) -> Sequence[torch.Tensor]:
    gradients: Sequence[torch.Tensor] = torch.autograd.grad(total, [case["hidden"], case["head"]])
    return gradients


def _close(got: torch.Tensor, want: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(got.double(), want.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("caps", [FREE, (1.5, 2.5), (4.0, None)])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ce_weight", "weight", "temperature"), [(1, 0, 1), (0, 1, 1), (0.3, 2.8, 2), (0.5, 0.5, 0.7)])
def test_values_and_gradients_are_those_of_plain_float64(
    kind: Any, stored: bool, ce_weight: float, weight: float, temperature: float, caps: Caps
) -> None:
    terms = Terms(ce_weight, weight, Divergence(kind, temperature, 0.3))
    # Of a stored teacher's rest float32 knows K roundings, and its log K 2^-23 / rest: one that left 2e-6 would be
    # known to 0.3 nats, one that leaves 0.04 to 2e-5.
    sure = 1 / 3 if stored else 1.0
    exact = _case(torch.float64, sure=sure)
    top = _top(exact, temperature, caps=caps) if stored else None
    total, cross_entropy, divergence = _plain(exact, terms, top, caps)
    want = _gradients(total, exact)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4 if stored else 2e-5)):
        case = _case(dtype, sure=sure)
        target = _top(case, temperature, caps=caps) if stored else _dense(case, caps)
        got = _fused(case, target, terms, cap=caps[0])
        _close(got.total, total, tolerance)
        _close(got.cross_entropy, cross_entropy if ce_weight else torch.zeros(N), tolerance)
        _close(got.divergence, divergence if weight else torch.zeros(N), tolerance)
        for mine, reference in zip(_gradients(got.total, case), want, strict=True):
            _close(mine, reference, tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 4, N, 1000])
def test_chunks_change_nothing(kind: Any, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = Terms(0.4, 0.6, Divergence(kind))
    whole, case = _case(), _case()
    want = _fused(whole, _dense(whole), terms, chunk=N)
    monkeypatch.setattr("harness.models.token_losses.ROWS", 3)
    got = _fused(case, _dense(case), terms, chunk)
    _close(got.divergence, want.divergence)
    assert got.agrees.tolist() == want.agrees.tolist()
    for mine, reference in zip(_gradients(got.total, case), _gradients(want.total, whole), strict=True):
        _close(mine, reference)


def test_two_words_by_hand() -> None:
    """p = (3/4, 1/4), q = (1/2, 1/2): KL(p||q) = 3/4 ln 3/2 + 1/4 ln 1/2, KL(q||p) = 1/2 ln 2/3 + 1/2 ln 2."""
    log_p, log_q = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.5, 0.5]]).log()
    forward, pull = divergence_of(Divergence(), log_q.clone(), log_p.clone())
    assert forward.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)
    assert pull.tolist() == [pytest.approx([-0.25, 0.25], abs=1e-6)]  # q - p
    backward, _ = divergence_of(Divergence("reverse_kl"), log_q.clone(), log_p.clone())
    assert backward.item() == pytest.approx(0.5 * math.log(4 / 3), abs=1e-6)
    middle, _ = divergence_of(Divergence("jsd", beta=0.5), log_q.clone(), log_p.clone())  # m = (5/8, 3/8)
    want = 0.5 * (0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3)) + 0.5 * (
        0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3)
    )
    assert middle.item() == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize(("beta", "share", "limit"), [(1e-6, 1e-6, "forward_kl"), (1 - 1e-6, 1e-6, "reverse_kl")])
def test_jsd_tends_to_either_divergence(beta: float, share: float, limit: Any) -> None:
    case = _case(torch.float64)
    with torch.no_grad():
        case["hidden"] *= 0.3
        case["teacher_hidden"] *= 0.3
    jsd = _fused(case, _dense(case), Terms(0, 1, Divergence("jsd", beta=beta)))
    ends = _fused(case, _dense(case), Terms(0, 1, Divergence(limit)))
    _close(jsd.divergence / share, ends.divergence, 1e-3)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, V - 2),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
    kind=st.sampled_from(["forward_kl", "reverse_kl"]),
)
def test_fewer_stored_tokens_never_raise_a_divergence(seed: int, k: int, temperature: float, kind: Any) -> None:
    """The data-processing inequality, along the whole chain of coarser and coarser buckets."""
    case = _case(torch.float64, seed)
    terms = Terms(0, 1, Divergence(kind, temperature))
    full = _fused(case, _dense(case), terms).divergence
    more, fewer = (_fused(case, _top(case, temperature, n), terms).divergence for n in (k + 1, k))
    # What is not stored has a probability of 1 minus a sum, and so a log as wrong as 2^-52 is large beside it.
    told = -torch.expm1(torch.logsumexp(_top(case, temperature, k + 1).logprobs, -1)) > 1e-9
    assert bool((fewer <= more + 1e-5)[told].all())
    assert bool((more <= full + 1e-5)[told].all())
    assert bool((fewer >= -1e-5).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [V - 1, V])
def test_all_tokens_stored_give_the_full_divergence(kind: Any, k: int) -> None:
    terms = Terms(0.2, 0.8, Divergence(kind, 1.5))
    dense, stored = _case(torch.float64), _case(torch.float64)
    want, got = _fused(dense, _dense(dense), terms), _fused(stored, _top(stored, 1.5, k), terms)
    _close(got.divergence, want.divergence, 1e-6)
    assert got.agrees.tolist() == want.agrees.tolist()
    for mine, reference in zip(_gradients(got.total, stored), _gradients(want.total, dense), strict=True):
        _close(mine, reference, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_sure_teachers_and_students_give_numbers(kind: Any) -> None:
    """Probabilities that underflow, and a stored mass of 1: no infinities, no NaN."""
    case = _case()
    with torch.no_grad():
        case["hidden"] *= 60
        case["teacher_hidden"] *= 60
    for target in (_dense(case), _top(case), TopTarget(torch.zeros(N, 1, dtype=torch.long), torch.zeros(N, 1))):
        got = _fused(case, target, Terms(0.5, 0.5, Divergence(kind)))
        assert bool(got.divergence.isfinite().all())
        assert all(bool(g.isfinite().all()) for g in _gradients(got.total, case))


def test_divergence_from_itself_is_zero_and_agrees() -> None:
    case = _case()
    for kind in KINDS:
        target = DenseTarget(case["hidden"].detach(), Head(case["head"].detach()))
        got = _fused(case, target, Terms(0, 1, Divergence(kind)))  # type: ignore[arg-type]
        _close(got.divergence, torch.zeros(N), 1e-6)
        assert bool(got.agrees.all())
        assert all(float(g.abs().max()) < 1e-5 for g in _gradients(got.total, case))


def test_agreement_is_of_the_likeliest_tokens() -> None:
    case = _case()
    want = (case["hidden"] @ case["head"].T).argmax(-1) == (case["teacher_hidden"] @ case["teacher_head"].T).argmax(-1)
    assert 0 < want.sum() < N or want.sum() == 0
    for target in (_dense(case), _top(case)):
        assert _fused(case, target, Terms(0, 1)).agrees.tolist() == want.tolist()


def test_each_teacher_counts_at_its_own_positions() -> None:
    case, other = _case(), _case(seed=1)
    at = [torch.tensor([0, 3, 4, 9]), torch.tensor([1, 2, 12])]
    first = DenseTarget(case["teacher_hidden"][at[0]], Head(case["teacher_head"]))
    second = DenseTarget(other["teacher_hidden"][at[1]], Head(other["teacher_head"]))
    got = token_losses(
        case["hidden"], Head(case["head"]), case["tokens"], [(at[0], first), (at[1], second)], Terms(0.5, 0.5), 3
    )
    for place, source in ((at[0], case), (at[1], other)):
        alone = _fused(case, _dense(source), Terms(0.5, 0.5))
        _close(got.divergence[place], alone.divergence[place])
    named = torch.cat(at)
    assert got.cross_entropy[[i for i in range(N) if i not in named]].tolist() == [0.0] * (N - 7)
    of_hidden, _ = _gradients(got.total, case)
    assert not of_hidden[[i for i in range(N) if i not in named]].any()


@pytest.mark.parametrize("stored", [False, True])
def test_rows_beyond_the_vocabulary_take_no_part_in_a_divergence(stored: bool) -> None:
    plain, padded = _case(), _case()
    want = _fused(plain, _top(plain) if stored else _dense(plain), Terms(0.5, 0.5, vocab_size=V))
    with torch.no_grad():
        padded["head"] = torch.cat([padded["head"], torch.full((3, H), 5.0)])
    padded["head"].requires_grad_()
    got = _fused(padded, _top(padded) if stored else _dense(padded), Terms(0.5, 0.5, vocab_size=V))
    _close(got.divergence, want.divergence)
    assert float(got.cross_entropy.sum()) > float(want.cross_entropy.sum())  # which is of the whole output matrix
    assert _gradients(got.total, padded)[1].shape == (V + 3, H)


def test_no_positions_give_zero() -> None:
    case = _case()
    for targets in ([], [(torch.arange(0), DenseTarget(case["teacher_hidden"][:0], Head(case["teacher_head"])))]):
        got = token_losses(case["hidden"][:0], Head(case["head"]), case["tokens"][:0], targets, Terms(0.5, 0.5))
        assert got.total.item() == 0
        got.total.backward()
        head = case["head"].grad
        assert head is not None
        assert not head.any()


@pytest.mark.parametrize(("of_hidden", "of_head"), itertools.product([True, False], repeat=2))
def test_gradients_only_where_wanted(of_hidden: bool, of_head: bool) -> None:
    case = _case()
    want = _gradients(_fused(case, _dense(case), Terms(0.5, 0.5)).total, case)
    parts = case | {
        "hidden": case["hidden"].detach().requires_grad_(of_hidden),
        "head": case["head"].detach().requires_grad_(of_head),
    }
    total = _fused(parts, _dense(case), Terms(0.5, 0.5)).total
    assert total.requires_grad == (of_hidden or of_head)
    if total.requires_grad:
        total.backward()
    for name, wanted, reference in zip(("hidden", "head"), (of_hidden, of_head), want, strict=True):
        gradient = parts[name].grad
        assert (gradient is not None) == wanted
        if gradient is not None:
            _close(gradient, reference)


def test_head_that_is_the_embedding_gets_both_gradients() -> None:
    case = _case()
    table = case["head"]
    total = token_losses(
        table[case["tokens"]] * 0.5, Head(table), case["tokens"], [(torch.arange(N), _dense(case))], Terms(0.5, 0.5)
    ).total
    exact = _case(torch.float64)
    want = _plain(exact | {"hidden": exact["head"][exact["tokens"]] * 0.5}, Terms(0.5, 0.5))[0]
    _close(torch.autograd.grad(total, table)[0], torch.autograd.grad(want, exact["head"])[0], 2e-5)


def test_gradients_scale_and_are_used_once() -> None:
    case = _case()
    want = _gradients(_fused(case, _dense(case), Terms(1, 1)).total, case)
    total = _fused(case, _dense(case), Terms(1, 1)).total
    got = torch.autograd.grad(total * 0.25 / 7, [case["hidden"], case["head"]], retain_graph=True)
    for mine, reference in zip(got, want, strict=True):
        _close(mine, reference * 0.25 / 7)
    with pytest.raises(RuntimeError, match="used up"):
        torch.autograd.grad(total, [case["head"]])


def test_autocast_keeps_masters_and_sums_in_float32() -> None:
    case, exact = _case(), _case(torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        got = _fused(case, _dense(case), Terms(0.5, 0.5))
    assert got.total.dtype == got.divergence.dtype == torch.float32
    total = _plain(exact, Terms(0.5, 0.5))[0]
    assert got.total.item() == pytest.approx(total.item(), rel=0.02)
    assert got.total.item() != _fused(case, _dense(case), Terms(0.5, 0.5)).total.item()  # it did round
    for mine, reference in zip(_gradients(got.total, case), _gradients(total, exact), strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - reference).norm() / reference.norm()) < 0.02


def test_nothing_of_all_positions_times_words_is_made() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):  # type: ignore[misc]
        rows = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for t in out if isinstance(out, tuple) else (out,):
                if isinstance(t, torch.Tensor) and t.dim() == 2 and t.shape[1] == V:
                    self.rows = max(self.rows, t.shape[0])
            return out

    case = _case()
    target, top = _dense(case), _top(case)
    for taught in (target, top):
        with Largest() as seen:
            _fused(case, taught, Terms(0.5, 0.5), chunk=4).total.backward()
        assert 4 <= seen.rows < N  # the output matrices, transposed, have H and H + 3 rows


def test_stored_logprobs_are_left_as_they_were() -> None:
    case = _case()
    for k in (K, V):
        top = _top(case, k=k)
        before = top.logprobs.clone()
        for kind in KINDS:
            _fused(case, top, Terms(0.5, 0.5, Divergence(kind)))  # type: ignore[arg-type]
            top_divergence(Divergence(kind), torch.randn(N, V), top)  # type: ignore[arg-type]
        assert torch.equal(top.logprobs, before)
