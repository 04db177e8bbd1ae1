"""Distances between sets against pytorch-fid, torchmetrics, scikit-learn and closed forms; and their intervals."""

import math
from unittest import mock

import numpy as np
import pytest
import torch
from pytorch_fid import fid_score
from scipy import linalg, stats
from sklearn.svm import LinearSVC
from torchmetrics.image.kid import poly_mmd

from aotlib import distances


def sample(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def pairs(n, d, rng, error=0.3):
    real = rng.normal(size=(n, d)) / np.sqrt(np.arange(1, d + 1))
    return real, 0.95 * real + error * rng.normal(size=(n, d)) / np.arange(1, d + 1) + 0.02


@pytest.mark.parametrize("n, d", [(200, 5), (300, 64), (50, 64), (60, 64), (64, 64)])  # covariances of all ranks
def test_frechet_distance_is_pytorch_fids(n, d):
    one, two = sample(n, d, 1), sample(n + 7, d, 2)
    moments = [f(x) for x in (one, two) for f in (lambda x: x.mean(0), lambda x: np.cov(x, rowvar=False))]
    expected = theirs(*moments)
    assert distances.frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)
    assert distances.frechet_distance(two, one) == pytest.approx(expected, rel=1e-6)


def theirs(*moments):
    """pytorch-fid's function; it asks SciPy for a second return value that newer versions no longer give."""
    with mock.patch("scipy.linalg.sqrtm", lambda a, disp=True, right=linalg.sqrtm: (right(a), 0)):
        return fid_score.calculate_frechet_distance(*moments)


@pytest.mark.parametrize("n", [30, 100])  # fewer pictures than features, and more
def test_frechet_distance_has_its_closed_forms(n):
    one = sample(n, 40, 0)
    assert 0 <= distances.frechet_distance(one, one) < 1e-9 * np.trace(np.cov(one, rowvar=False))
    assert distances.frechet_distance(one, one + 2) == pytest.approx(40 * 4)
    rng = np.random.default_rng(0)
    white = rng.normal(size=(100, 4))
    white = np.linalg.qr(white - white.mean(0))[0] * np.sqrt(99)  # mean 0, covariance the identity
    scale = np.array([1.0, 2.0, 3.0, 4.0])
    assert distances.frechet_distance(white, white * scale) == pytest.approx(((scale - 1) ** 2).sum(), rel=1e-6)


def test_kernel_distance_is_torchmetrics_and_the_sum_over_all_pairs(monkeypatch):
    one, two = sample(30, 8, 1) / 3, sample(30, 8, 2) / 3
    expected = poly_mmd(torch.from_numpy(one), torch.from_numpy(two)).item()
    assert distances.kernel_distance(one, two) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(distances, "BLOCK", 100)  # three rows at a time
    assert distances.kernel_distance(one, two) == pytest.approx(expected, rel=1e-10)
    two = two[:11]
    k = [[(a @ b / 8 + 1) ** 3 for b in [*one, *two]] for a in [*one, *two]]
    within = [sum(k[i][j] for i in s for j in s if i != j) / len(s) / (len(s) - 1) for s in (range(30), range(30, 41))]
    across = sum(k[i][j] for i in range(30) for j in range(30, 41)) / 330
    assert distances.kernel_distance(one, two) == pytest.approx(sum(within) - 2 * across, rel=1e-10)


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    found = [distances.kernel_distance(rng.normal(size=(6, 3)), rng.normal(size=(6, 3))) for _ in range(2000)]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(2000)
    assert min(found) < 0


def weighted_frechet(one, two, w):
    """The Fréchet distance of weighted pictures (weights of sum 1), by its definition."""
    n, means = len(w), [w @ one, w @ two]
    first, second = (n / (n - 1) * np.cov(x, rowvar=False, aweights=w, ddof=0) for x in (one, two))
    shared = np.sqrt(linalg.eigvals(first @ second).real.clip(0)).sum()
    return ((means[0] - means[1]) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * shared


@pytest.mark.parametrize("n, d", [(8, 12), (40, 5)])  # fewer pictures than features, and more
def test_effects_are_derivatives_with_respect_to_a_pairs_weight(n, d):
    one, two = pairs(n, d, np.random.default_rng(3))
    effects, step, even = distances._frechet_effects(one, two), 1e-4, np.full(n, 1 / n)
    effects = effects - effects.mean()
    for i in range(5):
        moved = [weighted_frechet(one, two, even + sign * step * (np.eye(n)[i] - even)) for sign in (1, -1)]
        assert effects[i] == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=2e-3, abs=2e-3 * effects.std())


def test_effects_of_the_kernel_distance_are_what_leaving_a_pair_out_does():
    one, two = pairs(12, 5, np.random.default_rng(3))
    effects = distances._kernel_effects(one, two)
    without = np.array([distances.kernel_distance(np.delete(one, i, 0), np.delete(two, i, 0)) for i in range(12)])
    np.testing.assert_allclose(effects - effects.mean(), -11 * (without - without.mean()), rtol=1e-9)


@pytest.mark.parametrize("kind", ["fid", "kid"])
@pytest.mark.parametrize("n, d", [(12, 48), (60, 8)])
def test_intervals_hold_the_mean_over_sets_of_this_size(kind, n, d):
    rng = np.random.default_rng(5)
    drawn = (pairs(n, d, rng) for _ in range(300))
    found = np.array([distances.distance_interval(kind, *one, n_resamples=300) for one in drawn])
    values, low, high = found.T
    held = np.mean((low <= values.mean()) & (values.mean() <= high))
    assert 0.90 <= held <= 0.995  # 95 %, within 3 standard errors of 300 draws and what the interval is known to miss
    assert 0.85 < np.median(high - low) / (2 * 1.96 * values.std()) < 1.6
    assert (low <= values).all() and (values <= high).all()


def test_percentiles_of_resampled_sets_would_not_hold_it():
    """Why there is no plain bootstrap: pictures that repeat change the distance more than the interval is wide."""
    rng, held, values = np.random.default_rng(0), [], []
    for _ in range(40):
        real = rng.normal(size=(20, 40))
        fake = rng.normal(size=(20, 40))
        values.append(distances.frechet_distance(real, fake))
        drawn = [rng.integers(20, size=20) for _ in range(60)]
        held.append(np.quantile([distances.frechet_distance(real[i], fake[i]) for i in drawn], [0.025, 0.975]))
    assert np.mean([low <= np.mean(values) <= high for low, high in held]) < 0.3


def test_an_interval_draws_a_fill_with_its_photograph():
    real, fake = pairs(40, 10, np.random.default_rng(0), error=0.05)
    widths = []
    for order in (np.arange(40), np.random.default_rng(1).permutation(40)):
        value, low, high = distances.distance_interval("fid", real, fake[order])
        assert value == pytest.approx(distances.frechet_distance(real, fake), rel=1e-9)
        widths.append(high - low)
    assert widths[0] < 0.5 * widths[1]


@pytest.mark.parametrize("kind", ["fid", "kid"])
def test_intervals_at_the_edges(kind, monkeypatch):
    real, fake = pairs(20, 30, np.random.default_rng(0))
    one = distances.distance_interval(kind, real, fake, seed=1)
    assert one == distances.distance_interval(kind, real, fake, seed=1) and all(type(x) is float for x in one)
    assert one[0] == distances.distance_interval(kind, real, fake, seed=2)[0]
    assert one[1:] != distances.distance_interval(kind, real, fake, seed=2)[1:]
    monkeypatch.setattr(distances, "BLOCK", 50)  # two resamples at a time: the same draws
    assert one == pytest.approx(distances.distance_interval(kind, real, fake, seed=1), rel=1e-12)
    value, low, high = distances.distance_interval(kind, real[:4], fake[:4])
    assert value and math.isnan(low) and math.isnan(high)
    value, low, high = distances.distance_interval("fid", real, real)
    assert 0 <= low <= value <= high < 1e-10
    wild = real * np.random.default_rng(0).exponential(size=(20, 1)) ** 3
    assert distances.distance_interval("fid", real[:6], wild[:6])[1] == 0  # cut, not below


def overlapping(n=200, d=6, seed=0):
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(n, d))
    return real, 0.5 * real + rng.normal(size=(n, d)) + 0.4


def test_separability_is_that_of_scikit_learns_separator_on_its_own_pictures():
    real, fake = overlapping()
    both, kinds = np.concatenate([real, fake]), np.array([1] * 200 + [0] * 200)
    separator = LinearSVC(dual=False).fit(both, kinds)
    margins = both @ separator.coef_[0] + separator.intercept_
    p_ids, u_ids = distances.separability(real, fake)
    assert p_ids == np.mean(margins[200:] > margins[:200]) and 0.05 < p_ids < 0.5
    assert u_ids == pytest.approx(1 - separator.score(both, kinds)) and 0.05 < u_ids < 0.5
    assert distances.separability(real, real + 100) == (0, 0)
    assert distances.separability(real, fake, seed=3) == (p_ids, u_ids)


def test_intervals_of_shares_are_wilsons():
    real, fake = overlapping()
    value, low, high = distances.distance_interval("p_ids", real, fake)
    expected = stats.binomtest(round(200 * value), 200).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high)) and value == distances.separability(real, fake)[
        0
    ]
    value, low, high = distances.distance_interval("u_ids", real, fake)
    assert value == distances.separability(real, fake)[1] and 0 < low < value < high < 0.5
    value, low, high = distances.distance_interval("p_ids", real, real + 100)
    assert value == low == 0 and high == pytest.approx(stats.binomtest(0, 200).proportion_ci(method="wilson").high)


def test_intervals_of_shares_hold_the_true_share():
    rng, held, widths = np.random.default_rng(0), [], []
    for _ in range(400):  # two pictures a pair, wrong in 20 % of the cases, independent of each other
        mean, low, high = distances._wilson((rng.random((60, 2)) < 0.2).mean(1))
        held.append(low <= 0.2 <= high)
        widths.append(high - low)
    assert 0.92 < np.mean(held) < 0.985
    assert np.mean(widths) == pytest.approx(2 * 1.96 * math.sqrt(0.16 / 120), rel=0.1)


@pytest.mark.parametrize(
    "measure, one, two, words",
    [
        (distances.frechet_distance, (1, 4), (5, 4), "at least two pictures, got 1 and 5"),
        (distances.kernel_distance, (3, 4), (3, 5), "of one network"),
        (distances.separability, (3, 4), (2, 4), "3 photographs but 2 fills"),
        (distances.separability, (3, 5), (3, 5), "3 pairs of pictures with 5 features can always be separated"),
    ],
)
def test_unfit_features_are_refused_in_words(measure, one, two, words):
    with pytest.raises(ValueError, match=words):
        measure(np.ones(one), np.ones(two))


def test_unfit_questions_are_refused_in_words():
    real, fake = overlapping(20)
    with pytest.raises(ValueError, match="nan or infinity"):
        distances.frechet_distance(real, fake * np.nan)
    with pytest.raises(ValueError, match="kind must be one of .* did you mean 'fid'"):
        distances.distance_interval("fdi", real, fake)
    with pytest.raises(ValueError, match="20 photographs but 19 fills"):
        distances.distance_interval("kid", real, fake[:19])
    with pytest.raises(ValueError, match="more than 10 pairs"):
        distances.distance_interval("u_ids", np.ones((5, 20)), np.ones((5, 20)))
