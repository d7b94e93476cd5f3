"""AlpacaEval's length-controlled win rate, and what each instruction contributes to it.

Dubois et al., *Length-Controlled AlpacaEval* (arXiv 2404.04475): a logistic model of the preference with three terms,

    logit P(model's answer is better) = a tanh(d / sd(d)) + b difficulty + c        d: baseline's length - model's

fitted with two "gamed" versions of the baseline (asked to be concise, or verbose) as light regularisation, which have
no c. The rate is the mean prediction with d = 0. Fit and constants are those of `alpaca_eval.metrics.glm_winrate`
(`length_controlled_v1`), down to liblinear's seeds, so that the number is the package's; scikit-learn's global
configuration is left alone.

The rate is no mean of verdicts, but what an instruction contributes to it can be told by leaving it out and fitting
again (at the penalty once chosen): with R(-i) the rate without instruction i and R' their mean,

    contribution of i = rate + (n - 1) (R' - R(-i)),

the jackknife's pseudo-values (Tukey 1958; Efron & Stein 1981), centred so that their mean is the rate. The variance of
that mean is the jackknife's. So intervals and, above all, differences between two models are taken over instructions
that both have, as everywhere else. The package's own error takes the fitted predictions for given, which says nothing
of the fit's uncertainty; a bootstrap that refits agrees with ours (`benchmarks/length_control.py`) and pairs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.core.canonical import file_digest
from harness.core.errors import HarnessError
from harness.stats.distributions import logistic
from harness.stats.spread import Floats

COLUMNS = ("index", "model", "preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline")
GAMED_WEIGHT = 0.2 / 2
"""Of a row of the reference: the package's regularisation, shared by its two gamed baselines."""
_PENALTIES = np.logspace(-4, 4, 10)
"""Inverse strengths C of the L1 penalty; five-fold cross-validation picks one."""
_FOLDS = 5
_SEED = 123
_MAX_STEPS, _TOLERANCE, _SINGULAR = 100, 1e-10, 1e12
STAND_IN = Path(__file__).parent / "data" / "df_gamed_approximate.csv"
"""Shipped in place of the package's df_gamed.csv, which is not ours to ship: difficulties fitted on published models'
verdicts. Length-controlled rates made with it are approximate (mean absolute error 0.7 points)."""


@dataclass(frozen=True)
class Reference:
    """The gamed baselines' rows and every instruction's difficulty."""

    features: Floats
    """(rows, 3): tanh of the standardised length difference, difficulty, 0."""
    preference: Floats
    """(rows,) in 0..1."""
    difficulty: Mapping[int, float]
    """By instruction's index."""


def read_reference(path: Path) -> Reference:
    """The package's df_gamed.csv, or the stand-in.

    Raises:
        HarnessError: no such file, or it lacks a column or a number.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise HarnessError(f"cannot be read as CSV ({error})", where=str(path)) from None
    for column in set(COLUMNS) & set(frame.columns) - {"model"}:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        frame[column] = numbers.where(np.isfinite(numbers))
    wrong = [c for c in COLUMNS if c not in frame.columns or frame[c].isna().any()]
    if wrong or frame.empty:
        raise HarnessError(
            f"lacks {', '.join(wrong) or 'rows'}",
            where=str(path),
            fix="Give df_gamed.csv of the data set tatsu-lab/alpaca_eval, or leave lc_reference out.",
        )
    difficulty = frame["instruction_difficulty"].to_numpy(dtype=float)
    features = np.stack([np.tanh(frame["std_delta_len"].to_numpy(dtype=float)), difficulty, np.zeros(len(frame))], 1)
    first = frame.drop_duplicates("index")
    by_index = {int(i): float(d) for i, d in zip(first["index"], first["instruction_difficulty"], strict=True)}
    return Reference(features, frame["preference"].to_numpy(dtype=float), by_index)


def is_stand_in(path: Path) -> bool:
    """Whether rates made with this reference are approximate."""
    return file_digest(path) == file_digest(STAND_IN)


def contributions(
    preference: Floats, delta: Floats, index: Sequence[int], reference: Reference
) -> dict[int, float] | None:
    """By instruction what it contributes to the rate of one model, in percent; their mean is the rate.

    None where the rate has no meaning. `preference` (rows,): probability that the model's answer is better, NaN where
    there is no verdict: such a row is predicted but not fitted. `delta` (rows,): length of the baseline's answer minus
    the model's, in characters. `index` (rows,): the instruction's index; rows of one instruction belong together.
    """
    scored = ~np.isnan(preference)
    if (
        not set(index) <= reference.difficulty.keys()
        or not scored.any()
        or scored.sum() + len(reference.preference) < _FOLDS
    ):
        return None
    if not (sd := _sd(delta)):  # without differences in length: the baseline against itself, or no model at all
        return dict.fromkeys(index, 50.0) if np.all(preference[scored] == 0.5) else None
    difficulty = np.array([reference.difficulty[i] for i in index])
    features = np.stack([np.tanh(delta / sd), difficulty, np.ones(len(delta))], 1)
    penalty, weights = _fit(
        np.concatenate([reference.features, features[scored]]),
        np.concatenate([reference.preference, preference[scored]]),
        np.concatenate([np.full(len(reference.preference), GAMED_WEIGHT), np.ones(scored.sum())]),
    )
    rate = 100 * float(_predict(weights, difficulty).mean())
    instructions, codes = np.unique(index, return_inverse=True)
    without = _left_out(preference, delta, codes, difficulty, reference, penalty, weights)
    values = rate + (len(instructions) - 1) * (without.mean() - without)
    return dict(zip(instructions.tolist(), values.tolist(), strict=True))


def _left_out(
    preference: Floats,
    delta: Floats,
    codes: NDArray[np.intp],
    difficulty: Floats,
    reference: Reference,
    penalty: float,
    weights: Floats,
) -> Floats:
    """The rate without each instruction, (instructions,), the model refitted from `weights`; the reference is fixed."""
    instructions = int(codes.max()) + 1
    if instructions < 2:
        return np.zeros(instructions)
    x = np.concatenate([reference.features, np.stack([delta, difficulty, np.ones(len(delta))], 1)])
    y = np.concatenate([reference.preference, np.nan_to_num(preference)])
    weight = np.concatenate([np.full(len(reference.preference), GAMED_WEIGHT), ~np.isnan(preference)])
    own = len(reference.preference)
    rates = np.empty(instructions)
    for left_out in range(instructions):
        kept = codes != left_out
        x[own:, 0] = np.tanh(delta / (_sd(delta[kept]) or _sd(delta)))
        rest = weight.copy()
        rest[own:] *= kept
        fitted = refit(x, y, rest, penalty, weights)
        rates[left_out] = 100 * float(_predict(fitted, difficulty[kept]).mean())
    return rates


def _sd(delta: Floats) -> float:
    return float(delta.std(ddof=1)) if len(delta) > 1 else 0.0


def _predict(weights: Floats, difficulty: Floats) -> Floats:
    """The model's chance on each instruction, were both answers as long."""
    predicted: Floats = logistic(weights[1] * difficulty + weights[2])
    return predicted


def _fit(x: Floats, y: Floats, weight: Floats) -> tuple[float, Floats]:
    """The penalty that cross-validation picks, and the coefficients under it, as the package's LogisticRegressionCV.

    Fractional labels are two rows, one per class, weighted by them.
    """
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]

    x2, label = np.concatenate([x, x]), np.repeat([1, 0], len(x))
    share, weight2 = np.concatenate([y, 1 - y]), np.concatenate([weight, weight])

    def solve(rows: NDArray[np.intp], c: float, random: np.random.RandomState) -> Floats:
        model = LogisticRegression(C=c, l1_ratio=1, solver="liblinear", fit_intercept=False, random_state=random)
        coefficients: Floats = model.fit(x2[rows], label[rows], sample_weight=(share * weight2)[rows]).coef_[0]
        return coefficients

    scores = np.zeros((_FOLDS, len(_PENALTIES)))
    for fold, (train, test) in enumerate(GroupKFold(_FOLDS).split(x2, groups=np.tile(np.arange(len(x)), 2))):
        random = np.random.RandomState(_SEED)  # one stream along the penalties of a fold, as scikit-learn's path does
        y_test, w_test = np.where(label[test] == 1, share[test], 1 - share[test]), weight2[test]
        for k, c in enumerate(_PENALTIES):
            p = np.clip(logistic(x2[test] @ solve(train, c, random)), 1e-15, 1 - 1e-15)
            scores[fold, k] = np.mean((y_test * np.log(p) + (1 - y_test) * np.log(1 - p)) * w_test)
    best = float(_PENALTIES[scores.mean(axis=0).argmax()])
    return best, solve(np.arange(len(x2)), best, np.random.RandomState(_SEED))


def refit(x: Floats, y: Floats, weight: Floats, penalty: float, start: Floats) -> Floats:
    """The minimum of the weighted logistic loss times `penalty` plus the L1 norm, from `start`.

    Newton's method: each step minimises the quadratic model plus the norm by coordinate descent, and is halved until
    the loss does not rise. x (rows, 3).
    """

    def loss(b: Floats) -> float:
        z = x @ b
        return float(penalty * (weight @ (np.logaddexp(0, z) - y * z)) + np.abs(b).sum())

    b, at = start.astype(float), loss(start)
    for _ in range(_MAX_STEPS):
        p = logistic(x @ b)
        gradient = penalty * (x.T @ (weight * (p - y)))
        curvature = penalty * (x.T * (weight * p * (1 - p))) @ x
        new = _penalised_step(b, gradient, curvature)
        while (there := loss(new)) > at and np.abs(new - b).max() > _TOLERANCE:
            new = (b + new) / 2
        if np.abs(new - b).max() < _TOLERANCE:
            return new
        b, at = new, there
    return b


def _penalised_step(b: Floats, gradient: Floats, curvature: Floats) -> Floats:
    """argmin over z of gradient (z - b) + (z - b) curvature (z - b) / 2 + |z|."""
    if np.linalg.cond(curvature) < _SINGULAR:
        z: Floats = b - np.linalg.solve(curvature, gradient + np.sign(b))
        if np.all(np.sign(z) * np.sign(b) > 0):  # where no sign changes the norm is linear
            return z
    z = b.copy()
    for _ in range(_MAX_STEPS):
        before = z.copy()
        for j in range(len(z)):
            slope = gradient[j] + curvature[j] @ (z - b) - curvature[j, j] * z[j]
            z[j] = -np.sign(slope) * max(abs(slope) - 1, 0) / curvature[j, j] if curvature[j, j] > 0 else 0.0
        if np.abs(z - before).max() < _TOLERANCE:
            break
    return z
