"""Attention over patches against plain loops, at the border, with masks, and in half precision."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aotlib.baselines.attention import attention, fuse_scores, paste, similarity, valid_keys


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def patch_at(x, row, column, k):
    """The k x k patch of x (C, h, w) around a position, zeros outside the frame."""
    padded = np.pad(x.numpy(), ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    return padded[:, row : row + k, column : column + k]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_valid_keys_is_a_loop_over_neighbourhoods(k):
    mask = (rand(2, 1, 6, 7) > 1.2).double()
    valid = valid_keys(mask, k)
    for b, (i, j) in ((b, ij) for b in range(2) for ij in np.ndindex(6, 7)):
        assert valid[b, i * 7 + j] == float(patch_at(mask[b], i, j, k).max() == 0)
    assert set(valid.unique().tolist()) == {0.0, 1.0} and valid.shape == (2, 42)


def test_a_trace_of_hole_is_hole_and_outside_the_frame_is_known():
    mask = torch.zeros(1, 1, 5, 5)
    assert valid_keys(mask).all()
    mask[..., 2, 2] = 1e-6
    assert valid_keys(mask).view(5, 5).tolist() == [[1] * 5, *[[1, 0, 0, 0, 1]] * 3, [1] * 5]
    assert not valid_keys(torch.ones(1, 1, 5, 5)).any()


@pytest.mark.parametrize("k", [1, 3])
def test_similarity_is_a_loop_over_patches(k):
    query, key = rand(2, 3, 4, 5), rand(2, 3, 3, 6, seed=1)
    key[0, :, :, :4] = 0  # whole keys of zeros
    scores = similarity(query, key, k).numpy()
    assert scores.shape == (2, 18, 4, 5)
    for b, (m, n), (i, j) in ((b, mn, ij) for b in range(2) for mn in np.ndindex(3, 6) for ij in np.ndindex(4, 5)):
        one = patch_at(key[b], m, n, k)
        expected = (patch_at(query[b], i, j, k) * one).sum() / max(np.sqrt((one**2).sum()), 1e-4)
        assert abs(scores[b, m * 6 + n, i, j] - expected) < 1e-12


def test_similarity_of_faint_keys_divides_by_the_floor():
    faint = torch.full((1, 1, 1, 1), 1e-6)
    assert similarity(torch.ones(1, 1, 1, 1), faint, 1).item() == pytest.approx(1e-2)
    flat = torch.zeros(1, 2, 4, 4, requires_grad=True)
    similarity(flat, flat).sum().backward()
    assert flat.grad.isfinite().all()  # the norm of a key of zeros has no slope


@pytest.mark.parametrize("key_size, size", [((3, 4), (3, 4)), ((2, 5), (4, 3)), ((1, 3), (1, 3))])
def test_fusion_is_two_loops_over_diagonals(key_size, size):
    (hk, wk), (h, w) = key_size, size
    scores = rand(2, hk * wk, h, w)

    def loop(table, k=3):
        out = np.zeros_like(table)
        for j, i in np.ndindex(*table.shape):
            for d in range(-(k // 2), k // 2 + 1):
                if 0 <= j + d < table.shape[0] and 0 <= i + d < table.shape[1]:
                    out[j, i] += table[j + d, i + d]
        return out

    fused = fuse_scores(scores, key_size)
    assert fused.shape == scores.shape
    for one, ours in zip(scores.numpy(), fused.numpy()):
        rows = loop(one.reshape(hk * wk, h * w)).reshape(hk, wk, h, w)
        columns = loop(rows.transpose(1, 0, 3, 2).reshape(wk * hk, w * h)).reshape(wk, hk, w, h)
        np.testing.assert_allclose(ours, columns.transpose(1, 0, 3, 2).reshape(hk * wk, h, w), atol=1e-12)
    torch.testing.assert_close(fuse_scores(scores, key_size, 1), scores, rtol=0, atol=0)


def test_fusion_spreads_a_single_agreement_to_all_eight_neighbours():
    scores = torch.zeros(25, 5, 5)
    scores[12, 2, 2] = 1
    fused = fuse_scores(scores[None], (5, 5))[0]
    own = torch.stack([fused[j].flatten()[j] for j in range(25)]).view(5, 5)  # each place with its own key
    assert own.tolist() == [[0] * 5, *[[0, 1, 1, 1, 0]] * 3, [0] * 5]
    assert fused.sum() == 9


def test_shares_are_a_softmax_whose_invalid_keys_are_dropped_afterwards():
    scores, valid = rand(2, 6, 2, 3), torch.tensor([[1.0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 0]])
    shares = attention(scores, valid, scale=3.0)
    for b in range(2):
        v = valid[b].numpy()[:, None, None]
        e = np.exp(3 * scores[b].numpy() * v)
        np.testing.assert_allclose(shares[b].numpy(), e / e.sum(0) * v, atol=1e-12)
    assert (shares >= 0).all() and (shares[valid == 0] == 0).all()
    assert (shares.sum(1) < 1).all()
    torch.testing.assert_close(attention(scores, torch.ones(2, 6)).sum(1), torch.ones(2, 2, 3, dtype=torch.float64))


def test_nothing_to_copy_gives_exactly_zero_and_finite_gradients():
    scores = rand(1, 4, 3, 3).requires_grad_()
    shares = attention(scores, torch.zeros(1, 4))
    assert (shares == 0).all()
    shares.sum().backward()
    assert (scores.grad == 0).all()


def test_how_much_the_shares_miss_depends_on_the_loudness_of_features():
    """The fact sheet's numbers: nothing at normal size, about a fifth at a hundredth of it."""
    x, mask = torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 1, 32, 32)
    mask[..., 8:20, 8:20] = 1
    valid = valid_keys(mask)
    loud, faint = (attention(similarity(f, f), valid).sum(1) for f in (x, x / 100))
    known = mask[:, 0] == 0
    assert loud[known].mean() > 0.999
    assert 0.7 < faint.mean() < 0.9


@pytest.mark.parametrize("rate, patch", [(2, None), (1, 2), (2, 2), (2, 3), (3, 5), (4, 8)])
@pytest.mark.parametrize("overlap_mean", [True, False])
def test_paste_is_a_transposed_convolution(rate, patch, overlap_mean):
    value, scores = rand(2, 3, 3 * rate, 4 * rate), rand(2, 12, 5, 2, seed=1)
    ours = paste(scores, value, rate, patch=patch, overlap_mean=overlap_mean)
    p = patch or 2 * rate
    before, after = (p - rate) // 2, p - rate - (p - rate) // 2
    for b in range(2):
        padded = F.pad(value[b], (before, after, before, after))
        kernels = torch.stack([padded[:, i * rate :, j * rate :][:, :p, :p] for i, j in np.ndindex(3, 4)])
        whole = F.conv_transpose2d(scores[b][None], kernels, stride=rate)[0]
        expected = whole[:, before : before + 5 * rate, before : before + 2 * rate]
        torch.testing.assert_close(ours[b], expected / ((p / rate) ** 2 if overlap_mean else 1))


def test_a_constant_is_whole_inside_halved_at_edges_and_quartered_in_corners():
    shares = attention(rand(1, 30, 5, 6), torch.ones(1, 30))
    # patches of keys at the frame hold zeros from beyond it: copy inner ones only
    inner = torch.zeros(5, 6)
    inner[1:-1, 1:-1] = 1
    shares = shares * inner.flatten()[:, None, None]
    shares = shares / shares.sum(1, keepdim=True)
    y = paste(shares, torch.full((1, 1, 10, 12), 8.0, dtype=torch.float64), 2)[0, 0]
    expected = torch.full((10, 12), 8.0, dtype=torch.float64)
    expected[[0, -1]] /= 2
    expected[:, [0, -1]] /= 2
    torch.testing.assert_close(y, expected)
    raw = paste(shares, torch.full((1, 1, 10, 12), 8.0, dtype=torch.float64), 2, overlap_mean=False)[0, 0]
    torch.testing.assert_close(raw, 4 * expected)


def test_copying_everything_to_its_own_place_reproduces_the_map():
    value, identity = rand(1, 3, 12, 15), torch.eye(20, dtype=torch.float64).view(1, 20, 4, 5)
    torch.testing.assert_close(paste(identity, value, 3, patch=3), value)  # side by side: exact everywhere
    y = paste(identity, value, 3)
    torch.testing.assert_close(y[..., 2:-2, 2:-2], value[..., 2:-2, 2:-2])


def test_a_cold_softmax_copies_the_equal_patch():
    x = rand(1, 8, 16, 16)
    x[..., 10:14, 10:14] = x[..., 2:6, 4:8]  # a hole that holds what is known elsewhere
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 10:14, 10:14] = 1
    shares = attention(similarity(x, x), valid_keys(mask), scale=1e3)
    for i, j in np.ndindex(2, 2):  # places whose whole 3 x 3 patch lies in the hole
        assert shares[0, (3 + i) * 16 + 5 + j, 11 + i, 11 + j] == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(paste(shares, x, 1)[..., 11:12, 11:12], x[..., 11:12, 11:12], rtol=1e-4, atol=1e-4)


def test_values_under_the_hole_never_arrive():
    x, mask = rand(1, 4, 16, 20), torch.zeros(1, 1, 16, 20)
    mask[..., 6:11, 3:13] = 1
    small_mask = F.max_pool2d(mask, 2)
    shares = attention(rand(1, 80, 8, 10), valid_keys(small_mask))
    other = torch.where(mask.bool(), torch.full_like(x, 1e3), x)
    torch.testing.assert_close(paste(shares, x, 2), paste(shares, other, 2), rtol=0, atol=0)


def test_each_sample_is_on_its_own():
    x, mask = rand(3, 4, 8, 6), (rand(3, 1, 8, 6) > 1.5).double()

    def whole(x, mask):
        shares = attention(fuse_scores(similarity(x, x), (8, 6)), valid_keys(mask))
        return paste(shares, x, 1)

    together = whole(x, mask)
    for b in range(3):
        torch.testing.assert_close(together[b : b + 1], whole(x[b : b + 1], mask[b : b + 1]))


def test_autocast_does_not_round_the_shares():
    x = rand(1, 8, 8, 8).float()
    with torch.autocast("cpu", torch.bfloat16):
        shares = attention(fuse_scores(similarity(x.bfloat16(), x.bfloat16()), (8, 8)), torch.ones(1, 64))
        y = paste(shares, x.bfloat16(), 1)
    assert shares.dtype == y.dtype == torch.float32
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        again, pasted = similarity(x, x), paste(shares, x, 1)
    torch.testing.assert_close(again, similarity(x, x), rtol=0, atol=0)
    torch.testing.assert_close(pasted, paste(shares, x, 1), rtol=0, atol=0)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda x: similarity(x, x, 2), "odd"),
        (lambda x: similarity(x, x[:, :1]), "channels"),
        (lambda x: valid_keys(x), "one mask"),
        (lambda x: fuse_scores(x, (3, 3)), "3 x 3"),
        (lambda x: attention(x, x[:1, :1, 0, 0]), "one value a key"),
        (lambda x: paste(x, x, 3), "rate 3"),
        (lambda x: paste(x, x, 2, patch=1), "gaps"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, text):
    with pytest.raises(ValueError, match=text):
        call(torch.zeros(1, 2, 4, 4))
