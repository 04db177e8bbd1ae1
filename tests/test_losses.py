"""Every formula of the losses against a few lines of NumPy, and the feature networks' sources."""

import hashlib
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aotlib import features as feature_module
from aotlib.features import STYLE_TAPS, TAPS, gram, load_features, vgg_layers
from aotlib.losses import (
    DESIGNS,
    cell_mask,
    discriminator_loss,
    gaussian_window,
    generator_loss,
    hard_mask,
    l1,
    perceptual,
    soft_mask,
    style,
    targets,
)
from aotlib.model import Discriminator
from aotlib.weights_files import WEIGHTS_VARIABLE, Unavailable


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def mask():
    m = torch.zeros(2, 1, 96, 112)
    m[0, :, 30:70, 40:80] = 1
    m[1, :, :20, 60:] = 1
    return m


def test_l1():
    a, b = rand(2, 3, 8, 8), rand(2, 3, 8, 8, seed=1)
    assert l1(a, b).item() == pytest.approx(np.abs(a.numpy() - b.numpy()).mean(), rel=1e-6)


def test_perceptual_and_style():
    fake = {"p": rand(2, 3, 4, 5), "q": rand(2, 6, 2, 3, seed=1)}
    real = {"p": rand(2, 3, 4, 5, seed=2), "q": rand(2, 6, 2, 3, seed=3)}
    expected_per = sum(np.abs(fake[t].numpy() - real[t].numpy()).mean() for t in fake)
    assert perceptual(fake, real, fake).item() == pytest.approx(expected_per, rel=1e-6)

    def numpy_gram(feature):
        b, c, h, w = feature.shape
        flat = feature.numpy().reshape(b, c, h * w)
        return np.stack([f @ f.T for f in flat]) / (c * h * w)

    each = [np.abs(numpy_gram(fake[t]) - numpy_gram(real[t])).mean() for t in fake]
    assert style(fake, real, fake).item() == pytest.approx(np.mean(each), rel=1e-5)
    assert style(fake, real, fake, "released").item() == pytest.approx(np.sum(each), rel=1e-5)


def test_gram_survives_amplitudes_where_half_precision_fails():
    loud = torch.full((1, 4, 64, 64), 300.0)  # 300^2 * 4096 is far above the 65,504 of float16
    assert gram(loud.half()).isfinite().all()
    torch.testing.assert_close(gram(loud.half()), gram(loud))
    flat = loud.half().reshape(1, 4, -1)
    assert not torch.bmm(flat, flat.transpose(1, 2)).isfinite().all()


def numpy_soft(map_, size, sigma):
    """Direct two-dimensional sum over the 70 x 70 window around each patch centre, the border repeated."""
    height, width = map_.shape
    at = np.arange(size) - (size - 1) / 2
    window = np.exp(-0.5 * (at / sigma) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    padded = np.pad(map_, size, mode="edge")
    out = np.zeros((height // 8 - 2, width // 8 - 2))
    for i, j in np.ndindex(*out.shape):
        top, left = (int(8 * k + 11.5 - (size - 1) / 2) + size for k in (i, j))
        out[i, j] = (padded[top : top + size, left : left + size] * window).sum()
    return out


@pytest.mark.parametrize("size, sigma", [(70, 10.0), (24, 3.0), (8, 2.0)])
def test_soft_mask_is_a_gaussian_over_each_patch(mask, size, sigma):
    ours = soft_mask(mask.double(), size=size, sigma=sigma)
    for m, o in zip(mask, ours):
        np.testing.assert_allclose(o[0], numpy_soft(m[0].double().numpy(), size, sigma), atol=1e-12)


def test_soft_mask_keeps_a_constant_constant_up_to_the_frame():
    torch.testing.assert_close(soft_mask(torch.ones(1, 1, 64, 72)), torch.ones(1, 1, 6, 7))


@pytest.mark.parametrize("side", [24, 63, 64, 70, 100, 257])
def test_targets_have_the_size_of_the_discriminators_output(side):
    scores = Discriminator(width=1)(torch.zeros(1, 3, side, side + 9))
    for design in DESIGNS[:3]:
        assert targets(torch.zeros(1, 1, side, side + 9), design)[1].shape == scores.shape
    assert cell_mask(torch.zeros(1, 1, side, side + 9)).shape == scores.shape


def test_hard_mask_is_the_majority_of_the_central_cell():
    m = torch.zeros(1, 1, 40, 40)
    m[..., 8:16, 8:12] = 1  # exactly half of the first cell: a tie goes to 0
    assert hard_mask(m)[0, 0, 0, 0] == 0
    m[..., 8, 12] = 1
    assert hard_mask(m)[0, 0, 0, 0] == 1
    assert hard_mask(m).sum() == 1


def test_targets_of_each_design(mask):
    known = 1 - mask
    soft, hard = soft_mask(known), hard_mask(known)
    for design, fake in [("sm_patchgan", soft), ("hm_patchgan", hard), ("patchgan", torch.zeros_like(hard))]:
        on_real, on_fake = targets(mask, design)
        assert (on_real == 1).all()
        torch.testing.assert_close(on_fake, fake)
    assert ((soft > 0.05) & (soft < 0.95)).any() and set(hard.unique().tolist()) == {0.0, 1.0}
    on_real, on_fake = targets(mask, "released")
    assert (on_real == 0).all() and on_fake.shape == mask.shape
    assert on_fake[0, 0, 50, 60] > 0.9 and on_fake[0, 0, 5, 5] < 1e-3  # 1 says hole


def test_released_soft_mask_darkens_at_the_frame():
    """Zero padding of a 71-tap Gaussian of sigma 10: 0.520 at an edge, 0.270 at a corner."""
    soft = targets(torch.ones(1, 1, 200, 200), "released")[1][0, 0]
    assert soft[100, 100].item() == pytest.approx(1, abs=1e-5)
    assert soft[0, 100].item() == pytest.approx(0.520, abs=5e-4)
    assert soft[0, 0].item() == pytest.approx(0.270, abs=5e-4)


def test_losses_of_the_paper_designs(mask):
    real, fake = rand(2, 1, 10, 12), rand(2, 1, 10, 12, seed=1)
    for design in ("sm_patchgan", "hm_patchgan", "patchgan"):
        target = targets(mask, design)[1].numpy()
        expected = ((fake.numpy() - target) ** 2).mean() + ((real.numpy() - 1) ** 2).mean()
        assert discriminator_loss(real, fake, mask, design).item() == pytest.approx(expected, rel=1e-5)
    m = mask.numpy().reshape(2, 1, 12, 8, 14, 8).mean((3, 5))[:, :, 1:-1, 1:-1]
    expected = ((fake.numpy() - 1) ** 2 * m).mean()
    for design in ("sm_patchgan", "hm_patchgan"):
        assert generator_loss(fake, mask, design).item() == pytest.approx(expected, rel=1e-5)
    assert generator_loss(fake, mask, "patchgan").item() == pytest.approx(((fake.numpy() - 1) ** 2).mean(), rel=1e-5)


def test_losses_of_the_released_design(mask):
    real, fake = rand(2, 1, 10, 12), rand(2, 1, 10, 12, seed=1)
    up = {"size": mask.shape[-2:], "mode": "bilinear", "align_corners": True}
    soft = targets(mask, "released")[1]
    expected = (F.interpolate(fake, **up) - soft).square().mean() + F.interpolate(real, **up).square().mean()
    torch.testing.assert_close(discriminator_loss(real, fake, mask, "released"), expected)
    torch.testing.assert_close(generator_loss(fake, mask, "released"), (F.interpolate(fake, **up) - 1).square().mean())


def test_only_the_paper_pulls_generator_and_discriminator_apart(mask):
    """In the hole the paper's D wants 0 where G wants 1; the released D wants 1 there as well."""
    centre = {}
    for design in ("sm_patchgan", "released"):
        fake = torch.full((2, 1, 10, 12), 0.5, requires_grad=True)
        (for_g,) = torch.autograd.grad(generator_loss(fake, mask, design), fake)
        (for_d,) = torch.autograd.grad(discriminator_loss(torch.ones_like(fake), fake, mask, design), fake)
        centre[design] = (for_g[0, 0, 4, 5] * for_d[0, 0, 4, 5]).item()
    assert centre["sm_patchgan"] < 0 < centre["released"]


def test_generator_loss_ignores_known_patches_and_an_empty_hole(mask):
    fake = torch.zeros(2, 1, 10, 12, requires_grad=True)
    (gradient,) = torch.autograd.grad(generator_loss(fake, mask), fake)
    assert (gradient[cell_mask(mask) == 0] == 0).all() and (gradient[cell_mask(mask) == 1] < 0).all()
    assert generator_loss(fake, torch.zeros_like(mask)).item() == 0  # the released weighting gives NaN here


def test_unknown_design_is_refused(mask):
    with pytest.raises(ValueError, match="'smgan'"):
        generator_loss(torch.zeros(2, 1, 10, 12), mask, "smgan")


def test_window_must_be_even():
    assert gaussian_window().sum().item() == pytest.approx(1)
    with pytest.raises(ValueError, match="even"):
        soft_mask(torch.ones(1, 1, 64, 64), size=71)


# --- feature networks -----------------------------------------------------------------------------------------------


def test_taps_stand_behind_the_relus_they_name():
    layers = vgg_layers("relu5_2")
    convs_before = {}
    block, n = 1, 0
    for position, layer in enumerate(layers):
        if isinstance(layer, torch.nn.MaxPool2d):
            block, n = block + 1, 0
        elif isinstance(layer, torch.nn.Conv2d):
            n += 1
        else:
            convs_before[position] = f"relu{block}_{n}"
    assert all(convs_before[position] == tap for tap, position in TAPS.items())


def test_layers_are_torchvisions(monkeypatch):
    from torchvision.models import vgg19

    with torch.device("meta"):
        theirs = vgg19().features
        ours = vgg_layers("relu5_2")
    assert [type(a) for a in ours] == [type(b) for b in theirs[: len(ours)]]
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs[: len(ours)].state_dict().items()
    }


def test_random_features_depend_on_the_seed_and_keep_their_size():
    network = load_features("random", seed=3)
    image = rand(1, 3, 48, 48) * 2 - 1
    found = network(image)
    assert network.name == "random" and set(found) == {"relu1_1", "relu2_1", "relu3_1", "relu2_2", "relu3_4"}
    assert torch.equal(found["relu3_4"], load_features("random", seed=3)(image)["relu3_4"])
    assert not torch.equal(found["relu3_4"], load_features("random", seed=4)(image)["relu3_4"])
    assert all(0.1 < value.mean() < 3 for value in found.values())
    assert not any(p.requires_grad for p in network.parameters())
    narrow = load_features("random", width=16)
    assert narrow.name == "random, 16 wide" and narrow(image)["relu3_4"].shape[1] == 64


def test_a_feature_pass_stops_at_the_deepest_tap_asked_for():
    network = load_features("random")
    network.layers[9] = torch.nn.Identity()  # a layer behind relu2_2
    network.layers[9].forward = lambda x: pytest.fail("went on behind the last tap")
    assert list(network(rand(1, 3, 16, 16), ["relu2_2"])) == ["relu2_2"]


def test_weights_are_found_through_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    assert load_features("auto").name == "random"
    with pytest.raises(Unavailable, match=f"conv3_4_norm1.pth is not here; set {WEIGHTS_VARIABLE} .*features='random'"):
        load_features("vgg19_conv3")
    state = {f"features.{k}": v for k, v in vgg_layers("relu3_4").state_dict().items()}
    torch.save(state | {"mean_activation": torch.ones(8)}, tmp_path / feature_module.CONV3_FILE)
    for given in (tmp_path, tmp_path / feature_module.CONV3_FILE):
        monkeypatch.setenv(WEIGHTS_VARIABLE, str(given))
        network = load_features("auto")
        assert network.name == "vgg19_conv3" and network.style_taps == ("relu2_2", "relu3_4")
        assert torch.equal(network.layers[0].weight, state["features.0.weight"])
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_features("auto")


def kept(state, folder, monkeypatch):
    """`state` as VGG19's whole file in `folder`, its name with the first digits of its SHA-256."""
    torch.save(state, folder / "new.pth")
    name = f"vgg19-{hashlib.sha256((folder / 'new.pth').read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setattr(feature_module, "FULL_FILE", name)
    return (folder / "new.pth").rename(folder / name)


def test_the_whole_network_is_taken_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    state = {f"features.{k}": v for k, v in vgg_layers("relu5_2").state_dict().items()}
    file = kept(state, tmp_path, monkeypatch)
    network = load_features("auto")
    assert network.name == "vgg19" and network.style_taps == STYLE_TAPS
    with file.open("ab") as opened:
        opened.write(b" ")
    with pytest.raises(Unavailable, match="is damaged or another file"):
        load_features("vgg19")
    kept({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match="lacks 27 tensors"):
        load_features("vgg19")


def test_a_machine_without_a_connection_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise URLError("no connection")

    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(
        Unavailable, match="vgg19-dcbb9e9d.pth could not be downloaded .*no connection.*set AOTLIB_W.*'random'"
    ):
        load_features("vgg19")
