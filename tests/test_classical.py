"""The fills that need no training: they fill holes, and holes only."""

import cv2
import numpy as np
import pytest
import torch

from aotlib.classical import CLASSICAL


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_fills_keep_known_pixels_and_fill_holes(name):
    rng = np.random.default_rng(0)
    image = torch.from_numpy(cv2.GaussianBlur(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8), (0, 0), 3))
    image = image.permute(2, 0, 1).contiguous()
    mask = torch.zeros(1, 40, 50)
    mask[:, 10:20, 15:30] = 1
    spoilt = torch.where(mask > 0, 255, image).to(torch.uint8)
    filled = CLASSICAL[name](spoilt, mask)
    assert filled.dtype == torch.uint8 and filled.shape == image.shape
    assert torch.equal(filled[:, mask[0] == 0], image[:, mask[0] == 0])
    error = (filled.float() - image.float()).abs()[:, mask[0] > 0].mean()
    assert error < (spoilt.float() - image.float()).abs()[:, mask[0] > 0].mean() / 3
    flat = torch.full((3, 24, 24), 77, dtype=torch.uint8)
    hole = torch.zeros(1, 24, 24)
    hole[:, 8:12, 8:12] = 1
    assert (CLASSICAL[name](flat, hole).int() - 77).abs().max() <= 2
    everything = CLASSICAL[name](flat, torch.ones(1, 24, 24))
    assert everything.shape == flat.shape
