# %% [markdown]
# # 6 · Evaluation: what a fill is worth
# **You will** fill held-out photographs with several methods, measure each fill in several ways, put an interval on every
# number, find out which differences are more than chance, and look at the best, the middle and the worst.
# **Needs** notebook 5. **Takes** 30 s on a CPU.
# %% tags=["parameters"]
data = "samples"  # samples, places2, celebahq, openlogo, or a folder
split = "test"  # not looked at while training; for Places2 papers report on val, so the profile paper does
size = 64  # side of the pictures, pixels
masks = ""  # folder of mask files whose holes are white; empty: generated masks
n_images = 6  # photographs in every bucket; the same ones in each
seed = 0  # of the masks and of the bootstrap
fid_dims = 768  # Inception features of FID: 2048 as in papers, 768, 192 or 64 where only a part is at hand; 0: none
download = False  # whether missing weights of the metrics' networks may be downloaded
run_dir = "../results/notebook/05_training"  # a finished training run
demo = "../data/weights/aotgan_demo.safetensors"  # weights of a longer run that come with the suite; empty: none
data_dir = "../data/samples"  # where the data set is
out_dir = "../results/notebook/06_evaluation"  # figures, tables and metrics.json go here
# %%
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from aotlib import evaluate, figures, intervals, manifest, metrics, panels, profiles, runs, tables
from aotlib.blending import blend
from aotlib.classical import CLASSICAL
from aotlib.config import TrainConfig
from aotlib.data import dataset_files
from aotlib.hardware import pick_device
from aotlib.images import common_folder, to_float
from aotlib.masks import BUCKET_NAMES, BUCKETS, composite, hole_ratio, load_masks
from aotlib.selection import spread_evenly
from aotlib.train import train
from aotlib.weights import load_generator, read_card

figures.style(inline="jpeg")
# %%
weights = Path(run_dir, "generator_ema.safetensors")
if not weights.exists() and run_dir == "../results/notebook/05_training":  # this notebook on its own
    print("no finished run yet: making the smallest one that notebook 5 describes, which learns next to nothing")
    train(TrainConfig(**profiles.load_profile("smoke")["05_training"]), run_dir)
device, card = pick_device("auto"), read_card(weights)
fills = {"AOT-GAN, this run": evaluate.network_fill(load_generator(weights).to(device))}
best = "AOT-GAN, this run"  # whose fills are looked at below
if demo:
    pretrained, best = load_generator(demo).to(device), "demo weights, blended"
    fills["AOT-GAN, demo weights"] = evaluate.network_fill(pretrained)
    fills[best] = evaluate.network_fill(pretrained, seams="blended")
fills |= CLASSICAL
# %% [markdown]
# ## 6.1 Who gets which hole
# A comparison is fair when every method fills the same holes in the same photographs. So they are written down first, in a
# *manifest*: for each of the six buckets by the share of the hole, (0.01, 0.1] to (0.5, 0.6], every photograph with one
# mask, the SHA-256 of both, and the share measured at this size. With the file, anybody can judge another method by the
# same pairs; with a changed photograph it refuses.
#
# **Guess**: another seed makes another manifest. Does it have the same photographs in each bucket? The same masks?
# %% tags=["nbval-check-output"]
files = spread_evenly(dataset_files(data, data_dir, split), n_images)  # folders are often sorted by class
root = common_folder(files) or data_dir  # shards know their names
mask_files = load_masks(masks) if masks else []
plan = manifest.make(files, size=size, masks=mask_files, seed=seed, files_root=root)
manifest.write(plan, f"{out_dir}/tables/manifest.csv", size=size, seed=seed)
other = manifest.make(files, size=size, masks=mask_files, seed=seed + 100, files_root=root)
print("rows:", len(plan), "=", plan.bucket.nunique(), "buckets x", plan.image.nunique(), "photographs")
print("another seed: same photographs", (plan["image"] == other["image"]).all(), "| same masks", (plan["mask_sha256"] == other["mask_sha256"]).all())
assert (plan.groupby("bucket").image.nunique() == len(files)).all()
# %% [markdown]
# ## 6.2 From network to picture
# The result is the composite $z = x \odot (1 - m) + \hat x \odot m$, rounded to 8 bits. Rounding, not cutting off: the
# released code truncates, which lowers about a quarter of the known values by one level.
#
# **Guess**: how many known pixels does rounding change?
# %%
def holes(bucket):
    return manifest.cases(plan, root, masks or None, size=size, bucket=bucket)


some = list(islice(holes(BUCKETS[2]), 8))  # of 20 to 30 %
# %% tags=["nbval-check-output"]
truth_u8, m = (torch.stack([getattr(case, part) for case in some]) for part in ("picture_u8", "mask"))
result_u8 = torch.stack([case.filled(fills[best]) for case in some])  # what is under a hole is hidden before
changed = ((result_u8 != truth_u8) & (m == 0)).sum().item()
truncated = ((to_float(truth_u8) + 1) / 2 * 255).to(torch.uint8)  # as the released code converts
print("known values changed by rounding:", changed)
print(f"known values changed by truncation: {(truncated != truth_u8).double().mean():.0%}")
assert changed == 0
# %% [markdown]
# ### The seam
# A network that redraws the known pixels a little too bright is too bright in the hole, too, and the composite has a step
# along the hole's border. *Poisson blending* carries the error that is known on the border on into the hole, as smoothly
# as can be, and takes it off: $f$ with $\Delta f = 0$ in the hole and $f = x - \hat x$ around it. The paper does not do
# this, so it stands in the tables as a method of its own, *blended*.
#
# **Guess**: a prediction is 0.2 too bright everywhere. How wrong is its composite, how wrong the blended one?
# %% tags=["nbval-check-output"]
x = to_float(truth_u8) / 2  # half the contrast, so that 0.2 more does not leave [-1, 1]
for name, join in (("composite", composite), ("blended", blend)):
    print(f"{name}: largest error {(join(x + 0.2, x, m) - x).abs().max():.3f}")
# %% [markdown]
# A constant error is gone, and much of every error that changes smoothly. What the network does not know stays unknown.
#
# ## 6.3 Three measures of a picture
# With $x$ the truth and $z$ the result, both in 0 ... 255:
# $$ \ell_1 = \mathrm{mean}\,\frac{|x - z|}{255}, \qquad \mathrm{PSNR} = 10 \log_{10} \frac{255^2}{\mathrm{mean}\,(x - z)^2}
#    \ \mathrm{dB}, $$
# and SSIM, which compares means, variances and covariance in 11x11 px Gaussian windows. Known pixels are right by
# construction, so that a number for the *whole picture* mostly says how small the hole was.
#
# **Guess**: the hole is about a quarter of the picture. By how many dB is the PSNR in the hole lower than that of the
# whole?
# %% tags=["nbval-check-output"]
scores = metrics.measure(result_u8, truth_u8, m)
gap = scores["psnr"] - scores["hole_psnr"]
assert (gap + 10 * torch.log10(hole_ratio(m))).abs().max() < 1e-5
for ratio, one in zip(hole_ratio(m).tolist(), gap.tolist()):
    print(f"hole of {ratio:.3f}: PSNR of the whole minus PSNR of the hole is {one:.2f} dB = -10 log10({ratio:.3f})")
# %% [markdown]
# That is why the paper, and we, report six buckets; and why L1, PSNR and SSIM in the hole alone stand beside them.
#
# One name, two numbers: the released evaluation script calls $\sum |x - z| / \sum (x + z)$ its L1, and takes SSIM in flat
# 7x7 windows. **Guess**: of the same fills, which L1 is larger?
# %%
for one, two in (("l1", "relative_l1"), ("ssim", "ssim_released")):
    a, b = scores[one].mean().item(), scores[two].mean().item()
    print(f"{metrics.about(one).label} {a:.4f}   {metrics.about(two).label} {b:.4f}")
# %% [markdown]
# Neither is wrong, but a table that mixes them is. Here each variant has its own name.
#
# ## 6.4 How sure is a mean?
# Other photographs would have given another mean. The *bootstrap* asks by how much: draw as many photographs as there are,
# with replacement, take the mean, and again, 2,000 times. The middle 95 % of these means is an interval.
#
# **Guess**: with four times as many photographs, how much narrower is it?
# %% tags=["nbval-check-output"]
rng = np.random.default_rng(seed)
for n in (10, 40, 160):
    values = rng.normal(size=n)
    values = 26 + 3 * (values - values.mean()) / values.std()  # made-up PSNR: mean 26 dB, spread 3 dB
    means = rng.choice(values, (2000, n)).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    ours = intervals.mean_interval(values)
    print(f"n = {n:3}: by hand {high - low:.1f} dB wide, by the library {ours.high - ours.low:.1f} dB")
# %% [markdown]
# Half as wide: the width goes with $1/\sqrt{n}$. The library corrects the ends for skew (BCa). Every number below has such
# an interval, and says on how many photographs it rests.
#
# ## 6.5 The table
# The network of notebook 5; the weights that come with the suite, from a longer run on other photographs
# ([their card](../data/weights/README.md)), as they are and blended; and three fills that need no training: Telea's,
# Navier-Stokes, and the mean colour.
# %%
measures = evaluate.Measures(fid_dims, download=download, cache=Path(out_dir).parent / "features.sqlite", device=device)
images, summary, unavailable = evaluate.judge(fills, plan, root, masks or None, size=size, measures=measures, data=data, seed=seed)
images.to_csv(Path(out_dir, "tables", "images.csv"), index=False)
summary.to_csv(Path(out_dir, "tables", "summary_long.csv"), index=False)
spreads = {metric: tables.spread(summary, metric) for metric in summary.metric.unique()}
for metric, table in spreads.items():
    tables.write(table, f"{out_dir}/tables", metric)
short = pd.concat([spreads[key].assign(metric=metrics.about(key).label) for key in ("psnr", "ssim")])
tables.write(short[["method", "metric", *BUCKET_NAMES, "n"]], f"{out_dir}/tables", "summary")
for reason in dict.fromkeys(unavailable.values()):
    names = ", ".join(key.upper().replace("_", "-") for key, why in unavailable.items() if why == reason)
    print(f"{names}: not available: {reason}")
tables.spread(summary, "psnr", bold=False)
# %%
tables.spread(summary, "hole_l1", bold=False)
# %% tags=["nbval-check-output"]
by_method = summary.pivot(index=["method", "bucket"], columns="metric", values="mean")
of_psnr = summary[(summary.metric == "psnr") & (summary.bucket != "all")]
assert (of_psnr.n + of_psnr.n_infinite == len(files)).all()  # an exact fill has an infinite PSNR, and is left out
print("buckets x methods:", len(by_method) - len(fills), "| photographs in each:", len(files))
floor = by_method.l1["mean colour"][list(BUCKET_NAMES)]
print("L1 of the whole picture grows with the hole:", floor.is_monotonic_increasing)
# %%
every = [key for key in summary.metric.unique() if not key.startswith(("relative", "ssim_released"))]
note = f"feature network in the training of this run: {card['features']}"
figures.save(panels.every_metric(summary, ["psnr"], width=figures.COLUMN, note=note), f"{out_dir}/figures", "psnr_one_column")
plt.close()  # the same numbers for one column of a paper
fig = panels.every_metric(summary, every, note=note)
figures.save(fig, f"{out_dir}/figures", "buckets")
plt.show()
# %% [markdown]
# Read it: bands are 95 % intervals over photographs. With few photographs they are wide, and still too short: below 30,
# read them as a lower bound of what is not known. The mean colour is a floor,
# not a rival: a method whose curve lies on it has learnt nothing. So it is with the 40 steps behind the committed
# notebook. The classical fills carry the border's colours inwards, smoothly, and are hard to beat where holes are small.
#
# ## 6.6 More than chance?
# Two bands may overlap while one method is better on *every* photograph: what counts is the difference on the same
# photograph. So the differences are drawn again, not the values. And because many comparisons find a difference somewhere
# by luck, their p-values are corrected together (Holm).
#
# **Guess**: intervals of two methods overlap. Can their difference be significant?
# %%
from aotlib import comparison

versus = comparison.compare(images, "psnr", to=best, seed=seed)
tables.write(versus, f"{out_dir}/tables", "psnr_differences")
versus[["method", "bucket", "difference", "low", "high", "p_holm", "significant"]].round(3)
# %% [markdown]
# A difference is *the other method minus* the one compared with, in dB; its interval leaves 0 out where it is significant
# before the correction. In the committed notebook, with six photographs, no row is, however large the difference. And the
# guess? With made-up PSNR of twelve photographs, and a second method that is half a dB better on each:
# %% tags=["nbval-check-output"]
easy = np.linspace(20, 32, 12)
twins = pd.DataFrame({"one": easy, "two": easy + 0.5 + 0.1 * np.sin(np.arange(12))}).rename_axis("image").reset_index()
twins = twins.melt(id_vars="image", var_name="method").assign(data="made up", bucket="1-10 %", metric="psnr")
for name, rows in twins.groupby("method"):
    ends = intervals.mean_interval(rows.value.to_numpy())
    print(f"{name}: {ends.low:.1f} to {ends.high:.1f} dB")
print("significant:", comparison.compare(twins, "psnr", to="one").significant.item())
# %% [markdown]
# Yes: the photographs differ by twelve dB, the methods on one photograph by a half, and only the latter counts.
#
# ## 6.7 Sets of pictures: FID and its relatives
# L1 and PSNR punish a believable fill that is not the truth. FID asks something else: do the *sets* of fills and of
# photographs look alike to an Inception network? With the means and covariances of its features,
# $$ \mathrm{FID} = \|\mu_1 - \mu_2\|^2 + \mathrm{tr}\,\big(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}\big). $$
# It needs the network's true weights (without them there is no number, under any name), the same layer and as many
# pictures: with few it is far too high.
#
# **Guess**: two sets of random numbers, all from *one* distribution of 64 dimensions. Their distance is?
# %% tags=["nbval-check-output"]
from aotlib import distances

for n in (100, 500, 2000):
    one, two = rng.normal(size=(2, n, 64))
    print(f"n = {n:4}: Fréchet {distances.frechet_distance(one, two):5.2f}   KID {distances.kernel_distance(one, two):.1g}")
# %% [markdown]
# Not zero, but about $d^2 / 2n$: with one number of pictures, never compare with another. KID has no such bias between
# independent sets. Fills and *their own* photographs are no such sets: both numbers are lower there, KID even below 0. P-IDS
# and U-IDS (how often a linear separator takes a fill for a photograph) need hundreds of pictures, and are refused for fewer.
#
# ## 6.8 Look at it
# Numbers cannot see a seam. Which fills are shown is a rule: the best, the median and the worst of one method in the bucket
# 20-30 %, by LPIPS where it can be had, else by L1 in the hole. Nobody chose them.
# %%
from aotlib import gallery

rule = "lpips" if "lpips" in set(images.metric) else "hole_l1"
found = gallery.spread_of(images, method=best, metric=rule, bucket=BUCKET_NAMES[2])
by_name = {case.name: case for case in holes(BUCKETS[2]) if case.name in {one.image for one in found}}
columns = [method for method in fills if method not in ("mean colour", "Telea")]
pictures, captions = [], []
for one in found:
    case = by_name[one.image]
    filled = [case.filled(fills[method]) for method in columns]
    psnr = [metrics.psnr(z[None], case.picture_u8[None]).item() for z in filled]
    pictures.append([figures.show_holes(to_float(case.picture_u8), case.mask), *map(to_float, [*filled, case.picture_u8])])
    captions.append([f"{one.place}: {metrics.about(rule).label} {one.value:.3f}", *[f"{value:.1f} dB" for value in psnr], case.name])
titles = {"AOT-GAN, this run": f"this run (features: {card['features']})", "AOT-GAN, demo weights": "demo weights"}
heads = [f"input (chosen by {best})", *[titles.get(method, method) for method in columns], "truth"]
fig = figures.grid(pictures, heads, captions)
figures.save(fig, f"{out_dir}/figures", "filled")
plt.show()
# %% [markdown]
# Read it: are the colours those of the surroundings? Do edges go on into the hole? Is there a seam? At the committed size
# of this notebook *this run* has hardly learnt; `make reproduce` trains a larger one.
#
# ### Where the error is
# The same fills: the error at every pixel, and the square in which it is largest, enlarged.
# %%
pictures, captions, top, side = [], [], 0.4, size // 4
for one in found:
    case = by_name[one.image]
    result = case.filled(fills[best])
    error = gallery.error_map(result, case.picture_u8)
    corner = gallery.busiest(error, side)
    insets = [gallery.enlarged(picture, corner, side) for picture in (result, case.picture_u8)]
    pictures.append([to_float(result), gallery.heat(error, top), *insets])
    captions.append([f"{one.place}", f"mean in the hole {error[case.mask > 0].mean():.3f}", f"{side} px square", "its truth"])
fig = figures.grid(pictures, [f"fill: {best}", f"error, 0 (dark) to {top} (bright)", "where it is largest", "truth there"], captions)
figures.save(fig, f"{out_dir}/figures", "errors")
plt.show()
# %% [markdown]
# Read it: errors sit where the hole is deepest and where there was an edge or a texture; smooth regions are easy.
#
# ### The failures
# The worst fills of all buckets, one a photograph. A paper rarely shows them; they say most about a method.
# %%
pictures, captions = [], []
for one in gallery.failures(images, method=best, metric=rule, n=3):
    case = next(case for case in holes(BUCKETS[BUCKET_NAMES.index(one.bucket)]) if case.name == one.image)
    x = to_float(case.picture_u8)
    pictures.append([figures.show_holes(x, case.mask), to_float(case.filled(fills[best])), x])
    captions.append([one.bucket, f"{metrics.about(rule).label} {one.value:.3f}", case.name])
fig = figures.grid(pictures, ["input", titles.get(best, best), "truth"], captions)
figures.save(fig, f"{out_dir}/figures", "failures")
plt.show()
# %% [markdown]
# Read it: large holes, and structure that the surroundings do not tell.
#
# ## 6.9 Your own method in this table
# Four commands; `results` is the folder of this notebook's results:
# ```
# aotlib cases samples --manifest results/tables/manifest.csv --out cases      # the holes of this table, as files
# # fill the pictures in cases/input with any program, into cases/result, under the same names
# aotlib evaluate --truth cases/truth --result cases/result --masks cases/masks --name mine --images mine.csv
# aotlib compare results/tables/images.csv mine.csv --to mine                   # one table, and which differences are real
# ```
# Files are matched by name; what is missing, too many, or of another size is listed, never guessed.
# %%
mean_over_buckets = summary[summary.bucket != "all"].groupby(["metric", "method"])["mean"].mean()
runs.finish(
    out_dir,
    {"features": card["features"], "n_images": len(files), "known_values_changed": changed, "not_available": unavailable}
    | {metric: dict(mean_over_buckets[metric]) for metric in ("psnr", "ssim", "hole_l1")},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - Score the composite, in 8 bits, rounded; say which L1, which SSIM, and how large the hole was.
# - Whole-picture numbers measure the hole's size first; hole-only numbers measure the fill.
# - Same photographs and masks for every method, an interval on every number, and the difference on the same photograph.
# - FID needs its true network and many pictures, and compares only with the same number of them.
