"""What the figures show, that nothing in them overlaps, and that files are whole and repeatable."""

import io

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage import data

from aotlib import figures

COLUMNS = ("input", "mask", "output", "truth")


@pytest.fixture(autouse=True)
def styled():
    figures.style()
    yield
    plt.close("all")


def photograph(crop=slice(0, 128)):
    pixels = torch.from_numpy(data.astronaut()[crop, 150:278].copy()).permute(2, 0, 1)
    return pixels.float() / 127.5 - 1


def flat(*colour, height=32, width=32):
    return torch.tensor(colour, dtype=torch.float32).view(-1, 1, 1).expand(len(colour), height, width) * 2 - 1


def rendered(fig):
    """The figure as it looks at 100 dpi: (height, width, 3) uint8."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=100)
    return np.asarray(Image.open(buffer).convert("RGB"))


def colour_at(image, fig, ax):
    """The colour in the middle of `ax`."""
    x, y = ax.get_position().x0 + ax.get_position().width / 2, ax.get_position().y0 + ax.get_position().height / 2
    return (image[int((1 - y) * image.shape[0]), int(x * image.shape[1])] / 255).round(2).tolist()


def text_boxes(fig):
    """Where each visible text stands, in inches: (left, bottom, right, top)."""
    fig.canvas.draw()
    texts = [text for ax in fig.axes for text in (ax.title, ax.xaxis.label) if text.get_text()]
    return [text.get_window_extent().extents / fig.dpi for text in texts]


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 1e-3 and min(a[3], b[3]) - max(a[1], b[1]) > 1e-3


def test_style_is_one_size_of_type_at_its_width():
    rc = plt.rcParams
    sizes = {
        rc[name] for name in ("font.size", "axes.labelsize", "axes.titlesize", "xtick.labelsize", "legend.fontsize")
    }
    assert sizes == {figures.FONT_PT}
    assert rc["figure.figsize"][0] == 4.5 and rc["figure.dpi"] == 100 and rc["pdf.fonttype"] == 42
    assert rc["axes.prop_cycle"].by_key()["color"][0] == matplotlib.colors.to_rgb(figures.PALETTE["blue"])


@pytest.mark.parametrize("kind, options", [("png", {}), ("jpeg", {"pil_kwargs": {"quality": 85}})])
def test_style_tells_a_notebook_how_to_store_figures(monkeypatch, kind, options):
    calls = []
    monkeypatch.setattr(figures, "get_ipython", object)
    monkeypatch.setattr(figures, "set_matplotlib_formats", lambda *formats, **kwargs: calls.append((formats, kwargs)))
    figures.style(inline=kind)
    assert calls == [((kind,), options)]


def test_show_holes_paints_the_hole_and_nothing_else():
    image, mask = photograph(), torch.zeros(1, 128, 128)
    mask[:, 20:50, 30:90] = 1
    shown = figures.show_holes(image, mask, "#ff0080")
    assert torch.equal(shown * (1 - mask), image * (1 - mask))
    hole = shown[:, 20:50, 30:90].reshape(3, -1)
    assert torch.allclose(hole, torch.tensor([1, -1, 2 * 128 / 255 - 1])[:, None].expand_as(hole), atol=1e-6)
    batch = figures.show_holes(image[None], mask[None], "#ff0080")
    assert torch.equal(batch[0], shown)


def test_grid_shows_each_picture_in_its_place_with_true_colours(caplog):
    rows = [
        [flat(1.0, 0, 0), torch.ones(1, 32, 32), flat(0, 1.0, 0), flat(0, 0, 1.0)],
        [flat(0.2, 0.4, 0.6), torch.zeros(1, 32, 32), flat(0.5, 0.5, 0.5), 3 * flat(1.0, 0, 1.0)],
    ]
    fig = figures.grid(rows)
    image = rendered(fig)
    shown = [colour_at(image, fig, ax) for ax in fig.axes]
    expected = [
        *([1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]),
        *([0.2, 0.4, 0.6], [0, 0, 0], [0.5, 0.5, 0.5], [1, 0, 1]),  # the last: clipped, not wrapped
    ]
    assert np.allclose(shown, expected, atol=0.01)
    assert not caplog.records, "matplotlib complains of values beyond its range"


def test_grid_titles_stand_above_the_first_row_only_and_captions_below_their_picture():
    picture = flat(0.5, 0.5, 0.5)
    captions = [["", "", "PSNR 21.4 dB", ""], ["", "", "PSNR 23.9 dB\nL1 0.021", ""]]
    fig = figures.grid([[picture] * 4] * 2, captions=captions)
    assert [ax.get_title() for ax in fig.axes] == [*COLUMNS, "", "", "", ""]
    assert [ax.get_xlabel() for ax in fig.axes] == captions[0] + captions[1]


@pytest.mark.parametrize("n_columns, width", [(1, 2.25), (2, 4.5), (4, 4.5), (6, 7.0)])
def test_grid_has_no_overlap_no_gap_and_the_pictures_own_shape(n_columns, width):
    wide, tall = flat(0.5, 0.5, 0.5, height=20, width=30), flat(0.5, 0.5, 0.5, height=30, width=24)
    titles = ["a title that is too long for its column", *COLUMNS, "other"][:n_columns]
    captions = [["PSNR 21.42 dB, L1 0.123"] * n_columns, ["SSIM 0.912\nL1 0.123"] * n_columns]
    fig = figures.grid([[wide] * n_columns, [tall] * n_columns], columns=titles, captions=captions)
    for _ in range(2):
        fig.savefig(io.BytesIO(), dpi=20)  # drawing must not move anything
    assert fig.get_size_inches()[0] == pytest.approx(width)
    size = np.tile(fig.get_size_inches(), 2)
    pictures = [ax.get_position().extents * size for ax in fig.axes]
    shapes = [(right - left) / (top - bottom) for left, bottom, right, top in pictures]
    assert shapes == pytest.approx([30 / 20] * n_columns + [24 / 30] * n_columns)
    assert pictures[0][0] == pytest.approx(0) and pictures[-1][2] == pytest.approx(width)
    gaps = [pictures[i + 1][0] - pictures[i][2] for i in range(n_columns - 1)]
    assert gaps == pytest.approx([figures.GAP] * (n_columns - 1))
    boxes = text_boxes(fig) + pictures
    assert not any(overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.min() > -0.01 and (box[2:] < size[:2] + 0.01).all() for box in boxes)


def test_grid_without_captions_leaves_no_room_for_them():
    picture = flat(0.5, 0.5, 0.5)
    fig = figures.grid([[picture] * 4] * 3)
    first, second = fig.axes[0].get_position(), fig.axes[4].get_position()
    assert (first.y0 - second.y1) * fig.get_size_inches()[1] == pytest.approx(figures.GAP)


@pytest.mark.parametrize(
    "rows, captions, words",
    [
        ([], None, "0 rows of pictures"),
        ([[flat(0, 0, 0)] * 3], None, "row 0: 3 pictures, 4 captions, 4 columns"),
        ([[flat(0, 0, 0)] * 4], [["a"] * 3], "row 0: 4 pictures, 3 captions"),
        ([[flat(0, 0, 0)] * 4] * 2, [[""] * 4], "2 rows of pictures, 1 rows of captions"),
        ([[flat(0, 0, 0)] * 3 + [flat(0, 0, 0, height=8)]], None, r"row 0 mixes sizes .*\(8, 32\)"),
        ([[flat(0, 0, 0)[None]] * 4], None, r"not torch.float32 \(1, 3, 32, 32\)"),
        ([[torch.zeros(3, 8, 8, dtype=torch.uint8)] * 4], None, "not torch.uint8"),
    ],
)
def test_grid_refuses_other_forms_in_words(rows, captions, words):
    with pytest.raises(ValueError, match=words):
        figures.grid(rows, captions=captions)


def test_a_grid_of_photographs_is_small_in_a_notebook():
    rows = [[photograph(slice(i, i + 128)) for i in (0, 60, 120, 180)]] * 3
    buffer = io.BytesIO()
    figures.grid(rows, captions=[["PSNR 21.42 dB"] * 4] * 3).savefig(
        buffer, format="jpeg", dpi=100, pil_kwargs={"quality": 85}
    )
    assert len(buffer.getvalue()) < 100_000


def scores():
    rows = [(m, b, v + i) for i, m in enumerate("ab") for b, v in (("20-30 %", 5.0), ("1-10 %", 9.0), ("1-10 %", 11.0))]
    return pd.DataFrame(rows, columns=["method", "bucket", "psnr"])


def test_curves_draw_the_mean_with_a_band_in_the_order_asked_for():
    table = pd.concat(
        [scores(), pd.DataFrame([("a", "1-10 %", np.inf), ("a", "other", 3.0)], columns=scores().columns)]
    )
    order = ["1-10 %", "10-20 %", "20-30 %"]
    labels = {"xlabel": "hole ratio", "ylabel": "PSNR / dB"}
    ax = figures.curves(table, "bucket", "psnr", "method", order=order, **labels)
    lines = [line for line in ax.lines if len(line.get_xdata())]
    assert [line.get_ydata().tolist() for line in lines] == [[10, 5], [11, 6]]  # without the infinite value
    ax.figure.canvas.draw()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == order
    assert lines[0].get_xdata().tolist() == [0, 2]
    assert len(ax.collections) == 2 and ax.collections[0].get_paths()[0].get_extents().height > 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("hole ratio", "PSNR / dB")
    assert lines[0].get_marker() != lines[1].get_marker() and lines[0]._dash_pattern != lines[1]._dash_pattern
    legend, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.y0 >= axes.y1, "the legend must stand clear of the lines"


def test_curves_of_a_log_have_no_band_and_use_the_axes_they_are_given():
    log = pd.DataFrame({"step": range(50), "loss": np.linspace(1, 0, 50)})
    fig, (left, right) = plt.subplots(1, 2)
    plt.figure()  # the current figure is another one
    assert figures.curves(log, "step", "loss", xlabel="training step", ylabel="loss", ax=left) is left
    assert len(left.lines) == 1 and not left.collections and not right.lines
    assert not plt.gcf().axes


def test_show_map_has_a_labelled_bar_as_high_as_the_map():
    fig, ax = plt.subplots()
    values = torch.arange(12.0, requires_grad=True).view(1, 3, 4)
    assert figures.show_map(ax, values, label="error / 1", low=0, high=20) is ax
    assert np.array_equal(ax.images[0].get_array(), values[0].detach()) and ax.images[0].get_clim() == (0, 20)
    fig.canvas.draw()
    bar = ax.child_axes[0]
    assert bar.get_ylabel() == "error / 1"
    assert bar.get_window_extent().height == pytest.approx(ax.get_window_extent().height)


def test_draw_labels_writes_each_number_in_its_cell_and_row_0_on_top():
    fig, ax = plt.subplots()
    figures.draw_labels(ax, torch.tensor([[0.0, 0.25], [0.5, 1.0]]), digits=2)
    numbers = {text.get_position(): text.get_text() for text in ax.texts}
    assert numbers == {(0.5, 0.5): "0.00", (1.5, 0.5): "0.25", (0.5, 1.5): "0.50", (1.5, 1.5): "1.00"}
    assert ax.yaxis_inverted() and ax.get_aspect() == 1
    ink = {text.get_text(): text.get_color() for text in ax.texts}
    assert (ink["0.00"], ink["1.00"]) == ("white", "black")
    corner = rendered(fig)[:, :, 0]
    assert corner[corner.shape[0] // 4, :].min() == 0, "a label of 0 is a black cell in the upper half"


def example():
    ax = figures.curves(scores(), "bucket", "psnr", "method", xlabel="hole ratio", ylabel="PSNR / dB")
    return ax.figure


def one_photograph():
    return figures.grid([[photograph()]], columns=["truth"], captions=[["PSNR"]])


@pytest.mark.parametrize("draw, width", [(example, 1350), (one_photograph, 675)])
def test_save_writes_the_same_undated_bytes_each_time(tmp_path, draw, width):
    fig = draw()
    path = figures.save(fig, tmp_path / "new folder", "figure")
    assert path == tmp_path / "new folder" / "figure.png"
    first = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert set(first) == {"figure.png", "figure.pdf"}  # and no temporary file
    figures.save(fig, tmp_path / "again", "figure")
    figures.save(draw(), tmp_path / "redrawn", "figure")
    for folder in ("again", "redrawn"):
        assert {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()} == first, folder
    assert b"CreationDate" not in first["figure.pdf"] and b"Matplotlib" not in first["figure.pdf"]
    with Image.open(path) as image:
        assert image.width == width and image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert "Software" not in image.info


def test_save_leaves_the_old_files_when_it_fails(tmp_path, monkeypatch):
    fig = plt.figure(figsize=(1, 1))
    path = figures.save(fig, tmp_path, "figure")
    before = path.read_bytes()

    def half_written(file, **_):
        file.write_bytes(b"half a fig")
        raise OSError("disk full")

    monkeypatch.setattr(fig, "savefig", half_written)
    with pytest.raises(OSError, match="disk full"):
        figures.save(fig, tmp_path, "figure")
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2
