"""Judging fills: the same pictures and masks for every method, nothing of the truth seen, numbers as they should be."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from aotlib import fid
from aotlib.classical import CLASSICAL
from aotlib.evaluate import Features, cases, judge, network_fill
from aotlib.images import find_images
from aotlib.masks import BUCKETS, load_masks
from aotlib.model import Generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(root / f"{i}.png")
    (root / "masks").mkdir()
    for i, share in enumerate((0.15, 0.18, 0.25)):
        mask = np.zeros((100, 100), np.uint8)
        mask[:, : round(100 * share)] = 255
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    return root


def pictures(folder):
    return [path for path in find_images(folder) if path.parent == folder]


def test_cases_are_those_of_the_seed_and_of_the_bucket(folder):
    masks = load_masks(folder / "masks")
    one, two = (list(cases(pictures(folder), size=64, bucket=BUCKETS[1], masks=masks, seed=1)) for _ in range(2))
    assert [case.name for case in one] == ["0.png", "1.png", "2.png"]
    assert all(torch.equal(a.mask, b.mask) and torch.equal(a.picture_u8, b.picture_u8) for a, b in zip(one, two))
    assert all(0.1 < case.mask.mean() <= 0.2 and case.bucket == "10-20 %" for case in one)
    assert one[0].picture_u8.shape == (3, 64, 64) and one[0].picture_u8.dtype == torch.uint8
    orders = [cases(pictures(folder), size=64, bucket=BUCKETS[1], masks=masks, seed=seed) for seed in range(9)]
    assert len({tuple(case.mask.sum().item() for case in order) for order in orders}) > 1, "the seed does not matter"
    with pytest.raises(ValueError, match="none of the 3 masks has a hole of 40-50 % at 64 px"):
        list(cases(pictures(folder), size=64, bucket=BUCKETS[4], masks=masks))


def test_every_mask_file_comes_once_before_one_comes_again(folder):
    masks, files = load_masks(folder / "masks"), pictures(folder)[:1] * 6
    shares = [round(c.mask.mean().item(), 2) for c in cases(files, size=100, bucket=BUCKETS[1], masks=masks)]
    assert [sorted(shares[i : i + 2]) for i in (0, 2, 4)] == [[0.15, 0.18]] * 3


def test_drawn_masks_lie_in_their_bucket_and_do_not_depend_on_the_number_of_files(folder):
    drawn = list(cases(pictures(folder), size=64, bucket=BUCKETS[3], seed=5))
    assert all(0.3 < case.mask.mean() <= 0.4 and case.bucket == "30-40 %" for case in drawn)
    assert len({tuple(case.mask.flatten().tolist()) for case in drawn}) == 3
    (first,) = cases(pictures(folder)[:1], size=64, bucket=BUCKETS[3], seed=5)
    assert torch.equal(first.mask, drawn[0].mask)


@pytest.mark.parametrize("count", [1, 4, 11])
def test_features_of_pictures_one_by_one_are_those_of_all_together(monkeypatch, count):
    sizes = []

    def computed(_, pictures_u8):
        sizes.append(len(pictures_u8))
        return pictures_u8.double().mean((2, 3)).numpy()

    monkeypatch.setattr("aotlib.evaluate.inception_features", computed)
    pictures_u8 = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)
    features = Features(torch.nn.Identity(), batch=4)
    for picture_u8 in pictures_u8:
        features.add(picture_u8)
    np.testing.assert_array_equal(features.all(), computed(None, pictures_u8))
    assert max(sizes[:-1]) <= 4 and sum(sizes[:-1]) == count


def test_methods_see_nothing_of_the_hole_and_are_scored_against_the_truth(folder):
    seen = []

    def peeking(picture, mask):
        seen.append(picture[:, mask[0] > 0].unique().tolist())
        return torch.where(mask > 0.5, 100, picture)

    about = {"size": 64, "buckets": BUCKETS[1:3], "data": "noise", "report": lambda text: None}
    methods, masks = {"hundred": peeking} | CLASSICAL, load_masks(folder / "masks")
    table = judge(methods, pictures(folder), masks=masks, **about).buckets
    assert seen == [[127]] * 6
    assert list(table.method.unique()) == ["hundred", *CLASSICAL] and (table.n == 3).all() and len(table) == 8
    row = table[(table.method == "hundred") & (table.bucket == "20-30 %")].iloc[0]
    expected = []
    for case in cases(pictures(folder), size=64, bucket=BUCKETS[2], masks=load_masks(folder / "masks")):
        error = (case.picture_u8.double() - 100) * case.mask
        expected.append(-10 * math.log10((error / 255).square().mean().item()))
    assert row.psnr == pytest.approx(np.mean(expected), rel=1e-9)


def test_the_distance_is_that_of_the_fills_to_the_photographs(folder, monkeypatch):
    monkeypatch.setattr("aotlib.evaluate.inception_features", lambda _, u8: u8.double().mean((2, 3)).numpy())
    about = {"size": 64, "buckets": BUCKETS[1:3], "inception": torch.nn.Identity(), "report": lambda text: None}
    grey = {"grey": lambda picture, mask: torch.where(mask > 0.5, 0, picture)}
    table = judge(grey, pictures(folder), masks=load_masks(folder / "masks"), **about).buckets
    found = list(cases(pictures(folder), size=64, bucket=BUCKETS[2], masks=load_masks(folder / "masks")))
    truth = np.stack([case.picture_u8.double().mean((1, 2)).numpy() for case in found])
    ours = np.stack([(case.picture_u8.double() * (1 - case.mask)).mean((1, 2)).numpy() for case in found])
    assert table["FID-3"].iloc[1] == pytest.approx(fid.frechet_distance(ours, truth))
    assert table["FID-3"].iloc[1] > table["FID-3"].iloc[0] > 0


def test_a_networks_fill_keeps_known_pixels(folder):
    fill = network_fill(Generator(width=4, n_blocks=1, rates=(1, 2)))
    (case, *_) = cases(pictures(folder), size=64, bucket=BUCKETS[1], masks=load_masks(folder / "masks"))
    filled = fill(case.picture_u8, case.mask)
    assert torch.equal(filled[:, case.mask[0] == 0], case.picture_u8[:, case.mask[0] == 0])
    assert not torch.equal(filled, case.picture_u8)
