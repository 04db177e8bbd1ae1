"""The fills that need no training: they fill holes, and holes only."""

import cv2
import numpy as np
import pytest
import torch

from aotlib.classical import CLASSICAL, biharmonic

FILLS = CLASSICAL | {"biharmonic": biharmonic}


@pytest.mark.parametrize("name", FILLS)
def test_classical_fills_keep_known_pixels_and_fill_holes(name):
    rng = np.random.default_rng(0)
    image = torch.from_numpy(cv2.GaussianBlur(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), (0, 0), 3))
    image = image.permute(2, 0, 1).contiguous()
    mask = torch.zeros(1, 40, 50)
    mask[:, 10:20, 15:30] = 1
    spoilt = torch.where(mask > 0, 255, image).to(torch.uint8)
    filled = FILLS[name](spoilt, mask)
    assert filled.dtype == torch.uint8 and filled.shape == image.shape
    assert torch.equal(filled[:, mask[0] == 0], image[:, mask[0] == 0])
    error = (filled.float() - image.float()).abs()[:, mask[0] > 0].mean()
    assert error < (spoilt.float() - image.float()).abs()[:, mask[0] > 0].mean() / 3
    flat = torch.full((3, 24, 24), 77, dtype=torch.uint8)
    hole = torch.zeros(1, 24, 24)
    hole[:, 8:12, 8:12] = 1
    assert (FILLS[name](flat, hole).int() - 77).abs().max() <= 2
    everything = FILLS[name](flat, torch.ones(1, 24, 24))
    assert everything.shape == flat.shape


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_biharmonic_goes_on_with_the_slopes_of_each_channel(channel):
    """A plane is biharmonic, so it comes back to the level; a mean of neighbours would flatten it at the border."""
    y, x = np.mgrid[0:32, 0:40].astype(float)
    image = np.full((3, 32, 40), 100.0)
    image[channel] = 20 + 3 * y + 2 * x
    image = torch.from_numpy(image.round().astype(np.uint8))
    mask = torch.zeros(1, 32, 40)
    mask[:, 8:24, 10:30] = 1
    mask[:, 2:4, 35:38] = 1
    for spoilt in (0, 255):
        filled = biharmonic(torch.where(mask > 0, spoilt, image).to(torch.uint8), mask)
        assert (filled.int() - image.int()).abs().max() <= 1
    assert torch.equal(biharmonic(image, torch.zeros(1, 32, 40)), image)
