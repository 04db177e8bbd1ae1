"""LPIPS against its formula, on a backbone of random weights; and that nobody but a test gets such weights."""

import hashlib
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
from torchvision import models

from aotlib import lpips
from aotlib.weights_files import WEIGHTS_VARIABLE, Unavailable

TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}  # torchvision's numbers of the last ReLU of each block


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """AlexNet with random weights, under a name that its SHA-256 fits."""
    torch.manual_seed(0)
    with torch.device("meta"):
        state = models.alexnet(weights=None).state_dict()
    state = {key: torch.zeros(value.shape) for key, value in state.items()}
    for key in [key for key in state if key.startswith("features")]:
        state[key] = torch.randn(state[key].shape) / state[key][0].numel() ** 0.5
    path = tmp_path_factory.mktemp("weights") / "new.pth"
    torch.save(state, path)
    return path.rename(path.with_name(f"alexnet-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


@pytest.fixture
def backbone(file, tmp_path, monkeypatch):
    """Its file where weights are looked for; the linear weights, of torchmetrics, are the true ones."""
    monkeypatch.setitem(lpips.BACKBONES, "alex", ("alexnet", f"https://example.org/{file.name}"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(file))
    return torch.load(file, map_location="cpu", weights_only=True)


def two(n=3, size=64):
    rng = np.random.default_rng(0)
    return (torch.from_numpy(rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8)) for _ in range(2))


def by_its_formula(state, one, other):
    """Zhang and others (2018), equation 1, with the constants of their version 0.1."""
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
    file = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    linear = [weight for _, weight in sorted(torch.load(file, map_location="cpu", weights_only=True).items())]
    with torch.device("meta"):
        net = models.alexnet(weights=None)
    net.load_state_dict(state, assign=True)
    x = [(picture / 127.5 - 1 - shift) / scale for picture in (one, other)]
    total = 0
    for place, layer in enumerate(net.eval().features[:12]):
        x = [layer(activation) for activation in x]
        if place in TAPS["alex"]:
            x_hat = [activation / activation.square().sum(1, keepdim=True).sqrt().clamp(min=1e-4) for activation in x]
            weight = linear[TAPS["alex"].index(place)]
            assert (weight >= 0).all()
            total = total + ((x_hat[0] - x_hat[1]).square() * weight).sum(1).mean((1, 2))
    return total


@torch.no_grad()
def test_lpips_is_its_formula(backbone):
    one, other = two()
    found = lpips.load_lpips()(one, other)
    assert found.shape == (3,) and found.dtype == torch.float64
    torch.testing.assert_close(found, by_its_formula(backbone, one, other).double(), rtol=1e-4, atol=1e-6)


def test_lpips_is_a_distance_of_pictures_one_by_one(backbone):
    one, other = two()
    distance = lpips.load_lpips("alex")
    assert distance(one, one).tolist() == [0, 0, 0]
    together = distance(one, other)
    assert (together > 0).all()
    torch.testing.assert_close(together, distance(other, one))
    torch.testing.assert_close(together[1:2], distance(one[1:2], other[1:2]), rtol=1e-5, atol=0)
    nearer = ((one.int() * 3 + other.int()) // 4).to(torch.uint8)
    assert (distance(nearer, one) < together).all()
    assert torch.equal(together, lpips.load_lpips("alex")(one, other))  # nothing in it is drawn


def test_without_the_true_weights_there_is_no_lpips(backbone, tmp_path, monkeypatch):
    name = lpips.BACKBONES["alex"][1].rsplit("/", 1)[1]
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(Unavailable, match="is damaged or another file"):
        lpips.load_lpips()
    (tmp_path / name).unlink()
    with pytest.raises(Unavailable, match=r"alexnet-\w+.pth is not here; set AOTLIB_WEIGHTS .*--download"):
        lpips.load_lpips()
    with pytest.raises(Unavailable, match="vgg16-397923af.pth is not here"):
        lpips.load_lpips("vgg")

    def unreachable(*_, **__):
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(Unavailable, match="could not be downloaded .no connection"):
        lpips.load_lpips("squeeze", download=True)
    with pytest.raises(ValueError, match="net must be one of 'alex', 'vgg', 'squeeze', got 'alexnet'; did you mean"):
        lpips.load_lpips("alexnet")


def test_another_torchmetrics_gives_a_reason_and_never_other_weights(backbone, monkeypatch):
    library = importlib.import_module(lpips.MODULE)
    told = rf"torchmetrics {torchmetrics.__version__} makes LPIPS in another way .*{{}}.*; install the version"
    for name in (lpips.NETWORK, lpips.BACKBONE):
        with monkeypatch.context() as changed:
            changed.delattr(library, name)
            with pytest.raises(Unavailable, match=told.format(f"has no {name}")):
                lpips.load_lpips()
    with monkeypatch.context() as changed:
        changed.setattr(library, lpips.NETWORK, lambda model: None)
        with pytest.raises(Unavailable, match=told.format("unexpected keyword argument 'net'")):
            lpips.load_lpips()
        changed.setattr(library, lpips.NETWORK, lambda net: torch.nn.Linear(1, 1))
        with pytest.raises(Unavailable, match=told.format(f"does not ask {lpips.BACKBONE} for the weights")):
            lpips.load_lpips()
        changed.setitem(sys.modules, lpips.MODULE, None)  # an import of it fails
        with pytest.raises(Unavailable, match=told.format("has no")):
            lpips.load_lpips()


def test_lpips_refuses_unfit_pictures_in_words(backbone):
    distance = lpips.load_lpips()
    one, other = two(size=31)
    with pytest.raises(ValueError, match=r"\(31, 31\) px are too small for LPIPS: 32 px at least"):
        distance(one, other)
    with pytest.raises(TypeError, match="result_u8 is torch.float32: pass uint8"):
        distance(one.float(), other)
    with pytest.raises(ValueError, match=r"truth_u8 is \(3, 31, 31\), not \(B, 3, H, W\)"):
        distance(one, other[0])
    with pytest.raises(ValueError, match=r"\(3, 3, 31, 31\) but truth_u8 is \(2, 3, 31, 31\)"):
        distance(one, other[:2])
    one, other = two(size=32)
    assert distance(one, other).shape == (3,)
