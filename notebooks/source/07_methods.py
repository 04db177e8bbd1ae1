# %% [markdown]
# # 7 · Methods: what each added to the one before
# **You will** see on photographs what eight methods before AOT-GAN thought of, one idea each, then let all of them, trained on
# the same photographs for the same number of steps, fill the same holes, and put quality beside cost.
# **Needs** notebooks 2 to 6. **Takes** two minutes on a CPU.
# %% tags=["parameters"]
data = "samples"  # samples, places2, celebahq, openlogo, or a folder
split = "test"  # not looked at while training
size = 64  # side of the pictures that are judged, pixels
drawn_size = 128  # side of the pictures that are drawn
masks = ""  # folder of mask files whose holes are white; empty: generated masks
n_images = 4  # photographs in every bucket; the same ones in each
seed = 0  # of the masks and of the bootstrap
features = "random"  # network in which MNPS compares patches: auto, vgg19, vgg19_conv3 or random
feature_width = 8  # channels of the random network's first layer
patches = {"scales": 2, "iterations": 10}  # of MNPS; the paper makes hundreds of iterations at each of 3 scales
fid_dims = 768  # Inception features of FID: 2048 as in papers, 768, 192 or 64 where only a part is at hand; 0: none
download = False  # whether missing weights of the metrics' networks may be downloaded
method_runs = {}  # folders of finished runs of notebook 5, by method; empty: the smallest ones are made
weights_dir = "../data/weights/methods"  # weights of longer runs, for the drawings
compared_dir = "../results/reference/methods"  # tables of a longer comparison
data_dir = "../data/samples"  # where the data set is
out_dir = "../results/notebook/07_methods"  # figures, tables and metrics.json go here
# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from aotlib import comparison, contest, evaluate, figures, gallery, inside, manifest, metrics, panels, runs, tables
from aotlib.baselines.hifill import aggregate, aggregate_residual, residual
from aotlib.classical import FLOORS
from aotlib.data import dataset_files
from aotlib.features import load_features
from aotlib.hardware import pick_device
from aotlib.images import centred, common_folder, read_image, to_float
from aotlib.masks import BUCKET_NAMES, BUCKETS, boxes_to_mask, composite, load_masks
from aotlib.methods import METHODS, n_parameters
from aotlib.selection import spread_evenly
from aotlib.weights import read_card

figures.style(inline="jpeg")
device = pick_device("auto")
network = load_features(features, seed=seed, width=feature_width).to(device)
# %% [markdown]
# ## 7.1 Eight methods and AOT-GAN
# All take a picture $x$ in [-1, 1] and a mask $m$ with 1 = hole, and predict every pixel; `aotlib.methods.METHODS` builds them,
# each with the layers of its own paper, in `aotlib/baselines/`. What a paper calls *CA* is Contextual Attention (2018), also
# known as DeepFill v1; some texts mistake it for Context Encoders (2016), so both are here.
#
# **Guess**: which method has the most parameters, and which needs the most arithmetic for a picture of 256 px?
# %% tags=["nbval-check-output"]
rows = []
for method in METHODS.values():
    rows.append((method.label, f"{method.venue} {method.year}", method.parameters / 1e6, method.macs(256) / 1e9))
about = pd.DataFrame(rows, columns=["method", "published", "parameters (M)", "GMAC at 256 px"]).round(2)
tables.write(about, f"{out_dir}/tables", "methods")
print(about.to_string(index=False))
# %% [markdown]
# At the papers' widths, counted here: the Context Encoder has the most parameters, and needs next to no arithmetic, as it makes
# the picture small at once; EdgeConnect's two networks and AOT-GAN, which keep a quarter of its side, need the most. MNPS has the
# Context Encoder's network and then searches, hundreds of times a picture, through VGG19, which is not counted.
#
# Where the authors' weights are, and whether our layers take them (the files themselves were not at hand):
# %%
for method in METHODS.values():
    print(f"{method.label} ({method.licence}): {method.weights}")
# %% [markdown]
# ## 7.2 On one photograph
# The drawings use small versions of all networks, trained by `data/compare_methods.py` for equal times. The ideas show; the
# quality is not the papers'.
# %%
files = dataset_files(data, data_dir, split)
drawn = contest.networks(contest.weights_in(weights_dir), device=device, features=network, patches=patches)
account = contest.account_in(compared_dir)
print(f"weights: {account['budgets']['minutes']:g} minutes each, {account['device']}; MNPS searches in: {network.name}")


def photograph(side, path):
    return to_float(centred(torch.from_numpy(read_image(path)).permute(2, 0, 1), side))[None].to(device)


def look(name, image, mask):
    with torch.no_grad():
        found = drawn[name].outputs(image, mask) if name != "aot" else None
        z = composite(found.prediction if found else drawn[name](image, mask), image, mask)
    return found, z[0]


x = photograph(drawn_size, files[len(files) // 2])
m = boxes_to_mask([[side * drawn_size // 8 for side in box] for box in ((2, 3, 5, 5), (6, 1, 7, 4))], drawn_size)[None].to(device)
# %% [markdown]
# ### Context Encoder (2016): say what you see in one vector
# An encoder makes one vector of the whole picture, and a decoder paints from it; an adversarial loss, new then, is to make it
# sharp. All that the decoder knows went through that vector: a bottleneck, and no way to copy a texture.
#
# **Guess**: how many numbers are there for the 49,152 values of a picture of 128 x 128 px?
# %%
found, z = look("context_encoder", x, m)
print(f"{found.code[0].numel()} numbers")
pictures = [figures.show_holes(x, m)[0], found.prediction[0], z]
fig = figures.grid([pictures], ["input", "what it paints from its vector", "fill"])
figures.save(fig, f"{out_dir}/figures", "context_encoder")
plt.show()
# %% [markdown]
# Read it: of 49,152 values a few hundred are left (4,000 at the paper's width), so that the painting has a rough layout, rough
# colours and no detail, even where nothing was missing.
#
# ### MNPS (2017): then search for texture
# The same fill is a start. Then its pixels are changed, by optimisation, until each patch of features in the hole (of VGG19;
# here of the network named above) is like the known patch it resembles most:
# $$ \min_x E_{content}(x) + \alpha \sum_i \| \phi_i(x) - \phi_{nn(i)}(x) \|^2 + \beta\,\mathrm{TV}(x). $$
# No weights are learnt for that; each picture takes its own search.
# %%
found, z = look("mnps", x, m)
for number, (before, after) in enumerate(zip(found.before[0], found.after[0]), 1):
    print(f"scale {number}: energy {before:.3f} before, {after:.3f} after")
fig, axes = plt.subplots(1, 4, figsize=(figures.PAGE, 2.0))
content, match = composite(found.content, x, m)[0], found.matches[0][-1]
figures.show_picture(axes[0], content).set_title("the fill to start from")
inside.draw_copies(axes[1], x[0], m[0], inside.matched(match)).set_title("nearest patches")
figures.show_picture(axes[2], inside.collage(match, x[0], m[0])).set_title("those, as pixels")
figures.show_picture(axes[3], z).set_title("after the search")
figures.save(fig, f"{out_dir}/figures", "mnps")
plt.show()
# %% [markdown]
# Read it: the energy falls at every scale, by construction. Each arrow goes from a known patch to the patch of the hole that is
# pulled towards it; the third picture is what the hole would be if the pull won. A random network finds poor matches, and a few
# iterations move little: the paper's search goes through VGG19, hundreds of times (`features`, `patches`).
#
# ### CA (2018): copying as a layer
# Contextual attention makes the search a layer that learns along: for every place in the hole the similarity of its features to
# those of all known places, a softmax over them, and the weighted sum of what is there. A coarse network fills first, so that
# there is something to compare.
#
# **Guess**: the weights of a place sum to one. What is the largest possible share of a known place?
# %%
found, z = look("ca", x, m)
shares = found.attention[0].sum(0)
largest = found.attention[0].amax(0)
print(f"the shares of a place sum to {shares.min():.3f} ... {shares.max():.3f}; the largest is {largest.mean():.2f} on average")
fig, axes = plt.subplots(1, 4, figsize=(figures.PAGE, 2.0))
figures.show_picture(axes[0], composite(found.coarse, x, m)[0]).set_title("coarse fill")
inside.draw_copies(axes[1], x[0], m[0], inside.strongest(found.attention[0], m[0])).set_title("largest shares")
moved = inside.copied(found.attention[0], x[0], m[0])
figures.show_picture(axes[2], composite(moved[None], x, m)[0]).set_title("pixels in these shares")
figures.show_picture(axes[3], z).set_title("fill")
figures.save(fig, f"{out_dir}/figures", "ca")
plt.show()
# %% [markdown]
# Read it: each arrow starts at the known place with the largest share, and is thicker the larger that is: near 1, one place is
# copied, and the layer is a search. The third picture mixes pixels in the shares in which the network mixes features: where it is smooth, many places have a part.
#
# ### PConv (2018): convolve only what is known
# An ordinary convolution mixes known pixels with whatever stands in the hole. A *partial* one takes the mean over the known ones
# under its window alone, and calls its result known if there was any:
# $$ x' = W^\top (X \odot M) \frac{|1|}{|M|} + b, \qquad m' = [\,|M| > 0\,]. $$
#
# **Guess**: after how many layers, each halving the picture, is nothing unknown any more?
# %%
found, z = look("pconv", x, m)
levels = found.valid[: len(found.valid) // 2]
print("known share after each layer:", *[f"{level.mean():.2f}" for level in levels])
pictures = [1 - m[0], *[torch.nn.functional.interpolate(level, drawn_size)[0] for level in levels[:4]], z]
fig = figures.grid([pictures], ["known at first", *[f"after layer {number}" for number in range(1, 5)], "fill"])
figures.save(fig, f"{out_dir}/figures", "pconv")
plt.show()
# %% [markdown]
# Read it: white is known. The hole closes from its border inwards, the faster the deeper, and is gone after the layer from which on
# the shares above are 1; the rule is fixed, nothing in it is learnt.
#
# ### PEN-Net (2019): fill features from deep to shallow
# What is missing is decided where the picture is smallest: attention there says from where to copy, and the *same* weights copy
# in the next finer map, down to the finest. A picture is painted, and compared with the truth, at each level.
# %%
found, z = look("pen_net", x, m)
levels = [attention[0] for attention in found.attention[::-1]]
moved = [composite(inside.copied(level, x[0], m[0])[None], x, m)[0] for level in levels]
scales = found.pyramid[::-1][: len(levels)]
painted = [torch.nn.functional.interpolate(picture, drawn_size)[0] for picture in scales]
names = [f"{level.shape[-1]} x {level.shape[-1]} places" for level in levels]
below = [["input", *["pixels in its shares"] * len(levels)], ["fill", *[f"painted, {one.shape[-1]} px" for one in scales]]]
fig = figures.grid([[figures.show_holes(x, m)[0], *moved], [z, *painted]], ["", *names], below)
figures.save(fig, f"{out_dir}/figures", "pen_net")
plt.show()
# %% [markdown]
# Read it: above, the photograph's pixels in the shares of each level; below, what is painted there. The finer the level, the
# smaller the blocks that are copied. At the coarsest a hole can vanish from the mask, which is made small bilinearly, as the authors
# do: then each place counts as known and copies itself, in pixels the grey of the hole.
#
# ### EdgeConnect (2019): first lines, then colours
# One network continues Canny's edges into the hole; a second one colours between them. Each is trained by itself.
# %%
found, z = look("edge_connect", x, m)
maps = [1 - found.known_edges[0], 1 - found.predicted_edges[0], 1 - found.edges[0]]
columns = ["input", "Canny's edges, outside", "predicted edges, everywhere", "edges given on", "fill"]
fig = figures.grid([[figures.show_holes(x, m)[0], *maps, z]], columns)
figures.save(fig, f"{out_dir}/figures", "edge_connect")
plt.show()
# %% [markdown]
# Read it: dark is edge. After minutes of training the first network knows how dense edges are and hardly where they run: it gives
# on a pattern, and the second colours along with that. What it colours is the first's to get right.
#
# ### GatedConv (2019): learn what to trust
# PConv's rule says known or not. Here each layer has a second convolution, whose sigmoid says how much of each feature to let
# through, everywhere and for each channel: $\phi(W_f x) \odot \sigma(W_g x)$. AOT-GAN's gate is a descendant.
#
# **Guess**: where are gates more closed, in the hole or around it?
# %%
found, z = look("gated_conv", x, m)
for number in (0, 2, 4):
    gate = found.gates[number]
    hole = torch.nn.functional.interpolate(m, gate.shape[-2:])
    print(f"layer {number + 1:2}: mean gate in the hole {gate[hole > 0].mean():.2f}, outside {gate[hole == 0].mean():.2f}")
fig, axes = plt.subplots(1, 4, figsize=(figures.PAGE, 1.8))
for ax, number in zip(axes, (0, 2, 4)):
    figures.show_map(ax, found.gates[number][0], label="").set_title(f"gates, layer {number + 1}")
figures.show_picture(axes[3], z).set_title("fill")
figures.save(fig, f"{out_dir}/figures", "gated_conv")
plt.show()
# %% [markdown]
# Read it: the mean of a layer's gates; bright lets through, each picture on a scale of its own. The hole's outline is in them
# without a rule that says so, and so are the photograph's edges. Closed in the hole at first, where there is nothing to let through;
# open there deeper down, where what was gathered around it is let in.
#
# ### HiFill (2020): copy the detail that enlarging lost
# A network of fixed size fills a small copy of a large picture. Enlarged, the fill is blurred; but the detail that the *known*
# part lost in the same way is known: the residual. The attention that filled the small picture now copies residuals,
# $R_i = \sum_j a_{ij} R_j$, into the hole of the large one.
# %%
side, core = 4 * drawn_size, next(iter(account["runs"].values()))["time"]["parameters"]["size"]  # what it learnt from
factor, hole = side // core, torch.nn.functional.interpolate(m, side)
large = max((photograph(side, path) for path in files[:20]), key=lambda picture: residual(picture, hole, factor).abs().mean())
with torch.no_grad():
    small = torch.nn.functional.avg_pool2d(large * (1 - hole), factor)
    found = drawn["hifill"].outputs(small, torch.nn.functional.interpolate(m, core))
plain = torch.nn.functional.interpolate(found.prediction, scale_factor=factor, mode="bilinear")
moved = aggregate_residual(found.attention, residual(large, hole, factor))
result = aggregate(large, hole, drawn["hifill"], side=core)
print(f"{core} px -> {side} px; known pixels changed: {((result != large) & (hole == 0)).sum().item()}")
corner = (0, slice(None), slice(side * 3 // 8 - 40, side * 3 // 8 + 120), slice(side // 4 - 40, side // 4 + 120))
pictures = [figures.show_holes(large, hole), composite(plain, large, hole), (moved * hole).clamp(-1, 1), result]
columns = [f"a corner of {side} px", "enlarged fill", "copied residual", "both"]
fig = figures.grid([[picture[corner] for picture in pictures]], columns)
figures.save(fig, f"{out_dir}/figures", "hifill")
plt.show()
# %% [markdown]
# Read it: the enlarged fill is blurred; the copied residual (grey is 0) gives it grain. Detail that is copied to a wrong place is
# a wrong detail: look for repeated edges. Of the first photographs, this is the one with the most detail.
#
# ### AOT-GAN (2022): many distances in one layer
# No attention, no edges, no mask rule: each block looks at four distances at once, and a gate decides where to renew
# ([notebook 2](02_generator.ipynb)); the discriminator learns which pixels were filled ([notebook 3](03_discriminator.ipynb)).
#
# ## 7.3 All of them, same holes
# The networks of this section are *this run's*: every one trained by `05_training` on the same photographs in the same order
# with the same holes, for the same number of steps, with its own losses, critic and stages. MNPS searches from the Context
# Encoder's fill. Below them, fills that learn nothing.
# %%
if not method_runs:
    print("no finished runs: the smallest ones are made now, which learn next to nothing")
    method_runs = contest.smallest(f"{out_dir}/runs")
weights = {name: Path(run, contest.WEIGHTS) for name, run in method_runs.items()}
trained = contest.networks(weights, device=device, features=network, patches=patches)
fills = contest.fills(trained) | FLOORS
steps = {int(read_card(path)["step"]) for path in weights.values()}
assert len(steps) == 1, f"different budgets: {steps}"
n_steps, sizes = steps.pop(), [n_parameters(one) for one in trained.values()]
extent = f"{'small run: ' if n_steps < 100_000 else ''}{n_steps:,} steps each on the same crops"
note = f"{extent}; {n_images} photographs a bucket, same holes; {min(sizes):,} to {max(sizes):,} parameters"
files = spread_evenly(files, n_images)
root, plan_masks = common_folder(files) or data_dir, load_masks(masks) if masks else []
plan = manifest.make(files, size=size, masks=plan_masks, seed=seed, files_root=root)
measures = evaluate.Measures(fid_dims, download=download, cache=Path(out_dir).parent / "features.sqlite", device=device)
images, summary, unavailable = evaluate.judge(fills, plan, root, masks or None, size=size, measures=measures, data=data, seed=seed, report=lambda text: None)
images.to_csv(Path(out_dir, "tables", "images.csv"), index=False)
for metric in summary.metric.unique():
    tables.write(tables.spread(summary, metric), f"{out_dir}/tables", metric)
for reason in dict.fromkeys(unavailable.values()):
    names = ", ".join(key.upper().replace("_", "-") for key, why in unavailable.items() if why == reason)
    print(f"{names}: not available: {reason}")
tables.spread(summary, "psnr", bold=False)
# %% tags=["nbval-check-output"]
counted = summary[(summary.metric == "l1") & (summary.bucket != "all")]
assert (counted.n == n_images).all()
print("methods:", counted.method.nunique(), "| buckets:", counted.bucket.nunique(), "| photographs in each:", n_images)
# %% [markdown]
# ### More than chance?
# Each method minus AOT-GAN on the same photographs and holes, Holm-corrected over all rows ([notebook 6](06_evaluation.ipynb)).
# %%
versus = comparison.compare(images, "psnr", to="AOT-GAN", seed=seed)
tables.write(versus, f"{out_dir}/tables", "psnr_differences")
table = versus.pivot(index="method", columns="bucket", values="better").reindex(columns=BUCKET_NAMES).reindex(versus.method.unique())
table.fillna("")
# %% [markdown]
# Named is the better one of a pair where the difference is significant; an empty cell says that this run cannot tell.
# %%
fig = panels.ranking(summary, ["psnr", "ssim", "hole_l1"], note=note)
figures.save(fig, f"{out_dir}/figures", "ranking")
plt.show()
# %% [markdown]
# Read it: dots are means over all holes, lines 95 % intervals over pictures, the best by PSNR on top. Mean colour, Telea,
# Navier-Stokes and biharmonic need no training: a network below them has not yet learnt what they know. That says what a
# budget buys, not what a method is worth.
#
# ## 7.4 What a fill costs
# One picture, half of it hole, at the size that was judged and at twice the side. *Peak* is the most memory that tensors took at a
# time, weights left out; MACs of MNPS include the backward passes of its search.
#
# **Guess**: attention compares every place with every place, and so does a search. Whose cost grows fastest when the side doubles?
# %%
sides = (size, 2 * size)
costs = pd.concat([contest.costs(trained, side).assign(px=side) for side in sides], ignore_index=True)
tables.write(costs, f"{out_dir}/tables", "costs")
wide = costs.pivot(index="method", columns="px")
growth = pd.DataFrame({f"{name}, {side} px": wide[key][side] for name, key in (("GMAC", "gmac"), ("peak MB", "peak_mb")) for side in sides})
growth["times the GMAC"] = wide["gmac"][sides[1]] / wide["gmac"][sides[0]]
print(growth.round(3).to_string())
fig = panels.price(summary, costs[costs.px == size], "psnr", "seconds", xlabel=f"seconds for {size} px", note=note)
figures.save(fig, f"{out_dir}/figures", "price")
plt.show()
# %% [markdown]
# Read it: up and to the left is better. In the table before, the last column is what twice the side costs: 4 for convolutions, most
# in the search of MNPS, which compares all patches with all; 1 for a network that brings every picture to one size. At these sides
# attention, which works on small maps, adds little to 4; its part grows with the fourth power and overtakes the rest later.
#
# ## 7.5 Look at it
# The best, the median and the worst fill of AOT-GAN with 20 to 30 % hole, by the error in the hole, and what the others made of
# the same ones. Nobody chose them.
# %%
found = gallery.spread_of(images, method="AOT-GAN", metric="hole_l1", bucket=BUCKET_NAMES[2])
wanted = {one.image for one in found}
cases = {case.name: case for case in manifest.cases(plan, root, masks or None, size=size, bucket=BUCKETS[2]) if case.name in wanted}
pictures, captions = [], []
for one in found:
    case = cases[one.image]
    filled = [case.filled(fills[METHODS[name].label]) for name in trained]
    psnr = [metrics.psnr(z[None], case.picture_u8[None]).item() for z in filled]
    pictures.append([figures.show_holes(to_float(case.picture_u8), case.mask), *map(to_float, [*filled, case.picture_u8])])
    captions.append([one.place, *[f"{value:.1f} dB" for value in psnr], ""])
short = {"EdgeConnect": "Edge- Connect", "GatedConv": "Gated- Conv"}  # as columns are narrow
labels = [METHODS[name].label for name in trained]
fig = figures.grid(pictures, ["input", *[short.get(label, label) for label in labels], "truth"], captions, note)
figures.save(fig, f"{out_dir}/figures", "filled")
plt.show()
# %% [markdown]
# Read it: colours first. Which method has taken on those of the surroundings, and which shows a seam?
#
# ## 7.6 A longer comparison
# `data/compare_methods.py` trains them all on a folder of photographs with two budgets, the same number of steps and the same time,
# and judges them on other photographs with mask files. What the suite's authors could run is committed, with its account:
# %%
steps, minutes = (account["budgets"][key] for key in ("steps", "minutes"))
n_measured, mnps = account["measured_on"]["photographs"]["time"], account["mnps"]
print(f"{account['device']}; {steps:,} steps, or about {minutes:g} minutes each; {n_measured} photographs")
print(f"MNPS: {mnps['scales']} scales x {mnps['iterations']} iterations in {mnps['features']}")
made = pd.DataFrame({
    name: {"parameters": f"{run['time']['parameters_of_network']:,}", "learning rate": run["time"]["parameters"]["lr"],
           "steps": run["time"]["parameters"]["steps"], "s a step": round(run["time"]["seconds_a_step"], 3),
           "minutes": round(run["time"]["minutes"], 1)}
    for name, run in account["runs"].items()
}).T  # fmt: skip
tables.write(made.rename_axis("method").reset_index(), f"{out_dir}/tables", "longer_runs")
print(made.to_string())
settings = next(iter(account["runs"].values()))["time"]["parameters"]
small_print = f"{n_measured} photographs, {settings['size']} px; {account['device']}; features: {account['feature_network']}; MNPS: {mnps['features']}"
longer = {budget: pd.read_csv(Path(compared_dir, f"summary_{budget}.csv")) for budget in ("steps", "time")}
for budget, table in longer.items():
    tables.write(tables.spread(table.assign(data=""), "psnr"), f"{out_dir}/tables", f"longer_{budget}_psnr")
# %%
fig = panels.ranking(longer["steps"], ["psnr", "ssim", "hole_l1"], note=f"small run: {steps:,} steps each; {small_print}")
figures.save(fig, f"{out_dir}/figures", "longer_steps")
plt.show()
# %% [markdown]
# Read it: all have seen the same crops equally often; how long a step takes differs, as the table says.
# %%
fig = panels.ranking(longer["time"], ["psnr", "ssim", "hole_l1"], note=f"small run: about {minutes:g} minutes each; {small_print}")
figures.save(fig, f"{out_dir}/figures", "longer_time")
plt.show()
# %% [markdown]
# Read it: an order of small networks for this budget, these holes and these photographs; independent authors, with the methods'
# own weights, find orders that depend on how wide the holes are ([notebook 11](11_paper_tables.ipynb)).
# %%
by_method = summary[(summary.metric == "psnr") & (summary.bucket == "all")].set_index("method")["mean"]
runs.finish(
    out_dir,
    {"features": network.name, "methods": len(fills), "n_images": n_images, "not_available": unavailable,
     "psnr": dict(by_method), "seconds_a_fill": dict(costs[costs.px == size].set_index("method").seconds)},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - Each method answers one question: where does what is in the hole come from? From a vector, from a search, from attention, from
#   neighbours that are known, from lines, from gates, from lost detail, from many distances at once.
# - A comparison is fair for a stated budget, on the same photographs and holes; steps and time are different budgets.
# - Comparing all places with all costs the fourth power of the side, convolution the second.
# - Floors that learn nothing belong into every table.
#
# Next: [8 · Ablations](08_ablations.ipynb), one part switched off at a time.
