"""Arrows of what is copied: against a loop over places."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from aotlib import inside
from aotlib.baselines.mnps import Match


def test_strongest_is_the_position_with_the_largest_share():
    rng = torch.Generator().manual_seed(0)
    attention = torch.rand(24, 4, 6, generator=rng).softmax(0)
    mask = torch.zeros(1, 32, 48)
    mask[:, 8:24, 16:40] = 1
    copies = inside.strongest(attention, mask, n=100)
    expected = []
    for row in range(4):
        for column in range(6):
            if mask[0, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].mean() > 0.5:
                values = [attention[key, row, column].item() for key in range(24)]
                key = int(np.argmax(values))
                source = (key // 6 * 8 + 4.0, key % 6 * 8 + 4.0)
                expected.append(((row * 8 + 4.0, column * 8 + 4.0), source, values[key]))
    assert [tuple(copy) for copy in copies] == expected and len(expected) == 6


def test_matches_of_turned_copies_have_no_arrow():
    cells = torch.tensor([[0, 1], [2, 3], [4, 5]])
    match = Match((64, 64), "relu3_1", 4, cells, cells + 1, torch.tensor([0, 3, 0]))
    copies = inside.matched(match)
    assert [copy.to for copy in copies] == [(6.0, 10.0), (22.0, 26.0)]
    assert [copy.source for copy in copies] == [(10.0, 14.0), (26.0, 30.0)]


def test_pixels_are_mixed_in_the_shares_of_known_ones():
    rng = torch.Generator().manual_seed(0)
    image, mask = torch.rand(3, 8, 12, generator=rng) * 2 - 1, torch.zeros(1, 8, 12)
    mask[:, :4, 4:9] = 1
    attention = torch.rand(6, 2, 3, generator=rng).softmax(0)
    blocks = [(image * (1 - mask))[:, r : r + 4, c : c + 4] for r in (0, 4) for c in (0, 4, 8)]
    expected = torch.cat(
        [torch.cat([sum(attention[k, r, c] * blocks[k] for k in range(6)) for c in range(3)], dim=2) for r in range(2)],
        dim=1,
    )
    torch.testing.assert_close(inside.copied(attention, image, mask), expected)


def test_a_collage_holds_the_mean_of_the_patches_that_overlap():
    image, mask = torch.arange(32.0).expand(3, 32, 32).clone(), torch.zeros(1, 32, 32)
    mask[:, 8:20, 8:20] = 1
    cells = torch.tensor([[2, 2], [3, 2], [2, 3]])
    match = Match((32, 32), "relu3_1", 4, cells, torch.tensor([[0, 5], [0, 0], [1, 1]]), torch.tensor([0, 0, 8]))
    made = inside.collage(match, image, mask)
    assert torch.equal(made[mask.expand(3, -1, -1) == 0], image[mask.expand(3, -1, -1) == 0])
    torch.testing.assert_close(made[0, 8:12, 8:20], torch.arange(20.0, 32).expand(4, -1))  # under the first alone
    torch.testing.assert_close(made[0, 12:20, 8:20], (torch.arange(20.0, 32) + torch.arange(12.0)).expand(8, -1) / 2)


def test_an_empty_hole_has_no_arrows():
    assert inside.strongest(torch.rand(4, 2, 2), torch.zeros(1, 8, 8)) == []


def test_arrows_end_where_they_should():
    ax = plt.figure().add_subplot()
    copy = inside.Copy((6.0, 2.0), (1.0, 7.0), 0.5)
    inside.draw_copies(ax, torch.zeros(3, 8, 8), torch.zeros(1, 8, 8), [copy])
    (arrow,) = ax.texts
    assert arrow.xy == (2.0, 6.0) and arrow.xyann == (7.0, 1.0)  # column first
    plt.close("all")
