"""Methods side by side: what fills, and what it costs, against counts by hand."""

import json

import pytest
import torch
from torch import nn

from aotlib import contest
from aotlib.baselines.mnps import MNPS
from aotlib.features import load_features
from aotlib.methods import METHODS
from aotlib.weights import save_weights


def saved(folder, name, width=8, **options):
    network = METHODS[name].build(width, seed=1, **options)
    path = folder / f"{name}.safetensors"
    card = {"options": json.dumps(network.options), "method": name}
    save_weights(network.state_dict(), path, card)
    return path


@pytest.fixture
def found(tmp_path):
    weights = {name: saved(tmp_path, name, **METHODS[name].options_at(64)) for name in ("pconv", "context_encoder")}
    weights["aot"] = saved(tmp_path, "aot", n_blocks=1)
    features = load_features("random", width=4)
    return contest.networks(weights, features=features, patches={"scales": 1, "iterations": 2})


def test_context_encoder_brings_mnps_and_all_stand_in_order(found):
    assert list(found) == ["context_encoder", "mnps", "pconv", "aot"]
    assert isinstance(found["mnps"], MNPS) and found["mnps"].content is found["context_encoder"]
    assert not any(network.training for network in found.values())


def test_fills_keep_known_pixels_at_sizes_that_no_network_takes(found):
    rng = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 256, (3, 50, 71), generator=rng, dtype=torch.uint8)
    mask = torch.zeros(1, 50, 71)
    mask[:, 10:30, 20:50] = 1
    fills = contest.fills(found)
    assert list(fills) == ["Context Encoder", "MNPS", "PConv", "AOT-GAN"]
    for label, fill in fills.items():
        result = fill(picture, mask)
        assert result.shape == picture.shape and result.dtype == torch.uint8, label
        assert torch.equal(result * (1 - mask), picture * (1 - mask)), label
        assert not torch.equal(result, picture), label


def test_wrong_names_and_wrong_weights_are_refused(tmp_path):
    path = saved(tmp_path, "pconv", levels=5)
    with pytest.raises(KeyError, match="no methods: pkonv; there are context_encoder"):
        contest.networks({"pkonv": path})
    with pytest.raises(ValueError, match="holds a PConv, not the network of hifill"):
        contest.networks({"hifill": path})


def test_costs_are_those_counted_by_hand():
    class Network(nn.Conv2d):
        multiple, smallest = 8, 8

        def forward(self, image, mask):
            return super().forward(torch.cat([image, mask], 1))

    table = contest.costs({"aot": Network(4, 3, 3, padding=1)}, 12)
    assert table.method[0] == "AOT-GAN" and table.parameters[0] == 4 * 3 * 9 + 3
    assert table.gmac[0] * 1e9 == pytest.approx(4 * 3 * 9 * 16**2) and table.seconds[0] > 0
    mirrored, joined, predicted = 4 * 16**2 * 4, 4 * 16**2 * 4, 3 * 16**2 * 4  # enlarged from 12 to 16 px, in bytes
    assert mirrored + joined < table.peak_mb[0] * 2**20 <= 2 * mirrored + joined + predicted


def test_peak_is_the_most_at_a_time_not_the_sum():
    def chain():
        x = torch.zeros(1000)
        for _ in range(5):
            x = x + 1  # the one before is given back

    assert contest.peak_bytes(chain) == 8000
    kept = torch.zeros(1000)
    assert contest.peak_bytes(lambda: kept.view(10, 100).add_(1)) == 0  # nothing new


def test_seconds_are_those_of_the_clock():
    now = [0.0]

    def call():
        now[0] += 2.5

    assert contest.median_seconds(call, 3, lambda: now[0]) == 2.5
