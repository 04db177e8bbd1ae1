# %% [markdown]
# # 2 · Generator: how one block sees near and far at once
# **You will** split a convolution into branches, draw what each branch sees, blend old and new features with a gate, and
# count the parameters, the arithmetic and the reach of the whole network by hand.
# **Needs** notebook 1 (what image and mask look like). **Takes** 20 s on a CPU.
#
# The generator fills a hole $m$ in an image $x$: $\hat x = G(x \odot (1 - m), m)$. Three convolutions encode, a stack of
# *AOT blocks* reasons, three convolutions decode. Everything new is in the block.
# %% tags=["parameters"]
seed = 0  # of every random number in this notebook
size = 128  # side of the photograph, pixels
photograph = "forest_stream.jpg"  # file in the test split
data_dir = "../data/samples"  # embedded photographs
out_dir = "../results/notebook/02_generator"  # figures, tables and metrics.json go here
# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from aotlib import figures, runs, tables
from aotlib.blocks import AOTBlock, gate_update, standardise
from aotlib.data import InpaintingDataset
from aotlib.masks import composite
from aotlib.model import Discriminator, Generator

figures.style(inline="jpeg")
_ = torch.manual_seed(seed)
# %% [markdown]
# ## 2.1 Split and transform: four rates, four views
# One 3x3 convolution with 256 outputs looks at 9 neighbouring positions. The block *splits* it into four convolutions
# with 64 outputs each and gives each its own dilation rate $r$: the 9 positions lie $r$ apart. The number of weights does
# not change.
#
# **Guess** how far from the centre the outermost position of rate 8 lies, before you look at the figure.
# %% tags=["nbval-check-output"]
rates = (1, 2, 4, 8)
block = AOTBlock(256, rates)
split = sum(conv.weight.numel() for conv in block.branches)
whole = torch.nn.Conv2d(256, 256, 3).weight.numel()
assert split == whole
print(f"weights of four 64-channel branches: {split:,}; of one 256-channel convolution: {whole:,}")
# %%
def response(rate, side=25):
    """Which inputs reach the output in the middle: the gradient of one output of a 3x3 convolution of ones."""
    x = torch.zeros(1, 1, side, side, requires_grad=True)
    y = F.conv2d(x, torch.ones(1, 1, 3, 3), padding=rate, dilation=rate)
    return torch.autograd.grad(y[0, 0, side // 2, side // 2], x)[0][0, 0]


fig, axes = plt.subplots(1, 4, figsize=(figures.PAGE, 2.4))
for ax, rate in zip(axes, rates):
    ax.imshow(1 - response(rate), cmap="gray", vmin=0, vmax=1)
    ax.set(title=f"rate {rate}", xticks=[0, 12, 24], yticks=[], xlabel="pixel")
figures.save(fig, f"{out_dir}/figures", "responses")
plt.show()
# %% [markdown]
# Read it: nine black dots each, at distance 1, 2, 4 and 8. Rate 1 sees texture, rate 8 sees across a hole, and rate 8
# alone would see only every eighth pixel.
#
# ## 2.2 Aggregate: no gaps when the rates are mixed
# A second convolution, the *fusion*, mixes the branches. Stack two blocks and ask how many *different* paths lead from
# an input pixel to the centre.
#
# **Guess**: which stack leaves pixels near the centre that no path reaches: (1, 2, 4, 8), (8), or (1)?
# %%
def paths(rates, n_blocks=2, side=45):
    """Number of paths through `n_blocks` blocks of all-ones convolutions, fusion included, from each input."""
    x = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    y, ones = x, torch.ones(1, 1, 3, 3, dtype=torch.float64)
    for _ in range(n_blocks):
        y = sum(F.conv2d(y, ones, padding=r, dilation=r) for r in rates)
        y = F.conv2d(y, ones, padding=1)
    return torch.autograd.grad(y[0, 0, side // 2, side // 2], x)[0][0, 0]


def dense_reach(count):
    """The largest n so that every pixel within n of the centre has a path."""
    middle = len(count) // 2
    rings = (count[middle - n : middle + n + 1, middle - n : middle + n + 1] for n in range(middle + 1))
    return sum(bool((ring > 0).all()) for ring in rings) - 1


stacks = {rates: paths(rates) for rates in ((1, 2, 4, 8), (8,), (1,))}
# %%
fig, axes = plt.subplots(1, 3, figsize=(figures.PAGE, 1.9))
for ax, (rates_shown, count) in zip(axes, stacks.items()):
    figures.show_map(ax, torch.log10(1 + count), label="log10(1 + paths)")
    ax.set_title(f"rates {', '.join(map(str, rates_shown))}")
figures.save(fig, f"{out_dir}/figures", "paths")
plt.show()
# %% tags=["nbval-check-output"]
for rates_shown, count in stacks.items():
    farthest = (torch.nonzero(count).max() - len(count) // 2).item()
    print(f"{str(rates_shown):>12}: farthest pixel {farthest} px away, no gap within {dense_reach(count)} px")
assert dense_reach(stacks[(1, 2, 4, 8)]) > dense_reach(stacks[(1,)]) > dense_reach(stacks[(8,)])
# %% [markdown]
# Read it: rate 8 alone reaches far but has blind spots next to the middle; rate 1 alone has none but is short-sighted.
# Mixed,
# the view is as wide as that of rate 8 and closed more than three times as far as that of rate 1; near pixels count most.
#
# ## 2.3 The gated residual: change the hole, keep the rest
# A residual block adds: $y = x_1 + x_2$, everywhere. In a network with a hole in its input, that disturbs features that
# were right. The AOT block blends instead,
# $$ y = x_1 \odot g + x_2 \odot (1 - g), \qquad g = \sigma(\mathrm{conv}(x_1)), $$
# with a gate $g$ for every channel and position. Let us take pixels for features to see it: $x_1$ is a photograph with
# a hole, $x_2$ a guess made from the surroundings, and $g$ is what a trained gate should find: 1 where the picture is
# known, 0 in the hole.
# %%
picture = InpaintingDataset([Path(data_dir, "test", photograph)], size=size, seed=seed, mask_ratio=0.2, augment=False)[0]
x, m = picture["image"][None], picture["mask"][None]
known, weight = x * (1 - m), 1 - m
guess, window = torch.zeros_like(x), torch.zeros_like(m)
for rate in (1, 2, 4, 8, 16, size // 4):  # means of known pixels in ever larger windows, the small ones counting more
    area = {"kernel_size": 2 * rate + 1, "stride": 1, "padding": rate}
    guess = guess + F.avg_pool2d(known, **area) / rate
    window = window + F.avg_pool2d(weight, **area) / rate
guess = guess / window.clamp_min(1e-6)
gate = 1 - m
added, blended = known + guess, known * gate + guess * (1 - gate)
# %%
def error(result):
    return ((result.clamp(-1, 1) - x).abs() * (1 - m)).sum().item() / ((1 - m).sum().item() * 3) / 2


shown = [figures.show_holes(x, m), guess, added.clamp(-1, 1), blended]
captions = ["", *[f"known pixels off by {error(result):.3f}" for result in shown[1:]]]
fig = figures.grid([[s[0] for s in shown]], ["$x_1$, hole marked", "$x_2$", "$x_1 + x_2$", "gated"], [captions])
figures.save(fig, f"{out_dir}/figures", "gated_residual")
plt.show()
# %% [markdown]
# Read it: the sum repaints the whole picture; the gate changes the hole only and leaves the known pixels exactly as they
# were.
#
# ## 2.4 Two gates: the paper's and the released code's
# The paper's figure shows a convolution and a sigmoid. The released code standardises the convolution's output over all
# positions of a channel first, times 10, minus 5, and lets the gate weight the *new* feature. Both are in
# `aotlib.blocks.gate_update`, which returns the share of the new feature.
#
# **Guess**: with random weights, which gate is undecided (near 0.5), and which is nearly always open or shut?
# %% tags=["nbval-check-output"]
features = F.relu(torch.randn(1, 256, 32, 32))
logits = block.gate(F.pad(features, (1,) * 4, mode="reflect")).detach()
update = {recipe: gate_update(logits, recipe) for recipe in ("paper", "released")}
for recipe, share in update.items():
    shut, open_ = ((share < 0.01).double().mean().item(), (share > 0.99).double().mean().item())
    print(f"{recipe:>8}: mean {share.mean():.2f}, shut (< 0.01) {shut:4.0%}, open (> 0.99) {open_:4.0%}")
before = standardise(logits)
mean, std = before.mean().item(), before.std(dim=(2, 3)).mean().item()
assert abs(mean + 5) < 1e-3 and abs(std - 10) < 1e-3
print(f"released, before its sigmoid: mean {mean:.2f}, standard deviation {std:.2f}")
# %% [markdown]
# Read it: the released gate is shut at half of the positions and wide open at a sixth of them, whatever the scale and
# offset of its input, because it is measured against the channel's own mean (the shares are those of bell-shaped
# features). It sees the whole map, so that a picture cut into tiles comes out differently; the paper's gate is local.
#
# ## 2.5 Count it: parameters and arithmetic
# A $k \times k$ convolution from $a$ to $b$ channels has $k^2 a b + b$ parameters and makes $k^2 a b$ multiply-adds for
# every output pixel.
# %% tags=["nbval-check-output"]
def conv(k, a, b):
    return k * k * a * b + b


by_hand = {
    "encoder": conv(7, 4, 64) + conv(4, 64, 128) + conv(4, 128, 256),
    "8 blocks": 8 * (4 * conv(3, 256, 64) + 2 * conv(3, 256, 256)),
    "decoder": conv(3, 256, 128) + conv(3, 128, 64) + conv(3, 64, 3),
}
generator = Generator(seed=seed)
counted = [sum(p.numel() for p in part.parameters()) for part in (generator.encoder, generator.blocks, generator.decoder)]
assert list(by_hand.values()) == counted and sum(counted) == 15_200_835
print(f"generator: {by_hand} = {sum(counted):,} parameters")
print(f"discriminator: {sum(p.numel() for p in Discriminator().parameters()):,} parameters")
# %% tags=["nbval-check-output"]
def macs(side):
    """Multiply-adds of one image, counted by torch while the network runs on empty ('meta') tensors."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        Generator()(torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side))
    return counter.get_total_flops() / 2


encoder = 256**2 * 49 * 4 * 64 + 128**2 * 16 * 64 * 128 + 64**2 * 16 * 128 * 256
blocks = 8 * 64**2 * 9 * (256 * 256 + 2 * 256 * 256)
decoder = 9 * (128**2 * 256 * 128 + 256**2 * 128 * 64 + 256**2 * 64 * 3)
assert encoder + blocks + decoder == macs(256)
cost = pd.DataFrame({"side / px": [256, 512, 1024], "GMAC": [round(macs(s) / 1e9, 3) for s in (256, 512, 1024)]})
tables.write(cost, f"{out_dir}/tables", "cost")
print(cost.to_string(index=False))
# %% [markdown]
# Read it: four fifths of the arithmetic is in the blocks, and twice the side costs four times as much.
#
# ## 2.6 How far it sees
# Walk from the output back to the input. A 3x3 convolution of rate $r$ widens the view by $2r$ positions. Going back
# through x2 up-sampling, $n$ pixels are an interval $(n - 1) / 2$ steps long on the coarse map, which ends between grid
# points and so leans on $\lfloor (n - 1) / 2 \rfloor + 2$ positions.
# %% tags=["nbval-check-output"]
view = 1 + 2 + 2  # pixels: the last two convolutions
view = (view - 1) // 2 + 2  # positions of the half-size map
view += 2  # the convolution there
view = (view - 1) // 2 + 2  # positions of the quarter-size map (for every second pixel one more)
view += 8 * 2 * (max(rates) + 1)  # eight blocks: widest branch and fusion
field = 4 * (view - 1) + 1  # back to pixels, 4 apart
field += 2 * (4 - 1) + (4 - 1) + (7 - 1)  # the encoder: two 4x4 convolutions of stride 2, one 7x7
assert field == 604
print(f"{view} positions of the quarter-size map, {field} px of the image")
# %% [markdown]
# Read it: each output pixel sees a square of 604 px (608 for every second one), more than the 512 px image
# that the paper trains on. The number says what *can* matter; 2.2 shows that near pixels matter more.
# %%
hole_changes = (composite(blended, x, m) - x).abs() * (1 - m)
runs.finish(
    out_dir,
    {"parameters": sum(counted), "gmac_256": macs(256) / 1e9, "receptive_field_px": field,
     "known_error_added": error(added), "known_error_gated": hole_changes.max().item(),
     "released_gate_shut": (update["released"] < 0.01).double().mean().item()},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - Splitting a convolution over dilation rates costs no weights; fusing the branches closes the gaps between their taps.
# - The gate blends per channel and position. Paper: a plain sigmoid, local. Released code: standardised, global.
# - 15.2 million parameters, 72.9 GMAC at 256 px, a view of 604 px.
#
# Next: [3 · Discriminator](03_discriminator.ipynb), which decides what the generator is praised for.
