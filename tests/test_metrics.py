"""Metrics against scikit-image on real photographs, against closed forms, and what they refuse."""

import math

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from aotlib import metrics

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "truncate": 3.5}
NAMES = ["l1", "relative_l1", "psnr", "ssim", "ssim_released", "hole_l1", "hole_psnr", "hole_ssim"]


def tensor(array_u8):
    return torch.from_numpy(np.ascontiguousarray(array_u8)).permute(2, 0, 1)[None]


def flat(value, side=16):
    return torch.full((1, 3, side, side), value, dtype=torch.uint8)


@pytest.fixture(scope="module")
def photographs():
    """Three photographs, 160 x 200 px, and three kinds of damage: noise, a filled hole, a darker picture."""
    truth = np.stack([photo()[90:250, 100:300] for photo in (data.astronaut, data.chelsea, data.coffee)])
    result, rng = truth.copy(), np.random.default_rng(0)
    result[0] = np.clip(truth[0] + rng.normal(0, 25, truth[0].shape), 0, 255).astype(np.uint8)
    result[1, 40:120, 50:150] = truth[1].mean((0, 1)).astype(np.uint8)
    result[2] = truth[2] // 2
    return result, truth


@pytest.fixture(scope="module")
def batch(photographs):
    """The same as tensors, with one irregular mask each: disc, stripes that reach the frame, small box."""
    rows, columns = np.mgrid[:160, :200]
    disc, stripes = (rows - 70) ** 2 + (columns - 90) ** 2 < 50**2, (rows + columns) % 40 < 9
    box = (abs(rows - 100) < 12) & (abs(columns - 40) < 20)
    mask = torch.from_numpy(np.stack([disc, stripes, box])[:, None]).float()
    return *(torch.from_numpy(images).permute(0, 3, 1, 2) for images in photographs), mask


def test_psnr_is_that_of_scikit_image(photographs, batch):
    expected = [peak_signal_noise_ratio(t, r, data_range=255) for r, t in zip(*photographs, strict=True)]
    assert metrics.psnr(*batch[:2]).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ours, options", [(metrics.ssim, WANG), (metrics.ssim_released, {})])
def test_ssim_is_that_of_scikit_image(photographs, batch, ours, options):
    expected = [
        structural_similarity(t, r, data_range=255, channel_axis=2, **options)
        for r, t in zip(*photographs, strict=True)
    ]
    assert ours(*batch[:2]).tolist() == pytest.approx(expected, abs=1e-10)  # float64 sums in another order


def test_ssim_in_the_hole_is_scikit_images_map_averaged_there(photographs, batch):
    for (r, t), mask, ours in zip(zip(*photographs, strict=True), batch[2], metrics.ssim(*batch), strict=True):
        _, similarity = structural_similarity(t, r, data_range=255, channel_axis=2, full=True, **WANG)
        hole = mask[0].numpy() == 1
        hole[:5] = hole[-5:] = hole[:, :5] = hole[:, -5:] = False  # scikit-image mirrors the image there
        assert ours.item() == pytest.approx(similarity[hole].mean(), abs=1e-10)


def test_l1_and_psnr_are_a_few_lines_of_numpy(photographs, batch):
    result, truth = (images.astype(float) for images in photographs)
    error = abs(result - truth)
    assert metrics.l1(*batch[:2]).tolist() == pytest.approx(error.mean((1, 2, 3)) / 255)
    relative = error.sum((1, 2, 3)) / (result + truth).sum((1, 2, 3))
    assert metrics.relative_l1(*batch[:2]).tolist() == pytest.approx(relative)
    in_hole = [e[m[0].numpy() == 1] for e, m in zip(error, batch[2], strict=True)]
    assert metrics.l1(*batch).tolist() == pytest.approx([e.mean() / 255 for e in in_hole])
    decibel = [10 * math.log10(255**2 / (e**2).mean()) if e.any() else math.inf for e in in_hole]
    assert metrics.psnr(*batch).tolist() == pytest.approx(decibel)


def test_closed_forms_of_flat_images():
    assert metrics.l1(flat(255), flat(0)).item() == 1
    assert metrics.psnr(flat(255), flat(0)).item() == 0
    assert metrics.relative_l1(flat(0), flat(0)).item() == 0  # 0 / 0 is no error
    assert metrics.relative_l1(flat(1), flat(0)).item() == 1
    c1 = 2.55**2  # without variance only the brightness term is left
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert metrics.ssim(flat(100), flat(150)).item() == pytest.approx(expected, rel=1e-9)
    assert metrics.ssim_released(flat(100), flat(150)).item() == pytest.approx(expected, rel=1e-9)


def test_a_composites_psnr_is_the_holes_plus_the_hole_ratio(batch):
    result, truth, mask = batch
    composite = torch.where(mask == 1, result, truth)[:1]
    gain = metrics.psnr(composite, truth[:1]) - metrics.psnr(composite, truth[:1], mask[:1])
    assert gain.item() == pytest.approx(-10 * math.log10(mask[0].mean()), rel=1e-6)  # the ratio is float32


def test_equal_images_score_best(batch):
    _, truth, mask = batch
    scores = metrics.measure(truth, truth, mask)
    assert list(scores) == NAMES and all(v.dtype == torch.float64 and v.shape == (3,) for v in scores.values())
    best = [0, 0, math.inf, 1, 1, 0, math.inf, 1]
    assert [v.mean().item() for v in scores.values()] == pytest.approx(best, abs=1e-12)


def test_a_batch_is_its_images_one_by_one(batch):
    together = metrics.measure(*batch)
    for i in range(3):
        alone = metrics.measure(*(x[i : i + 1] for x in batch))
        assert {k: v[i].item() for k, v in together.items()} == pytest.approx({k: v.item() for k, v in alone.items()})


def test_metrics_are_symmetric_and_ignore_known_pixels_when_told_to(batch):
    result, truth, mask = batch
    there, back = metrics.measure(result, truth, mask), metrics.measure(truth, result, mask)
    assert all(torch.allclose(there[name], back[name], rtol=1e-12) for name in NAMES)
    composite = torch.where(mask == 1, result, truth)
    for metric in (metrics.l1, metrics.psnr):
        assert torch.equal(metric(composite, truth, mask), metric(result, truth, mask))
        assert not torch.equal(metric(composite, truth), metric(result, truth))


def test_a_hole_that_is_not_there_scores_nan_and_spares_its_neighbours(batch):
    result, truth, mask = batch
    mask = mask.clone()
    mask[0] = 0
    mask[1] = 0
    mask[1, 0, :5] = 1  # a hole, but no pixel of it has a full SSIM window
    scores = metrics.measure(result, truth, mask)
    assert [scores[f"hole_{name}"].isnan().tolist() for name in ("l1", "psnr", "ssim")] == [
        [True, False, False],
        [True, False, False],
        [True, True, False],
    ]
    assert not any(scores[name].isnan().any() for name in NAMES[:5])


def test_bool_masks_are_masks(batch):
    assert torch.equal(metrics.l1(*batch), metrics.l1(*batch[:2], batch[2].bool()))


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (
            (torch.zeros(1, 3, 16, 16), flat(0)),
            TypeError,
            "result_u8 is torch.float32: pass uint8; use aotlib",
        ),
        ((flat(0), flat(0)[0]), ValueError, r"truth_u8 is \(3, 16, 16\), not \(B, 3, H, W\)"),
        ((flat(0), flat(0)[:, :1]), ValueError, "truth_u8 is"),
        ((flat(0), flat(0, 17)), ValueError, r"\(1, 3, 16, 16\) but truth_u8 is \(1, 3, 17, 17\)"),
        ((flat(0), flat(0), torch.ones(1, 1, 8, 16)), ValueError, r"need \(1, 1, 16, 16\)"),
        ((flat(0), flat(0), torch.full((1, 1, 16, 16), 255.0)), ValueError, "0 and 1.* maximum is 255"),
    ],
)
@pytest.mark.parametrize("metric", [metrics.l1, metrics.psnr, metrics.ssim])
def test_unfit_arguments_are_refused_in_words(metric, arguments, error, words):
    with pytest.raises(error, match=words):
        metric(*arguments)


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match=r"\(10, 10\) px are smaller than SSIM's 11 px window"):
        metrics.ssim(flat(0, 10), flat(0, 10))
    assert metrics.ssim_released(flat(0, 7), flat(0, 7)).item() == 1


def example(method="ours"):
    scores = {
        "psnr": torch.tensor([20.0, math.inf, 30.0, 40.0]),
        "hole_ssim": torch.tensor([0.5, 1, 0.25, math.nan]),
    }
    buckets = ["40-50 %", "1-10 %", "1-10 %", None]
    return metrics.long_table(scores, method=method, data="samples", images=list("abcd"), buckets=buckets)


def test_long_table_has_one_row_an_image_and_metric():
    table = example()
    assert list(table.columns) == ["method", "data", "bucket", "image", "metric", "value"]
    assert len(table) == 8 and set(table["method"]) == {"ours"}
    row = table[(table["image"] == "c") & (table["metric"] == "hole_ssim")].iloc[0]
    assert row["value"] == 0.25 and row["bucket"] == "1-10 %"


def test_long_table_refuses_missing_names():
    with pytest.raises(ValueError, match="1 image names but 2 values of l1"):
        scores = {"l1": torch.zeros(2)}
        metrics.long_table(scores, method="m", data="d", images=["a"], buckets=["1-10 %"])


def test_every_metric_is_known_by_its_label_its_unit_and_its_direction(batch):
    about = {name: metrics.about(name) for name in [*metrics.measure(*batch), "lpips"]}
    assert len({label for label, _, _ in about.values()}) == len(about), "two metrics in one column"
    _, truth, mask = batch
    worse, best = metrics.measure(truth // 2, truth, mask), metrics.measure(truth, truth, mask)
    for name in NAMES:
        assert (best[name] > worse[name]).all() == about[name].higher_is_better, name
    assert about["hole_psnr"] == ("PSNR in the hole", "dB", True) and about["l1"].unit == "0 to 1"
    assert not about["lpips"].higher_is_better


def test_a_distance_between_sets_is_known_with_its_dimensions():
    keys = ["fid_768", "kid_2048", "p_ids_64", "u_ids_192"]
    assert [metrics.about(key).label for key in keys] == ["FID-768", "KID-2048", "P-IDS-64", "U-IDS-192"]
    assert [metrics.about(key).higher_is_better for key in keys] == [False, False, True, True]


@pytest.mark.parametrize("key", ["fid", "fid_", "fid_0", "fid_768_", "ids_768", "l1_768", "PSNR", "psnr ", ""])
def test_an_unknown_metric_is_refused_with_the_names_of_those_there_are(key):
    with pytest.raises(ValueError, match=rf"'{key}'; there are l1, .*hole_ssim, and fid_768, .* u_ids_768$"):
        metrics.about(key)
