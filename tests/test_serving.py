"""Serving other sizes: what has to be equal is equal to the bit, and what is under the hole is never read."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT
from torch import nn

from aotlib import serving
from aotlib.evaluate import network_fill
from aotlib.methods import METHODS, n_parameters
from aotlib.model import Generator
from aotlib.padding import at_size, resample
from aotlib.rates import receptive_field, scaled_rates, spread_rates
from aotlib.serving import WAYS, Serving, lowest, trial_hole
from aotlib.weights import save_weights

OTHER = [way for way in WAYS if way != "fixed"]
TRAINED = 64


@pytest.fixture(scope="module")
def generator():
    return Generator(4, 2, rates=(1, 2, 4, 8), init="he", seed=1).eval()


def case(*sides, n=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    image = torch.rand(n, 3, *sides, generator=rng) * 2 - 1
    mask = torch.zeros(n, 1, *sides)
    mask[..., sides[0] // 4 : sides[0] // 2, sides[1] // 3 : sides[1] * 2 // 3] = 1
    return image, mask


@pytest.mark.parametrize("sides", [(36, 36), (64, 64), (128, 72)])
@pytest.mark.parametrize("way", ["fixed", "auto"])
def test_fixed_is_the_generator(generator, sides, way):
    served, given = Serving(generator, TRAINED, way), case(*sides)
    with torch.no_grad():
        assert torch.equal(served(*given), generator(*given))
    assert (served.multiple, served.smallest) == (generator.multiple, generator.smallest)


@pytest.mark.parametrize("way", OTHER)
def test_at_the_trained_size_every_way_is_the_generator_and_elsewhere_none(generator, way):
    served = Serving(generator, TRAINED, way)
    with torch.no_grad():
        for sides in ((64, 64), (64, 96), (100, 64)):
            assert torch.equal(served(*case(*sides, n=1)), generator(*case(*sides, n=1)))
        if way != "chosen":  # which may choose the rates as trained
            assert not torch.equal(served(*case(128, 128)), generator(*case(128, 128)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sides", [(40, 52), (128, 128)])
def test_a_prediction_has_the_size_and_range_of_its_picture(generator, way, sides):
    with torch.no_grad():
        found = Serving(generator, TRAINED, way)(*case(*sides))
    assert found.shape == (2, 3, *sides) and found.abs().max() <= 1 and found.std() > 0


def test_weights_are_shared_not_copied(generator):
    served = Serving(generator, TRAINED, "scaled")
    other = served.network((2, 4, 8, 16))
    pairs = list(zip(generator.parameters(), other.parameters(), strict=True))
    assert all(ours.data_ptr() == theirs.data_ptr() for ours, theirs in pairs)
    assert n_parameters(served) == n_parameters(generator)
    assert [conv.dilation[0] for conv in other.blocks[0].branches] == [2, 4, 8, 16]
    assert served.network((2, 4, 8, 16)) is other and served.network((1, 2, 4, 8)) is generator


def test_what_happens_to_the_weights_happens_in_every_way():
    own = Generator(4, 1, init="he", seed=2).eval()
    served, given = Serving(own, TRAINED, "scaled"), case(128, 128, n=1)
    with torch.no_grad():
        before = served(*given)
        own.decoder[-1].bias.add_(0.1)
        changed = served(*given)
        assert not torch.equal(changed, before)
        served.double()  # tensors anew: the network of before is another's
        assert torch.allclose(served(*(part.double() for part in given)).float(), changed, atol=1e-5)


@pytest.mark.parametrize("rates", [(1,), (1, 2), (3, 1)])
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_receptive_field_is_that_of_the_gradient(n_blocks, rates):
    network = Generator(2, n_blocks, rates=rates).double()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0 if parameter.ndim == 1 else 1 / parameter[0].numel())  # no path is cut
    image = torch.ones(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    output = network.decode(network.blocks_output(network.encode(image, torch.zeros_like(image[:, :1]))))
    fields = []
    for pixel in (80, 81):
        (gradient,) = torch.autograd.grad(output[0, 0, pixel, 80], image, retain_graph=True)
        rows = gradient[0].abs().sum((0, 2)).nonzero()
        fields.append((rows.max() - rows.min() + 1).item())
    assert min(fields) == receptive_field(n_blocks, rates) and max(fields) - min(fields) in (0, 4)


@pytest.mark.parametrize("n_blocks", [4, 8])
@pytest.mark.parametrize("side", [256, 512, 1024, 4096])
def test_spread_keeps_the_share_that_the_receptive_field_covers(side, n_blocks):
    rates = (1, 2, 4, 8)
    wanted, rounding = receptive_field(n_blocks, rates) / 192, 4 * n_blocks / side  # half a step of the largest rate
    found = spread_rates(rates, 192, side, n_blocks)
    assert abs(receptive_field(n_blocks, found) / side - wanted) <= rounding + 1e-9
    assert found[0] == 1 and list(found) == sorted(set(found))
    steps = np.diff(np.log(found))
    assert steps.max() - steps.min() < math.log((found[1] + 0.5) / (found[1] - 0.5)) * 2  # even, but for rounding
    if side >= 512:  # multiplied rates keep too little: the rest of the network does not grow along
        scaled = scaled_rates(rates, 192, side)
        assert wanted - receptive_field(n_blocks, scaled) / side > rounding


def test_rates_keep_their_order_and_fit_the_picture():
    for side in range(8, 300, 4):
        for found in (scaled_rates((8, 1, 2, 1), 192, side), spread_rates((8, 1, 2, 1), 192, side, 4)):
            assert found[1] == found[3] and found[1] <= found[2] <= found[0] <= max(side // 4 - 1, 1)
            if side // 4 - 1 >= 3:
                assert found[1] < found[2] < found[0]
            x = torch.zeros(1, 1, side // 4, side // 4)
            F.pad(x, (max(found),) * 4, mode="reflect")  # an error where a rate is too large
    assert spread_rates((8,), 64, 128, 4)[0] > 8 and spread_rates((3, 3), 64, 64, 4) == (3, 3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sides", [(40, 40), (100, 132), (128, 128)])
def test_what_is_under_the_hole_is_never_read(generator, way, sides):
    image, mask = case(*sides)
    other = torch.where(mask > 0, -image, image)
    served = Serving(generator, TRAINED, way)
    with torch.no_grad():
        assert torch.equal(served(image, mask), served(other, mask))


def test_resizing_that_lets_hidden_colours_run_out_would_be_caught():
    image, mask = case(100, 100)
    other = torch.where(mask > 0, -image, image)

    def seen(picture, hole):
        return picture * (1 - hole)

    def careless(picture, hole):
        small = [F.interpolate(part, (64, 64), mode="bilinear") for part in (picture, hole)]
        return seen(small[0], small[1].round())

    assert not torch.equal(careless(image, mask), careless(other, mask))
    for size in (64, 128):
        assert torch.equal(at_size(seen, image, mask, size), at_size(seen, other, mask, size))


@pytest.mark.parametrize("sides, size", [((96, 96), 32), ((100, 140), 64), ((40, 40), 64)])
def test_a_pixel_of_the_copy_is_known_where_all_that_it_is_made_of_is(sides, size):
    _, mask = case(*sides, n=1)
    found = []

    def network(image, hole):
        found.append(hole)
        return image

    at_size(network, torch.zeros(1, 3, *sides), mask, size)
    (hole,) = found
    assert set(hole.unique().tolist()) == {0, 1} and min(hole.shape[-2:]) == size
    for y, x in np.ndindex(*hole.shape[-2:]):
        (top, bottom), (left, right) = (bins(at, *two) for at, two in zip((y, x), zip(hole.shape[-2:], sides)))
        assert hole[0, 0, y, x] == mask[0, 0, top:bottom, left:right].max(), (y, x)


def bins(at, small, large):
    """From which of `large` pixels the one at `at` of `small` is made."""
    if small < large:
        return at * large // small, -(-(at + 1) * large // small)
    centre = max((at + 0.5) * large / small - 0.5, 0)
    return int(centre), min(int(centre) + 1 + (centre > int(centre)), large)


def test_resized_pictures_keep_means_and_planes():
    ramp = torch.linspace(-1, 1, 96).expand(1, 3, 96, 96)
    small = resample(ramp, (32, 32))
    assert torch.allclose(small, ramp[..., 1::3, 1::3], atol=1e-6)  # the mean of three in a row is the middle one
    back = resample(small, (96, 96))
    assert torch.allclose(back[..., 3:-3], ramp[..., 3:-3], atol=1e-5)


def constant(value):
    return lambda image, mask: torch.full_like(image, value)


def test_the_network_that_is_right_where_it_was_tried_is_taken():
    image, mask = torch.full((1, 3, 32, 32), 0.5), case(32, 32, n=1)[1]

    def copies(picture, hole):  # right wherever it can see, and nowhere else
        return picture * (1 - hole)

    assert lowest([constant(-0.5), constant(0.4), constant(0.7)], image, mask, seed=0) == 1
    assert lowest([copies, constant(0.4)], image, mask, seed=0) == 1
    everywhere = [((network(image, mask) - image).abs() * (1 - mask)).sum() for network in (copies, constant(0.4))]
    assert everywhere[0] < everywhere[1], "an error over all known pixels would have taken the copy"


def test_of_equal_networks_and_without_a_trial_the_first_is_taken():
    image, mask = torch.full((1, 3, 32, 32), 0.5), case(32, 32, n=1)[1]
    assert lowest([constant(0.4), constant(0.4)], image, mask, seed=0) == 0
    for nothing in (torch.zeros_like(mask), torch.ones_like(mask)):
        assert lowest([constant(-1.0), constant(0.5)], image, nothing, seed=0) == 0


@pytest.mark.parametrize("best", ["fixed", "scaled", "spread"])
def test_chosen_serves_each_picture_with_the_rates_that_were_best_on_it(generator, monkeypatch, best):
    served = Serving(generator, TRAINED, "chosen")
    good = served.rates_at(256, best)
    monkeypatch.setattr(served, "network", lambda rates: constant(0.5 if rates == good else -0.5))
    image, mask = torch.full((2, 3, 256, 256), 0.5), case(256, 256)[1]
    assert torch.equal(served(image, mask), image)
    assert served.used == {good: 2}
    image[1] = -0.5  # the other picture now has other best rates
    assert torch.equal(served(image, mask), image)


def test_chosen_does_not_depend_on_the_other_pictures_of_a_batch(generator):
    served, (image, mask) = Serving(generator, TRAINED, "chosen", seed=3), case(128, 128, n=3)
    mask[1] = mask[1].roll((30, 20), (-2, -1))
    with torch.no_grad():
        alone = torch.cat([served(image[i : i + 1], mask[i : i + 1]) for i in range(3)])
        assert torch.equal(served(image, mask), alone)


def test_the_trial_hole_is_the_holes_shape_at_a_known_place():
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., 5:9, 10:30] = 1
    mask[..., 9:14, 10:12] = 1
    trial = trial_hole(mask, seed=0)
    known = 1 - mask
    moves = [(y, x) for y in range(40) for x in range(60) if torch.equal(mask.roll((y, x), (-2, -1)) * known, trial)]
    assert len(moves) == 1 and not (trial * mask).any()
    assert trial.sum() == pytest.approx((mask.sum() * known.mean()).item(), abs=5)  # of the known as large a share
    assert torch.equal(trial, trial_hole(mask, seed=0)) and not torch.equal(trial, trial_hole(mask, seed=1))
    half = torch.zeros(1, 1, 40, 60)
    half[..., :30] = 1
    assert trial_hole(half, seed=0).sum() == pytest.approx(half.sum().item() / 2, rel=0.3)  # half of the known half


@pytest.mark.parametrize("way", WAYS)
def test_sizes_that_do_not_fit_are_refused_in_words(generator, way):
    served = Serving(generator, TRAINED, way)
    with pytest.raises(ValueError, match=f"multiples of 4 and at least {served.smallest} px.*got 66 x 64; pad"):
        served(*case(66, 64))
    with pytest.raises(ValueError, match="got 4 x 64"):
        served(*case(4, 64))
    with pytest.raises(ValueError, match="expected image .* and mask"):
        served(case(64, 64)[0], case(128, 128)[1])
    with torch.no_grad():
        served(*case(served.smallest, served.smallest))


@pytest.mark.parametrize("way", WAYS)
def test_a_fill_takes_pictures_of_any_size(generator, way):
    picture = torch.randint(0, 256, (3, 30, 71), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mask = case(30, 71, n=1)[1][0]
    result = network_fill(Serving(generator, TRAINED, way))(picture, mask)
    assert torch.equal(result * (1 - mask), picture * (1 - mask)) and not torch.equal(result, picture)


def test_what_cannot_be_served_is_refused(generator):
    with pytest.raises(ValueError, match="way must be one of .* got 'scale'; did you mean 'scaled'?"):
        Serving(generator, TRAINED, "scale")
    for size in (32, 66):
        with pytest.raises(ValueError, match=f"trained_size is {size} px.*multiples of 4 from 36 px on"):
            Serving(generator, size)
    with pytest.raises(ValueError, match="only AOT-GAN's generator has dilation rates, got a ContextEncoder"):
        Serving(METHODS["context_encoder"].build(8, **METHODS["context_encoder"].options_at(64)), 64)
    with pytest.raises(ValueError, match="decides picture by picture"):
        Serving(generator, TRAINED, "chosen").rates_at(128)


def differences(**better):
    rows = [(way, 0.3, name, f"{128 * 2**i} px") for way, names in better.items() for i, name in enumerate(names)]
    return pd.DataFrame(rows, columns=["method", "difference", "better", "bucket"]).assign(metric="psnr")


def test_another_way_is_the_default_only_where_it_was_better_beyond_chance():
    sizes = [f"{128 * 2**i} px" for i in range(2)]
    none = dict.fromkeys(sizes, "fixed")
    assert serving.better_ways(differences(scaled=["", ""], spread=["", ""])) == none
    found = serving.better_ways(differences(scaled=["fixed", ""], spread=["", "spread"]))
    assert found == none | {sizes[1]: "spread"}
    both = differences(scaled=["scaled"], spread=["spread"])
    both.loc[both.method == "spread", "difference"] = 0.5
    assert serving.better_ways(both) == {sizes[0]: "spread"}
    harm = differences(spread=["fixed"]).assign(metric="ssim")  # what is worse in another metric is none
    assert serving.better_ways(pd.concat([both, harm])) == {sizes[0]: "scaled"}


def test_the_default_is_what_the_measurement_says():
    folder = ROOT / "results" / "reference" / "serving"
    account = json.loads((folder / "runs.json").read_text())
    by_size = {f"{side} px": serving.way_at(int(side), account["trained_size"]) for side in account["sizes"]}
    assert serving.better_ways(pd.read_csv(folder / "differences.csv")) == by_size


def test_auto_resizes_large_pictures_only(generator):
    """From 1024 / 192 = 16 / 3 times the trained side on, by the shorter side."""
    small = Serving(generator, 48, "auto")
    with torch.no_grad():
        for sides, way in (((256, 256), "resized"), ((252, 256), "fixed"), ((256, 252), "fixed")):
            given = case(*sides, n=1)
            assert torch.equal(small(*given), Serving(generator, 48, way)(*given))


def test_a_weights_file_says_the_size_that_it_is_served_at(generator, tmp_path):
    path, card = tmp_path / "g.safetensors", {"options": json.dumps(generator.options)}
    save_weights(generator.state_dict(), path, card | {"size": "48"})
    given = case(256, 256, n=1)
    with torch.no_grad():
        assert torch.equal(serving.load(path)(*given), Serving(generator, 48, "resized")(*given))
        assert torch.equal(serving.load(path, trained_size=64)(*given), generator(*given))
    save_weights(generator.state_dict(), path, card)
    with pytest.raises(ValueError, match="does not say from which crops"):
        serving.load(path)
