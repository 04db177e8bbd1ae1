"""Masks: hit to the pixel, the same from the same seed, and refused when their meaning is in doubt."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from aotlib.images import UnreadableImage, write_image
from aotlib.masks import (
    BUCKET_NAMES,
    BUCKETS,
    boxes_to_mask,
    bucket_of,
    composite,
    hole_ratio,
    irregular_mask,
    load_mask,
    load_masks,
    measure_mask,
    touches_frame,
)


def write_mask(path, white_rows, size=100, values=(0, 255)):
    """A mask file, `size` squared, whose first rows are white."""
    pixels = np.full((size, size), values[0], np.uint8)
    pixels[:white_rows] = values[1]
    write_image(pixels, path)
    return path


def test_buckets_are_open_on_the_left_and_closed_on_the_right():
    assert [bucket_of(high) for _, high in BUCKETS] == list(BUCKET_NAMES)
    assert [bucket_of(low) for low, _ in BUCKETS] == [None, *BUCKET_NAMES[:-1]]
    assert bucket_of(0.0) is None and bucket_of(0.6 + 1e-9) is None


def test_a_ratio_on_the_edge_of_a_bucket_is_exact():  # in float32, 0.1 is 0.10000000149 and lands one bucket higher
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., :1] = 1
    assert hole_ratio(mask).item() == 0.1 and bucket_of(hole_ratio(mask).item()) == "1-10 %"


def test_composite_changes_the_hole_and_nothing_else():
    prediction, image = torch.rand(2, 2, 3, 8, 8)
    mask = (torch.rand(2, 1, 8, 8) < 0.5).float()
    expected = np.where(mask.numpy() == 1, prediction.numpy(), image.numpy())
    assert np.array_equal(composite(prediction, image, mask).numpy(), expected)


@pytest.mark.parametrize("value", [1 / 255, 0.5, 255.0, -1.0, float("nan")])
def test_composite_refuses_what_is_not_a_mask(value):
    with pytest.raises(ValueError, match="only 0"):
        composite(torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), torch.full((1, 1, 2, 2), value))


def test_touches_frame():
    for y, x in np.ndindex(8, 10):  # one hole pixel at every place in turn
        masks = torch.zeros(2, 1, 8, 10)
        masks[1, 0, y, x] = 1
        assert touches_frame(masks).tolist() == [False, y in (0, 7) or x in (0, 9)]


@pytest.mark.parametrize("size", [16, 128, (64, 200), (200, 33)])
@pytest.mark.parametrize("bucket", BUCKETS)
def test_irregular_masks_land_in_the_wanted_bucket(size, bucket):
    masks = torch.stack([irregular_mask(size, bucket, seed=3, index=index) for index in range(12)])
    assert set(masks.unique().tolist()) == {0.0, 1.0} and masks.dtype == torch.float32
    assert all(bucket_of(ratio) == BUCKET_NAMES[BUCKETS.index(bucket)] for ratio in hole_ratio(masks).tolist())


def test_irregular_masks_hit_a_number_to_the_pixel():
    for index, ratio in enumerate((0.001, 0.05, 0.333, 0.6, 0.95)):
        assert irregular_mask((90, 70), ratio, seed=1, index=index).sum() == round(ratio * 6300)


def test_the_ratio_is_spread_evenly_over_its_range():
    masks = torch.stack([irregular_mask(64, (0.1, 0.5), seed=5, index=index) for index in range(300)])
    counts, _ = np.histogram(hole_ratio(masks).numpy(), bins=4, range=(0.1, 0.5))
    assert counts.sum() == 300 and abs(counts - 75).max() < 4 * np.sqrt(300 * 0.25 * 0.75)  # 4 sigma, binomial


def test_a_mask_is_a_function_of_seed_and_index_alone():
    first = irregular_mask(64, 0.3, seed=7, index=11)
    irregular_mask(64, 0.3, seed=0, index=0)
    np.random.seed(5)
    torch.manual_seed(5)
    assert torch.equal(irregular_mask(64, 0.3, seed=7, index=11), first)
    for seed, index in [(7, 12), (8, 11), (11, 7)]:
        assert not torch.equal(irregular_mask(64, 0.3, seed=seed, index=index), first)


def test_masks_look_alike_at_every_size():
    overlaps = []
    for index in range(40):
        small = irregular_mask(128, (0.1, 0.5), seed=2, index=index)[0].bool()
        large = irregular_mask(512, (0.1, 0.5), seed=2, index=index)[0, 2::4, 2::4].bool()
        overlaps.append(((small & large).sum() / (small | large).sum()).item())
    assert np.mean(overlaps) > 0.88  # measured 0.94; two different masks of these ratios overlap by 0.17


def test_masks_are_a_few_fat_pieces_and_no_confetti():
    masks = [irregular_mask(128, bucket, seed=4, index=index)[0].numpy() for bucket in BUCKETS for index in range(10)]
    pieces = [ndimage.label(mask)[1] for mask in masks]
    eroded = [ndimage.binary_erosion(mask, iterations=1).sum() / mask.sum() for mask in masks]
    assert np.median(pieces) <= 4 and max(pieces) <= 20
    assert np.mean(eroded) > 0.6  # of pixel noise next to nothing would be left
    frames = touches_frame(torch.from_numpy(np.stack(masks))[:, None])
    assert 0.1 < frames.float().mean() < 0.95  # both kinds occur


@pytest.mark.parametrize("ratio", [0.0, 0.97, (0.5, 0.2), (-0.1, 0.2), float("nan")])
def test_irregular_mask_refuses_impossible_ratios(ratio):
    with pytest.raises(ValueError, match="ratio"):
        irregular_mask(32, ratio, seed=0, index=0)


def test_irregular_mask_refuses_tiny_sizes_and_empty_ranges():
    with pytest.raises(ValueError, match="15 x 40"):
        irregular_mask((15, 40), 0.3, seed=0, index=0)
    with pytest.raises(ValueError, match="range"):
        irregular_mask(16, (0.3, 0.3005), seed=0, index=0)


def test_load_mask_reads_both_polarities(tmp_path):
    path = write_mask(tmp_path / "a.png", 30)
    assert load_mask(path).sum() == 3000 and load_mask(path)[0, 0, 0] == 1
    inverse = write_mask(tmp_path / "b.png", 30, values=(255, 0))
    assert torch.equal(load_mask(inverse, hole="black"), load_mask(path))
    with pytest.raises(ValueError, match="white"):
        load_mask(path, hole="grey")


def test_load_mask_cuts_at_128(tmp_path):
    pixels = np.zeros((100, 100), np.uint8)
    pixels[0, :50], pixels[0, 50:], pixels[1:21] = 127, 128, 255  # 1 % of grey is still let through
    write_image(pixels, tmp_path / "a.png")
    assert load_mask(tmp_path / "a.png")[0, :2].tolist() == [[0.0] * 50 + [1.0] * 50, [1.0] * 100]


def test_load_mask_resizes_by_the_nearest_pixel(tmp_path):
    pattern = np.random.default_rng(0).random((64, 64)) < 0.4
    write_image(pattern.astype(np.uint8) * 255, tmp_path / "a.png")
    for size, (height, width) in [(40, (40, 40)), ((20, 96), (20, 96))]:
        rows = (2 * np.arange(height) + 1) * 64 // (2 * height)  # the source pixel under each centre, in whole numbers
        columns = (2 * np.arange(width) + 1) * 64 // (2 * width)
        assert np.array_equal(load_mask(tmp_path / "a.png", size)[0].numpy(), pattern[rows][:, columns])


def test_a_mask_beyond_the_largest_bucket_is_refused_with_advice(tmp_path):
    path = write_mask(tmp_path / "a.png", 61)
    with pytest.raises(ValueError, match=r'61\.0% white.*hole="black".*max_ratio=1'):
        load_mask(path)
    assert load_mask(path, max_ratio=1).mean() == pytest.approx(0.61)
    assert load_mask(path, hole="black").mean() == pytest.approx(0.39)
    load_mask(write_mask(tmp_path / "b.png", 60))
    with pytest.raises(ValueError, match='no white pixel.*hole="black"'):
        load_mask(write_mask(tmp_path / "c.png", 0))


def test_a_photograph_is_refused_and_a_smoothed_edge_is_not(tmp_path):
    disc = Image.new("L", (256, 256))
    ImageDraw.Draw(disc).ellipse([60, 60, 180, 180], fill=255)
    lines = Image.new("L", (256, 256))
    for x in range(0, 256, 32):
        ImageDraw.Draw(lines).line([x, 0, x + 60, 255], fill=255, width=9)
    lines.resize((100, 100), Image.Resampling.BICUBIC).save(tmp_path / "smooth.png")
    grey = np.asarray(Image.open(tmp_path / "smooth.png"))
    assert ((grey >= 64) & (grey < 192)).mean() > 0.05 and 0.2 < load_mask(tmp_path / "smooth.png").mean() < 0.4
    disc.save(tmp_path / "a.jpg", quality=60)
    load_mask(tmp_path / "a.jpg")
    disc.filter(ImageFilter.GaussianBlur(12)).save(tmp_path / "soft.png")
    with pytest.raises(ValueError, match="neither black nor white"):
        load_mask(tmp_path / "soft.png")
    with pytest.raises(ValueError, match="is not a mask"):
        load_mask(write_mask(tmp_path / "grey.png", 20, values=(0, 128)))
    red = np.zeros((50, 50, 3), np.uint8)
    red[:20] = (255, 0, 0)
    write_image(red, tmp_path / "red.png")
    with pytest.raises(ValueError, match="neither black nor white"):
        load_mask(tmp_path / "red.png")


def test_load_masks_measures_and_does_not_trust_the_folder(tmp_path):
    write_mask(tmp_path / "0.5-0.6" / "low.png", 15)
    inner = np.zeros((100, 100), np.uint8)
    inner[10:60, 10:90] = 255
    write_image(inner, tmp_path / "x" / "inner.png")
    low, high = load_masks(tmp_path)
    assert (low.path.name, low.ratio, low.bucket, low.touches_frame) == ("low.png", 0.15, "10-20 %", True)
    assert (high.path.name, high.ratio, high.bucket, high.touches_frame) == ("inner.png", 0.4, "30-40 %", False)
    assert torch.equal(low.load(), load_mask(low.path)) and low.load(32).shape == (1, 32, 32)
    black = measure_mask(write_mask(tmp_path / "y.png", 90), hole="black")
    assert black.bucket == "1-10 %" and black.load().mean() == pytest.approx(0.1)


def test_load_masks_names_what_it_refuses(tmp_path):
    write_mask(tmp_path / "good.png", 10)
    write_mask(tmp_path / "inverse.png", 90)
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"(?s)2 of 3 files.*broken.png: the file is empty.*inverse.png is 90"):
        load_masks(tmp_path)
    with pytest.raises(UnreadableImage):
        load_mask(tmp_path / "broken.png")


def test_boxes_to_mask_is_the_union_clipped():
    mask = boxes_to_mask([(1, 2, 4, 5), (3, 4, 99, 6), (-5, 0, 1, 1)], (6, 8))
    y, x = np.mgrid[:6, :8]
    inside = (x >= 1) & (x < 4) & (y >= 2) & (y < 5)
    expected = inside | ((x >= 3) & (y >= 4)) | ((x < 1) & (y < 1))
    assert np.array_equal(mask[0].numpy(), expected)
    assert boxes_to_mask([], 4).sum() == 0
    for box in [(4, 2, 1, 5), (8, 0, 9, 3), (2, 2, 2, 4)]:
        with pytest.raises(ValueError, match="box"):
            boxes_to_mask([box], (6, 8))
