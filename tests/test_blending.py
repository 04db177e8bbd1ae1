"""Poisson blending against closed forms and against plain relaxation in NumPy."""

import numpy as np
import pytest
import torch

from aotlib.blending import blend, membrane


def hole(height, width, *boxes):
    mask = torch.zeros(1, height, width)
    for top, bottom, left, right in boxes:
        mask[:, top:bottom, left:right] = 1
    return mask


def test_a_harmonic_surface_is_continued_exactly():
    y, x = torch.meshgrid(torch.arange(20.0).double(), torch.arange(24.0).double(), indexing="ij")
    surfaces = torch.stack([torch.full_like(x, 0.3), 2 * x - y, x * y, x**2 - y**2])  # harmonic on the grid, too
    mask = hole(20, 24, (3, 9, 4, 11), (8, 16, 9, 20))
    spoilt = torch.where(mask > 0, 777.0, surfaces)
    torch.testing.assert_close(membrane(spoilt, mask), surfaces, rtol=1e-9, atol=1e-9)


def test_it_is_what_relaxation_comes_to_also_at_the_frame():
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(2, 12, 15)), hole(12, 15, (0, 5, 3, 9), (6, 12, 10, 15))
    inside = mask[0].numpy() > 0
    expected = np.where(inside, 0, values)
    for _ in range(4000):
        padded = np.pad(expected, ((0, 0), (1, 1), (1, 1)))
        there = np.pad(np.ones_like(expected), ((0, 0), (1, 1), (1, 1)))
        total, count = (p[:, 1:-1, 2:] + p[:, 1:-1, :-2] + p[:, 2:, 1:-1] + p[:, :-2, 1:-1] for p in (padded, there))
        expected = np.where(inside, total / count, values)
    np.testing.assert_allclose(membrane(torch.from_numpy(values), mask), expected, atol=1e-9)
    assert expected[:, inside].max() <= values[:, ~inside].max()  # the maximum principle


def test_a_prediction_that_is_off_by_a_constant_is_put_right():
    truth = torch.rand(2, 3, 16, 18, generator=torch.Generator().manual_seed(0)) - 0.5
    masks = torch.stack([hole(16, 18, (4, 10, 0, 7)), hole(16, 18, (2, 5, 3, 6), (9, 16, 8, 18))])
    shift = torch.tensor([0.2, -0.1, 0.05]).view(1, 3, 1, 1)
    image = torch.where(masks > 0, 0, truth)
    found = blend(truth + shift, image, masks)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-6)
    known = masks.expand_as(truth) == 0
    assert torch.equal(found[known], truth[known]) and found.dtype == torch.float32
    assert blend(truth * 9, image, masks).abs().max() <= 1


@pytest.mark.parametrize("share", [0, 1])
def test_no_hole_and_nothing_but_hole(share):
    values, mask = torch.rand(3, 4, 5), torch.full((1, 4, 5), float(share))
    assert torch.equal(membrane(values, mask), values.double() * (1 - share))
    image, prediction = torch.rand(1, 3, 4, 5), torch.rand(1, 3, 4, 5)
    assert torch.equal(blend(prediction, image, mask[None]), prediction if share else image)
