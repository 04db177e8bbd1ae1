"""The Fréchet distance against pytorch-fid's own function and closed forms; its network; and the classical fills."""

from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from pytorch_fid import fid_score, inception
from scipy import linalg
from torchvision.models import inception_v3

from aotlib import fid
from aotlib.classical import CLASSICAL
from aotlib.features import WEIGHTS_VARIABLE


def sample(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


@pytest.mark.parametrize("n, d", [(200, 5), (300, 64), (50, 64)])  # the last has singular covariances
def test_distance_is_pytorch_fids(n, d):
    one, two = sample(n, d, 1), sample(n + 7, d, 2)
    moments = [f(x) for x in (one, two) for f in (lambda x: x.mean(0), lambda x: np.cov(x, rowvar=False))]
    expected = theirs(*moments)
    assert fid.frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)
    assert fid.frechet_distance(two, one) == pytest.approx(expected, rel=1e-6)


def theirs(*moments):
    """pytorch-fid's function; it asks SciPy for a second return value that newer versions no longer give."""
    with mock.patch("scipy.linalg.sqrtm", lambda a, disp=True, right=linalg.sqrtm: (right(a), 0)):
        return fid_score.calculate_frechet_distance(*moments)


def test_distance_has_its_closed_forms():
    one = sample(100, 8, 0)
    assert abs(fid.frechet_distance(one, one)) < 1e-9 * np.trace(np.cov(one, rowvar=False))
    assert fid.frechet_distance(one, one + 2) == pytest.approx(8 * 4)
    rng = np.random.default_rng(0)
    white = np.linalg.qr(rng.normal(size=(100, 4)) - rng.normal(size=(100, 4)).mean(0))[0]
    white -= white.mean(0)
    white = np.linalg.qr(white)[0] * np.sqrt(99)  # mean 0, covariance the identity
    white -= white.mean(0)
    scale = np.array([1.0, 2.0, 3.0, 4.0])
    assert fid.frechet_distance(white, white * scale) == pytest.approx(((scale - 1) ** 2).sum(), rel=1e-6)


@pytest.fixture
def partial(tmp_path, monkeypatch):
    """A file like the published one: random tensors, the last layers left out, half precision."""
    torch.manual_seed(0)
    whole = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False).state_dict()
    kept = {key: value.half() for key, value in whole.items() if not key.startswith(fid.LATER_LAYERS)}
    torch.save(kept, tmp_path / fid.PARTIAL_FILE)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    return kept


def test_the_network_is_pytorch_fids_with_the_weights_of_the_file(partial):
    network = fid.load_inception(768)
    assert isinstance(network, inception.InceptionV3)
    expected = partial["Conv2d_1a_3x3.conv.weight"].float()
    assert torch.equal(network.blocks[0][0].conv.weight, expected)
    pictures = torch.randint(0, 256, (3, 3, 32, 40), dtype=torch.uint8)
    found = fid.inception_features(network, pictures)
    direct = network(pictures.float() / 255)[0].mean((2, 3))
    assert found.shape == (3, 768) and found.dtype == np.float64
    np.testing.assert_allclose(found, direct.numpy(), rtol=1e-4, atol=1e-5)


def test_a_file_that_lacks_a_needed_layer_is_refused(partial, tmp_path):
    torch.save({k: v for k, v in partial.items() if "Mixed_6a" not in k}, tmp_path / fid.PARTIAL_FILE)
    with pytest.raises(ValueError, match="Mixed_6a.* is missing or unknown"):
        fid.load_inception(768)
    with pytest.raises(ValueError, match="64, 192, 768, 2048 dimensions, not 100"):
        fid.load_inception(100)


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
