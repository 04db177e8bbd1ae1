# %% [markdown]
# # 1 · Data: what the network is given
# **You will** look at the photographs and their splits, draw holes of an exact size, and see the four channels that enter
# the network.
# **Needs** Python and a little PyTorch. **Takes** 15 s on a CPU.
#
# Inpainting: a photograph $x$, a mask $m$ with **1 = hole**, and something believable to be painted into the hole. One
# convention holds in this whole suite: images are RGB in [-1, 1], masks are 0 (known) or 1 (hole).
# %% tags=["parameters"]
seed = 0  # of masks, crops, flips and colours
size = 128  # side of a sample, pixels
n_masks = 4  # masks in every bucket
data = "samples"  # samples, places2, celebahq, openlogo, or a folder
data_dir = "../data/samples"  # where the data set is
out_dir = "../results/notebook/01_data"  # figures, tables and metrics.json go here
# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.utils.data import DataLoader

from aotlib import figures, runs, tables
from aotlib.data import InpaintingDataset, SampleOrder, dataset_files
from aotlib.images import image_size
from aotlib.masks import BUCKET_NAMES, BUCKETS, bucket_of, composite, hole_ratio, irregular_mask, touches_frame

figures.style(inline="jpeg")
# %% [markdown]
# ## 1.1 Three splits, kept apart
# A network is trained on `train`, watched on `val` while it trains, and judged once on `test`.
#
# **Guess**: why is it not enough that the *files* differ; what else must two splits not share?
# %% tags=["nbval-check-output"]
files = {split: dataset_files(data, data_dir, split) for split in ("train", "val", "test")}
sides = {split: [image_size(path) for path in paths] for split, paths in files.items()}
rows = [(split, len(s), min(min(a) for a in s), max(max(a) for a in s)) for split, s in sides.items()]
splits = pd.DataFrame(rows, columns=["split", "photographs", "shortest side / px", "longest side / px"])
tables.write(splits, f"{out_dir}/tables", "splits")
assert not set(files["train"]) & set(files["test"])
print(splits.to_string(index=False))
# %% [markdown]
# Two photographs of one scene must not stand on two sides, or the network is asked what it has seen. The embedded
# photographs come with author and licence in `data/samples/samples.csv`; `data/README.md` says how to get Places2,
# CelebA-HQ and OpenLogo.
# %%
test = InpaintingDataset(files["test"], size=size, seed=seed, augment=False)
shown = [test[i] for i in range(min(5, len(test)))]
fig = figures.grid([[sample["image"] for sample in shown]], [sample["name"] for sample in shown])
figures.save(fig, f"{out_dir}/figures", "photographs")
plt.show()
# %% [markdown]
# Read it: photographs of the test split as they are judged, the largest square in the middle of each, brought to one
# size. No training step ever sees them.
#
# ## 1.2 Holes of an exact size
# How hard a hole is depends first on its share of the picture. The paper therefore reports six buckets, each open on the
# left and closed on the right: (0.01, 0.1], (0.1, 0.2] ... (0.5, 0.6].
#
# `irregular_mask` draws strokes, boxes and blobs until the wanted share is exceeded, and keeps of the last shape only
# the pixels nearest to where it began.
#
# **Guess**: how far from the wanted share is a mask of 128 x 128 px at worst?
# %% tags=["nbval-check-output"]
wanted = 0.25
drawn = [irregular_mask(size, wanted, seed=seed, index=i) for i in range(20)]
off = max(abs(m.mean().item() - wanted) for m in drawn)
assert off <= 0.5 / size**2
print(f"20 masks of 25 %, the worst is off by {off * size**2:.1f} pixels")
again = irregular_mask(size, wanted, seed=seed, index=7)
print("mask 7 drawn again is the same:", torch.equal(again, drawn[7]), "| and unlike mask 8:", not torch.equal(again, drawn[8]))
# %%
masks = {
    name: torch.stack([irregular_mask(size, bucket, seed=seed, index=i) for i in range(n_masks)])
    for bucket, name in zip(BUCKETS, BUCKET_NAMES)
}
rows = [[masks[name][i] for name in BUCKET_NAMES] for i in range(min(3, n_masks))]
captions = [[f"{masks[name][i].mean():.1%}" for name in BUCKET_NAMES] for i in range(len(rows))]
fig = figures.grid(rows, BUCKET_NAMES, captions)
figures.save(fig, f"{out_dir}/figures", "masks")
plt.show()
# %% [markdown]
# Read it: white is hole. Each column is a bucket, each mask has its measured share beneath; within a bucket the share is
# drawn evenly.
# %% tags=["nbval-check-output"]
rows = []
for name, batch in masks.items():
    ratio = hole_ratio(batch)
    assert all(bucket_of(r.item()) == name for r in ratio)
    rows.append((name, len(batch), touches_frame(batch).double().mean().item()))
buckets = pd.DataFrame(rows, columns=["hole", "masks", "share that touches the frame"])
tables.write(buckets, f"{out_dir}/tables", "buckets")
print(buckets.round(2).to_string(index=False))
# %% [markdown]
# A hole at the frame is harder: known pixels stand on one side of it only. Large holes nearly always touch it.
#
# ## 1.3 What the network sees
# $$ \mathrm{input} = [\,x \odot (1 - m),\; m\,] $$
# Four channels: three of the picture, where the hole is painted with a constant, and the mask. The paper's formula leaves
# 0, mid-grey; the released code paints +1, white. The mask channel tells a white wall from a hole.
# %%
x = shown[0]["image"]
m = masks[BUCKET_NAMES[2]][0]
paper, released = x * (1 - m), x * (1 - m) + m
fig = figures.grid([[x, m, paper, released]], ["photograph $x$", "mask $m$", "input (paper)", "input (released)"])
figures.save(fig, f"{out_dir}/figures", "input")
plt.show()
# %% [markdown]
# Read it: one photograph, one mask, and what the two recipes leave of them for the network. White in the mask is hole.
#
# ## 1.4 What comes back
# Only the hole is taken from a prediction $\hat x$; the rest is the photograph, untouched:
# $$ z = x \odot (1 - m) + \hat x \odot m. $$
#
# **Guess**: take $\hat x = 0$. By how much do the known pixels change: exactly 0, or about 0?
# %% tags=["nbval-check-output"]
z = composite(torch.zeros_like(x)[None], x[None], m[None])
change = ((z - x) * (1 - m)).abs().max().item()
assert change == 0
print("largest change of a known pixel:", change)
try:
    composite(torch.zeros_like(x)[None], x[None], m[None] / 255)
except ValueError as error:
    print("refused:", str(error).splitlines()[0])
# %% [markdown]
# Exactly 0: multiplying by 0 and 1 rounds nothing. The second call is a fault of the released code, whose centre masks
# hold 1/255 in the hole: 0.4 % opaque, a network trained on pictures that are hardly masked at all.
#
# ## 1.5 A training sample is a function
# Crop, flip, colour and mask of sample $i$ in epoch $e$ depend on (seed, $e$, $i$) alone. Not on the order, nor on how
# many processes read, nor on what was drawn before.
# %% tags=["nbval-check-output"]
train = InpaintingDataset(files["train"], size=size, seed=seed, mask_ratio=(0.01, 0.5))
order = SampleOrder(len(train), seed=seed)
batches = [next(iter(DataLoader(train, 4, sampler=order, num_workers=n))) for n in (0, 2)]
same = all(torch.equal(batches[0][key], batches[1][key]) for key in ("image", "mask"))
assert same and not torch.equal(train[0, 0]["image"], train[1, 0]["image"])
print("no worker or two, the same first batch:", same)
# %%
epochs = [train[epoch, 0] for epoch in range(5)]
pictures = [figures.show_holes(sample["image"], sample["mask"]) for sample in epochs]
fig = figures.grid([pictures], [f"epoch {epoch}" for epoch in range(5)])
figures.save(fig, f"{out_dir}/figures", "augmentation")
plt.show()
# %% [markdown]
# Read it: one photograph in five epochs; another crop, perhaps mirrored, slightly other colours, another hole.
# %%
runs.finish(
    out_dir,
    {"photographs": {split: len(paths) for split, paths in files.items()}, "worst_mask_error_px": off * size**2,
     "known_pixel_change": change, "same_for_any_number_of_workers": same},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - Mask 1 = hole, images in [-1, 1], composite before you judge.
# - Buckets by the share of the hole; masks that hit their share exactly.
# - Every random choice is a function of (seed, epoch, index).
#
# Next: [2 · Generator](02_generator.ipynb), which fills the hole.
