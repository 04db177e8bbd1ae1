"""Judging fills: the same pictures and masks for every method, nothing of the truth seen, numbers as they should be."""

import gc
import math
import weakref

import numpy as np
import pytest
import torch
from PIL import Image

from aotlib import distances, evaluate, manifest
from aotlib.classical import CLASSICAL
from aotlib.evaluate import Measures, judge, network_fill
from aotlib.images import find_images
from aotlib.masks import BUCKETS, load_masks
from aotlib.model import Generator
from aotlib.weights_files import WEIGHTS_VARIABLE

QUIET = {"size": 64, "data": "noise", "report": lambda text: None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(root / "pictures" / f"{i}.png")
    (root / "masks").mkdir()
    for i, share in enumerate((0.15, 0.18, 0.25)):
        mask = np.zeros((100, 100), np.uint8)
        mask[:, : round(100 * share)] = 255
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def plan(folder):
    files, masks = find_images(folder / "pictures"), load_masks(folder / "masks")
    return manifest.make(files, size=64, buckets=BUCKETS[1:3], masks=masks, seed=1)


@pytest.fixture(autouse=True)
def without_weights(monkeypatch, tmp_path):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def places(folder):
    return folder / "pictures", folder / "masks"


def test_methods_see_nothing_of_the_hole_and_are_scored_against_the_truth(folder, plan):
    seen = []

    def peeking(picture, mask):
        seen.append(picture[:, mask[0] > 0].unique().tolist())
        return torch.where(mask > 0.5, 100, picture)

    verdict = judge({"hundred": peeking} | CLASSICAL, plan, *places(folder), **QUIET)
    table = verdict.summary
    assert seen == [[127]] * 6
    assert list(table.method.unique()) == ["hundred", *CLASSICAL] and set(table.bucket) == {"10-20 %", "20-30 %", "all"}
    (row,) = table[(table.method == "hundred") & (table.bucket == "20-30 %") & (table.metric == "psnr")].itertuples()
    expected = []
    for case in manifest.cases(plan, *places(folder), size=64, bucket=BUCKETS[2]):
        error = (case.picture_u8.double() - 100) * case.mask
        expected.append(-10 * math.log10((error / 255).square().mean().item()))
    assert row.mean == pytest.approx(np.mean(expected), rel=1e-9) and row.low <= row.mean <= row.high and row.n == 3
    pairs = verdict.images.groupby("method")[["bucket", "image"]].apply(lambda t: sorted(set(map(tuple, t.values))))
    assert all(found == pairs.iloc[0] for found in pairs) and len(pairs.iloc[0]) == 6


def test_a_method_that_changes_a_known_pixel_is_refused(folder, plan):
    def spilling(picture, mask):
        filled = picture.clone()
        filled[0, -1, -1] ^= 1  # one level, outside the hole
        return filled

    with pytest.raises(ValueError, match=r"spilling changed 1 known pixels of 0.png \(10-20 %\); paste"):
        judge({"spilling": spilling}, plan, *places(folder), **QUIET)


class Means(torch.nn.Module):
    """Stands in for Inception: three features, the mean colours."""

    def forward(self, pictures):
        return [pictures.mean((2, 3), keepdim=True)]


@pytest.fixture
def means(monkeypatch):
    monkeypatch.setattr(evaluate, "load_inception", lambda dims, download=False: Means())
    found = []

    class Features:
        def __init__(self, network, cache=None):
            self.rows = []

        def add(self, picture_u8):
            self.rows.append(picture_u8.double().mean((1, 2)).numpy())
            found.append(self)

        def all(self):
            return np.stack(self.rows)

    monkeypatch.setattr(evaluate, "Features", Features)
    return found


def test_the_distance_is_that_of_the_fills_to_the_photographs(folder, plan, means):
    grey = {"grey": lambda picture, mask: torch.where(mask > 0.5, 0, picture)}
    table = judge(grey, plan, *places(folder), measures=Measures(3), **QUIET).summary
    found = list(manifest.cases(plan, *places(folder), size=64, bucket=BUCKETS[2]))
    truth = np.stack([case.picture_u8.double().mean((1, 2)).numpy() for case in found])
    ours = np.stack([(case.picture_u8.double() * (1 - case.mask)).mean((1, 2)).numpy() for case in found])
    rows = table[table.metric == "fid_3"].set_index("bucket")
    assert rows["mean"]["20-30 %"] == pytest.approx(distances.frechet_distance(ours, truth))
    assert rows["mean"]["20-30 %"] > rows["mean"]["10-20 %"] > 0 and (rows.n == 3).all()


def test_reasons_belong_to_the_pictures_that_they_were_found_with(folder, plan, means):
    measures = Measures(3)
    before = dict(measures.unavailable)
    assert set(before) == {"lpips"}
    rng = np.random.default_rng(0)
    rows, reasons = measures.of_sets(*rng.normal(size=(2, 2, 3)), seed=0)
    assert [row["metric"] for row in rows] == ["fid_3", "kid_3"] and set(reasons) == {"p_ids", "u_ids"}
    rows, reasons = measures.of_sets(*rng.normal(size=(2, 50, 3)), seed=0)
    assert len(rows) == 4 and reasons == {} and measures.unavailable == before
    grey = {"grey": lambda picture, mask: torch.where(mask > 0.5, 0, picture)}
    one = plan[plan.image == "0.png"]
    verdict = judge(grey, one, *places(folder), measures=measures, **QUIET)
    assert set(verdict.unavailable) > {"lpips", "p_ids"} and measures.unavailable == before


def test_what_cannot_be_measured_says_why_and_stands_under_no_other_name(folder, plan):
    measures = Measures(768)
    verdict = judge({"mean colour": CLASSICAL["mean colour"]}, plan, *places(folder), measures=measures, **QUIET)
    assert set(verdict.unavailable) == {*distances.KINDS, "lpips"}
    assert all("AOTLIB_WEIGHTS" in reason for reason in verdict.unavailable.values())
    assert not any(key.startswith(("fid", "kid", "p_ids", "u_ids", "lpips")) for key in verdict.summary.metric)


def test_pictures_do_not_pile_up_in_memory(folder, plan, monkeypatch):
    alive, most = [], [0]
    real = manifest.centred

    def watched(picture, size):
        result = real(picture, size)
        alive.append(weakref.ref(result))
        gc.collect()
        most[0] = max(most[0], sum(one() is not None for one in alive))
        return result

    monkeypatch.setattr(manifest, "centred", watched)
    judge({"mean colour": CLASSICAL["mean colour"]}, plan, *places(folder), **QUIET)
    assert len(alive) == 6 and most[0] <= 2  # the one at hand, and the one before it


def test_a_networks_fill_keeps_known_pixels(folder, plan):
    fill = network_fill(Generator(width=4, n_blocks=1, rates=(1, 2)))
    (case, *_) = manifest.cases(plan, *places(folder), size=64, bucket=BUCKETS[1])
    filled = fill(case.picture_u8, case.mask)
    assert torch.equal(filled[:, case.mask[0] == 0], case.picture_u8[:, case.mask[0] == 0])
    assert not torch.equal(filled, case.picture_u8)
