# %% [markdown]
# # 8 · Ablations: which part does what
# **You will** switch off one part of AOT-GAN at a time, look at what the switch changes inside both networks, find out which
# differences are more than chance over seeds *and* photographs, and fill pictures of sizes that were never trained on.
# **Needs** notebooks 2 to 6. **Takes** a minute on a CPU.
# %% tags=["parameters"]
data = "samples"  # samples, places2, celebahq, openlogo, or a folder
split = "test"  # not looked at while training
size = 64  # side of the pictures that are judged, pixels
masks = ""  # folder of mask files whose holes are white; empty: generated masks
n_images = 4  # photographs in every bucket; the same ones in each
seed = 0  # of the masks
ablation_runs = {}  # folders of runs of notebook 5, by variant and seed; empty: the smallest ones are made
grid = "../profiles/ablations.yaml"  # the variants: what each changes
larger_dir = "../results/reference/ablations"  # tables of a larger set of runs; empty: not shown
serving_dir = "../results/reference/serving"  # tables of data/compare_serving.py
demo = "../data/weights/aotgan_demo.safetensors"  # weights that are served at other sizes
served_size = 256  # side of the photograph that they fill here, pixels
data_dir = "../data/samples"  # where the data set is
out_dir = "../results/notebook/08_ablations"  # figures, tables and metrics.json go here
# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import distance_transform_edt

from aotlib import ablations, adversary, contest, crossed, figures, losses, manifest, panels, runs, size_panels, tables
from aotlib.data import dataset_files
from aotlib.grids import FULL
from aotlib.hardware import pick_device
from aotlib.images import centred, common_folder, read_image, to_float
from aotlib.intervals import ALL
from aotlib.masks import BUCKETS, composite, irregular_mask, load_masks
from aotlib.model import Generator
from aotlib.rates import receptive_field
from aotlib.selection import spread_evenly
from aotlib.serving import WAYS, Serving, better_ways, way_at
from aotlib.weights import load_discriminator, load_generator

figures.style(inline="jpeg")
if not ablation_runs:
    print("no runs: the smallest ones are made now, which learn next to nothing")
    ablation_runs = contest.smallest(f"{out_dir}/runs", "ablations")
# %%
found, missing = ablations.finished(ablation_runs)
ablations.check_alike(found, grid)  # nothing else may be compared
print(f"{len(found)} finished runs; not run: {'; '.join(f'{name} ({why})' for name, why in missing.items()) or 'none'}")
# %% [markdown]
# ## 8.1 One switch each
# A variant is no copy of the network but a parameter of it: `Generator(block=..., gate=..., rates=...)`, the `design` of the labels,
# a weight of 0 for a loss. What each changes stands in `profiles/ablations.yaml`; all else is the full method's: photographs, crops
# and holes of the same seed, and the initial weights, but where there is no gate: then the same seed draws others.
#
# The paper's own three: *gated contextual transformations* (branches of several rates, against the plain residual block, a 3x3
# convolution of rate 2 and one of rate 1), the *gated residual* (against adding the identity), and *SM-PatchGAN* (against PatchGAN
# and HM-PatchGAN).
#
# **Guess**: which of these switches makes the network smaller?
# %%
switches = ablations.switches(grid).merge(ablations.costs(found, grid, size).round(3), on="variant")
tables.write(switches, f"{out_dir}/tables", "switches")
accounts = ablations.accounts(found)
accounts.to_csv(Path(out_dir, "tables", "runs.csv"), index=False, lineterminator="\n")
switches
# %% tags=["nbval-check-output"]
whole, gateless = Generator(width=8), Generator(width=8, gate="none")
gates = sum(parameter.numel() for block in whole.blocks for parameter in block.gate.parameters())
sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in (whole, gateless)]
assert sizes[0] - sizes[1] == gates
print(f"of 8 blocks the gates are {gates / sizes[0]:.0%} of the weights; without them every other weight is still there")
# %% [markdown]
# Read it: splitting a convolution over rates costs nothing (notebook 2), so that only the gate has weights of its own, a 3x3
# convolution in every block. *reach* is the receptive field in pixels. A better score of the full method could then be its larger
# size; `no_context` keeps the gate, and so its size, but its one rate of 2 also shortens the view: `one_branch` and `all_far`
# tell the number of branches and the distance apart.
#
# ## 8.2 Scores over seeds and photographs
# Train a network again with another seed, and it scores differently: a difference of 0.1 dB between two runs may be luck. Every run
# fills the same holes, so that its scores are a table of seeds $s$ by images $i$,
# $$ y_{si} = \mu + a_s + b_i + e_{si}, \qquad \widehat{\mathrm{Var}}(\bar y) = (MS_a + MS_b - MS_e) / (S I), $$
# with the mean squares of the two-way analysis of variance. Variants are compared by *differences* to the full method with the same
# seed on the same image, which takes out much of both. LPIPS needs weights that are not at hand, and FID and KID have no value of an
# image and so no interval over images: all three are left out here.
#
# **Guess**: a hundred photographs and one seed, or ten photographs and three seeds: which tells more about a method?
# %%
device = pick_device("auto")
files = spread_evenly(dataset_files(data, data_dir, split), n_images)
root = common_folder(files) or data_dir
plan = manifest.make(files, size=size, masks=load_masks(masks) if masks else [], seed=seed, files_root=root)
images = ablations.judged(found, plan, root, masks or None, size=size, device=device)
METRICS = ["psnr", "ssim", "hole_l1"]
summary = crossed.summarise_runs(images, METRICS)
versus = pd.concat([crossed.compare_runs(images, metric, to=FULL) for metric in METRICS], ignore_index=True)
for name, table in (("summary", summary), ("differences", versus)):
    table.to_csv(Path(out_dir, "tables", f"{name}.csv"), index=False, lineterminator="\n", float_format="%.6g")
order = list(switches.variant)
shown = ablations.with_missing(tables.spread(summary, "psnr", bold=False), order)
shown["seeds"] = shown.method.map(images.groupby("method").seed.nunique()).fillna(0).astype(int)
tables.write(shown, f"{out_dir}/tables", "psnr")
n_seeds, n_steps = accounts.seed.nunique(), accounts.steps.max()
extent = "small run: " if n_steps < 100_000 else ""
note = f"{extent}{n_steps:,} steps, seeds: {n_seeds}, photographs: {n_images}; {accounts.features[0]} features; {Path(data).name}"
shown
# %% tags=["nbval-check-output"]
assert set(images.seed) == {seed_ for _, seed_ in found} and images.image.nunique() == n_images
compared = versus[(versus.metric == "psnr") & (versus.bucket == ALL)]
assert not compared.significant[compared.seeds < crossed.SURE].any(), "too few seeds to tell a method from a lucky start"
print("variants compared with the full method:", len(compared), "| seeds:", n_seeds, "| photographs:", n_images)
# %% [markdown]
# "not run" is a variant whose training failed or was not asked for: never a number from elsewhere. With fewer than three seeds nothing
# is called significant, whatever the photographs say: what another start would have given is hardly known. A hundred photographs do
# not make up for it: they tell of one network.
#
# An interval of one seed is over photographs alone. A second seed may make it many times wider, for Student's t with one degree
# of freedom knows next to nothing; from three on it narrows. All variants that were run here:
# %%
ran = [variant for variant in order[1:] if variant in set(versus.method)]
fig = panels.differences(versus, ran, to=FULL, note=note)
figures.save(fig, f"{out_dir}/figures", "differences")
plt.show()
# %% [markdown]
# ## 8.3 The paper's three parts
# %%
asked = {question: list(part.variant) for question, part in switches[switches.question != ""].groupby("question")}
if set(asked.get("parts", [])) & set(ran):
    fig = panels.differences(versus, asked["parts"], to=FULL, note=note)
    figures.save(fig, f"{out_dir}/figures", "parts")
    plt.show()
else:
    print("nothing was run here that belongs to the question 'parts'")
# %% [markdown]
# Read it: right of the line is more than the full method has. A filled dot is a difference that holds over seeds and photographs after
# Holm's correction over the variants; an open one this run cannot tell from none. An interval that reaches far to
# both sides is no proof of equality either: it says that the run was too small.
#
# What a switch does *inside* shows sooner. All variants get the same photograph and hole:
# %%
case = next(manifest.cases(plan, root, masks or None, size=size, bucket=BUCKETS[2]))
x, m = to_float(case.picture_u8)[None].to(device), case.mask[None].to(device)


def pair(variant, seed_of_run):
    folder = found[variant, seed_of_run]
    networks = load_generator(folder / contest.WEIGHTS), load_discriminator(folder / "discriminator.safetensors")
    return [network.to(device) for network in networks]


first = min(seed_of_run for variant, seed_of_run in found if variant == FULL)
parts = [FULL, *asked.get("parts", ran)[:6]]  # a grid that asks other questions shows its first variants
seen = {variant: adversary.look(*pair(variant, first), x, m) for variant in parts if (variant, first) in found}
fig = panels.switched([figures.show_holes(x, m)[0].cpu(), x[0].cpu(), m[0].cpu()], seen)
figures.save(fig, f"{out_dir}/figures", "inside")
plt.show()
# %% [markdown]
# Read it: above the fills; in the middle how much of each feature the last block renews, the mean over channels (each map on a scale of
# its own); below what the run's own discriminator says of its fill, patch by patch. Where the hole shows in the gate without
# anybody having told it to, the gate has learnt; where it does not, the run was too short for it.
#
# ## 8.4 Rates and branches
# The branches share the width: one branch of 64 channels or eight of 8 have the same number of weights. What changes is how far a
# block looks, and how finely.
#
# **Guess**: near, far, or mixed: what does a hole of a given width need?
# %%
if set(asked.get("rates", [])) & set(ran):
    fig = panels.differences(versus, asked["rates"], to=FULL, note=note)
    figures.save(fig, f"{out_dir}/figures", "rates")
    plt.show()
else:
    print("nothing was run here that belongs to the question 'rates'; 8.8 has what was run elsewhere")
cost_of = switches[switches.variant.isin([FULL, *asked.get("rates", [])])].drop(columns=["question", "parameters"])
tables.write(cost_of, f"{out_dir}/tables", "rates")
cost_of
# %% [markdown]
# Read it: *reach* grows with the largest rate, and arithmetic does not change.
#
# ## 8.5 Labels: whom they pull where
# Notebook 3 showed what four designs of labels ask of $D$; MMagic, a well-known retraining, has a fifth. In the hole the generator wants
# the score 1 in all of them. What does $D$ want there, compared with a photograph?
#
# $D$ is also a predictor of the mask: is a patch hole or not? IoU compares the patches beyond 0.5 with the hole, AUC is the probability
# that a random patch of the hole looks more like hole than a random known one. Beside them stands what an exact copy of the
# labels would get; the IoU of soft labels is low, for they are rarely beyond 0.5 in a narrow hole.
#
# **Guess**: in which designs does $D$ want a hole's score *above* that of a photograph, as the generator does?
# %%
cases = list(manifest.cases(plan, root, masks or None, size=size, bucket=BUCKETS[2]))[:32]
x, m = torch.stack([to_float(one.picture_u8) for one in cases]).to(device), torch.stack([one.mask for one in cases]).to(device)
rows = []
for variant, seed_of_run in found:
    if variant not in (FULL, "hm_patchgan", "patchgan", *asked.get("labels", [])):
        continue
    design, soft = adversary.labels_of(found[variant, seed_of_run] / "discriminator.safetensors")
    generator, critic = pair(variant, seed_of_run)
    with torch.no_grad():
        prediction = generator(x, m)
        scores = critic(composite(prediction, x, m))
    ideal = adversary.at_patches(losses.targets(m, design, **soft)[1], m)
    row = {"variant": variant, "seed": seed_of_run} | adversary.wanted(m, design, **soft)._asdict()
    row |= adversary.pushes(scores, m, design, **soft)._asdict()
    row |= {"inside": adversary.inside(critic, x, prediction, m, design)}
    for name, map_ in (("", scores), (" of labels", ideal)):
        row |= {f"{key}{name}": value for key, value in adversary.finds_hole(map_, m, design)._asdict().items()}
    rows.append(row)
by_seed = pd.DataFrame(rows)
labels = by_seed.drop(columns="seed").groupby("variant", sort=False).mean().reset_index()
# %%
by_seed.to_csv(Path(out_dir, "tables", "labels_by_seed.csv"), index=False, lineterminator="\n", float_format="%.6g")
tables.write(labels, f"{out_dir}/tables", "labels")
labels.round(3)
# %% tags=["nbval-check-output"]
signs = {design: adversary.wanted(m.cpu(), design).hole < 0 for design in losses.DESIGNS}
assert signs == {"sm_patchgan": True, "hm_patchgan": True, "patchgan": True, "released": False, "mmagic": True}
print("D is to tell a hole from a photograph by a lower score:", *[design for design, lower in signs.items() if lower])
# %% [markdown]
# Read it: *hole* and *known* are what $D$ is to say of such patches less what it is to say of photographs, in holes of 20 to 30 %.
# PatchGAN's labels deny known patches as much as holes. The released labels *raise* the hole's score, which is what the generator
# wants, too: no contest. MMagic's lower it only as far as the hole is narrow, and lower the known patches more.
#
# The gradients at the runs' own scores: *d_hole* and *d_known* say where a step down $D$'s loss moves the scores of a composite's patches,
# *g_hole* and *g_known* where the generator's does. Above 0 is up; 1 is the mean size of that loss's gradient over all patches. Up against
# down is a contest, up with up none. But $D$ also raises a score that has yet to come up to its label, after a short training or
# where a label is soft: then see whether *d_hole* lies below *d_known*, which still sets holes apart by lower scores. *inside* follows the
# generator's gradient down to the pixels: its share in the hole, where alone it can change one. `labels_by_seed.csv` has every seed.
#
# ## 8.6 Each loss left out
# %%
if set(asked.get("losses", [])) & set(ran):
    fig = panels.differences(versus, asked["losses"], to=FULL, note=note)
    figures.save(fig, f"{out_dir}/figures", "losses")
    plt.show()
else:
    print("nothing was run here that belongs to the question 'losses'; 8.8 has what was run elsewhere")
# %% [markdown]
# Read it: PSNR, SSIM and the error in the hole ask for the mean of all plausible fills, which is blurred. A loss that asks for texture
# is therefore *expected* to cost some of all three: that these numbers fall with it is no case against it (notebook 4).
#
# ## 8.7 Does the order hold?
# Short runs are compared in the hope that the order of the variants is that of long runs. That can be looked at: is the order after a
# quarter and half of the steps that at the end?
# %%
budget = ablations.curves(found)
same = ablations.same_order(budget)
for name, table in (("budget", budget), ("same_order", same)):
    table.to_csv(Path(out_dir, "tables", f"{name}.csv"), index=False, lineterminator="\n", float_format="%.6g")
drawn = budget[budget.variant.isin(parts)].assign(variant=lambda table: table.variant.str.replace("_", " "))
ax = figures.curves(drawn, "share", "val_psnr", "variant", xlabel="share of the steps", ylabel="held-out PSNR / dB")
figures.note(ax.figure, note)
figures.save(ax.figure, f"{out_dir}/figures", "budget")
plt.show()
print(same.round(2).to_string(index=False))
# %% [markdown]
# Read it: *tau* is Kendall's rank correlation of the order at that share with the order at the end: 1 is the same, 0 none in common.
# A low one says either that the order changes or that there is none to tell from noise: the intervals above say which.
#
# ## 8.8 A larger set of runs
# What the suite's authors could run is kept in `results/reference/ablations`, made by the profile `larger` as its head says.
# %%
if larger_dir:
    kept = {name: pd.read_csv(Path(larger_dir, f"{name}.csv")) for name in ("differences", "runs", "labels", "same_order", "switches")}
    ran = kept["runs"]
    larger_note = f"small run: {ran.steps.max():,} steps, seeds: {ran.seed.nunique()}, photographs: {kept['differences'].n.max()}"
    larger_note += f"; features: {', '.join(ran.features.unique())}; {', '.join(ran.device.unique())}"
    print(f"{len(ran)} runs, {ran.seconds.sum() / 3600:.1f} hours of training; {larger_note}")
    fig = panels.differences(kept["differences"], list(kept["switches"].variant)[1:], to=FULL, note=larger_note)
    figures.save(fig, f"{out_dir}/figures", "larger")
    plt.show()
# %%
if larger_dir:
    columns = ["method", "metric", "difference", "low", "high", "p_holm"]
    sure = kept["differences"][kept["differences"].significant].sort_values(["metric", "difference"])[columns]
    tables.write(sure, f"{out_dir}/tables", "larger_sure")
    print(sure.round(4).to_string(index=False) if len(sure) else "no difference holds over these seeds and photographs")
# %% [markdown]
# Read it: filled dots, the rows of the table, are all that these seeds and photographs allow to be said, of small networks after a short
# training. The intervals are of one difference each; the dots are corrected over the variants of a metric, not over the metrics. With
# three seeds and 18 comparisons a difference has to be 19 times its standard error over the seeds to be filled: an open dot whose
# interval is far from 0, such as those of the losses, is a question for more seeds, and no answer.
# %%
if larger_dir:
    print(kept["same_order"].round(2).to_string(index=False), kept["labels"].round(2).to_string(index=False), sep="\n\n")
# %% [markdown]
# Read it: after a quarter of 500 steps the order of the variants has little in common with that at the end, and after half of them more: what
# a longer training would make of the last one is not known. And no discriminator finds the hole: AUC is near 0.5, chance, for all, far from what
# the labels themselves would get. A design of labels can hardly show its worth before the discriminator has learnt them.
#
# ## 8.9 Pictures of another size
# The authors name a limit: branches and rates are chosen by hand, for one size of picture. But the nine weights of a kernel fit any
# rate, so that a trained generator can be *served* with others, without training it again. `aotlib.serving.Serving` knows five ways, and
# `auto`, which goes by the size of the picture:
#
# - `fixed`: the rates as trained.
# - `resized`: the picture is brought to the trained size, and the prediction back.
# - `scaled`: every rate times $s$ = side / trained side.
# - `spread`: the smallest rate stays, for local pattern; the largest grows until the receptive field
#   $R = 28 + 8 n (\max r + 1)$ px of $n$ blocks covers the same share of the picture; those between are spaced geometrically.
# - `chosen`: a hole of the same shape is made elsewhere, where the truth is known; of the three sets of rates the one that fills it
#   with the smallest error is used, for this picture.
#
# **Guess**: of a picture of 1,024 px, which share does the receptive field cover with the rates of 192 px?
# %%
account = contest.account_in(serving_dir)
trained_size, sides = account["trained_size"], [int(side) for side in account["sizes"]]
generator = load_generator(demo).to(device)
served = {way: Serving(generator, trained_size, way, seed=seed) for way in WAYS}
rows = []
for side in (trained_size, *sides):
    for way in ("fixed", "scaled", "spread"):
        rates = served[way].rates_at(side)
        share = receptive_field(generator.options["n_blocks"], rates) / side
        rows.append({"side / px": side, "way": way, "rates": ", ".join(map(str, rates)), "field / side": round(share, 2)})
reach = pd.DataFrame(rows)
tables.write(reach, f"{out_dir}/tables", "serving_rates")
print(reach.to_string(index=False))
assert all(served["fixed"].network(served[way].rates_at(1024)).encoder[0].weight.data_ptr() == generator.encoder[0].weight.data_ptr()
           for way in ("scaled", "spread")), "the weights were copied"
# %% [markdown]
# Read it: the field of the demo weights is wider than the pictures that they learnt from, and covers a third of 1,024 px. `scaled`
# loses some of the share, for encoder, fusion and decoder do not grow along; `spread` keeps it, but for rounding. Both do so with taps
# far from each other, in features that never saw such distances.
#
# **Guess**: which of the five fills would you tell apart from the others?
# %%
path = next(path for path in dataset_files(data, data_dir, split) if path.stem == "forest_stream" or data != "samples")
x = to_float(centred(torch.from_numpy(read_image(path)).permute(2, 0, 1), served_size))[None].to(device)
m = irregular_mask(served_size, 0.25, seed=seed, index=0)[None].to(device)
with torch.no_grad():
    fills = {way: composite(one(x, m), x, m) for way, one in served.items()}
error = {way: ((z - x).abs().sum() / (3 * m.sum()) / 2).item() for way, z in fills.items()}
print(f"{served_size} px; chosen for this picture: rates {next(iter(served['chosen'].used))}")
pictures = [figures.show_holes(x, m)[0], *[fills[way][0] for way in WAYS], x[0]]
part = served_size * 3 // 8
details = [picture[:, -part:, :part] for picture in pictures]  # the lower left corner
captions = [["", *[f"off by {error[way]:.3f}" for way in WAYS], ""], [""] * len(pictures)]
fig = figures.grid([pictures, details], ["input", *WAYS, "truth"], captions)
figures.save(fig, f"{out_dir}/figures", "serving_fills")
plt.show()
# %% [markdown]
# Read it: below each fill its mean error in the hole (0 to 1), and then the lower left corner, larger. The weights are small ones, and
# every fill is blurred; the ways differ by less than each of them differs from the truth. Where rates as trained were the best on the
# trial hole, `chosen` is `fixed`. By one picture nobody knows which way is better.
#
# ## 8.10 Is any way better than leaving the rates alone?
# `data/compare_serving.py` fills photographs at several sizes, each with the same hole at every size, in all five ways. What the
# suite's authors could run, with the demo weights, is committed: the embedded photographs whose originals have 1,024 px (the demo
# weights saw none of them), drawn holes. FID is left out, for it needs thousands of photographs.
#
# **Guess**: at which size does it pay most to do anything at all?
# %%
served_summary, served_versus, served_costs = (pd.read_csv(Path(serving_dir, f"{name}.csv")) for name in ("summary", "differences", "costs"))
counted = ", ".join(f"{side} px: {one['photographs']}" for side, one in account["sizes"].items())
small_print = f"demo weights, trained at {trained_size} px; photographs: {counted}; {account['device']}; filled: significant"
fig = size_panels.served(served_summary, served_versus, "psnr", to="fixed", note=small_print)
figures.save(fig, f"{out_dir}/figures", "serving")
plt.show()
# %%
for metric in ("psnr", "ssim", "hole_l1"):
    tables.write(tables.spread(served_summary.assign(data=""), metric), f"{out_dir}/tables", f"serving_{metric}")
shown = ["metric", "method", "bucket", "difference", "low", "high", "p_holm", "n", "better"]
sure = served_versus[served_versus.significant][shown]
print("beyond chance, after Holm's correction over all ways and sizes of a metric:")
print(sure.round(4).to_string(index=False))
default = {f"{side} px": way_at(side, trained_size) for side in sides}
assert default == better_ways(served_versus), "the default is not what was better beyond chance"
print("the default of aotlib.serving:", ", ".join(f"{way} at {side}" for side, way in default.items()))
# %% [markdown]
# Read it: up to two or three times the trained side nothing is better than leaving the rates alone, and some ways are worse:
# `resized` has the larger error in the hole at 256 px; `scaled`, whose nearest taps are then three positions apart, and `spread`
# lose SSIM from 512 px on. At 1,024 px `resized` is two decibels ahead. So this is the default: `fixed`,
# and `resized` from 1,024 / 192 = 5.3 times the trained side on. A way takes its place only where its interval says that it is better,
# and no other metric says the opposite.
#
# Is the receptive field of the trained rates too small at 1,024 px? It reaches half its side in every direction; how much of the
# holes is farther than that from anything known?
# %% tags=["nbval-check-output"]
half = receptive_field(generator.options["n_blocks"], generator.options["rates"]) / 2
for bucket in BUCKETS:
    drawn_masks = [irregular_mask(max(sides), sum(bucket) / 2, seed=0, index=i)[0] for i in range(6)]
    far = [(distance_transform_edt(one) > half).sum() / one.sum().item() for one in drawn_masks]
    print(f"holes of {bucket[0]:.0%} to {bucket[1]:.0%}: {np.mean(far):.1%} of their pixels are farther than {half:.0f} px")
# %% [markdown]
# Read it: hardly any, so that a field that is too small is not the reason by itself; and `spread`, whose field covers the whole picture, is
# no better than `fixed`. What a network has learnt to do far from the next known pixel counts, too.
#
# `chosen` has the higher PSNR at 1,024 px and the lower SSIM, neither beyond chance after the correction over all ways and sizes. And
# all of this is about one small network whose fills are smooth, so that enlarging them loses little: one that draws texture may lose
# more. Measure yours with the same command.
# %%
served_costs["GMAC"] = served_costs.gmac
shown = served_costs.pivot(index="method", columns="bucket", values=["GMAC", "seconds", "peak_mb"]).loc[list(WAYS)]
shown = shown[[(kind, f"{side} px") for kind in ("GMAC", "seconds", "peak_mb") for side in sides]]
print(shown.round(1).to_string())
# %% [markdown]
# Read it: other rates cost nothing, as a kernel has nine weights at any rate. `resized` costs the same at every size, little at large
# ones; `chosen` pays a fill a candidate more.
# %%
runs.finish(
    out_dir,
    {"features": accounts.features[0], "runs": len(found), "failed": missing, "seeds": n_seeds, "steps": int(n_steps),
     "n_images": n_images, "psnr": dict(summary[(summary.metric == "psnr") & (summary.bucket == ALL)].set_index("method")["mean"])},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - A switch is a parameter; a variant differs from the method in what its name says, and in nothing else.
# - Seeds are a sample, as photographs are: without several of them no difference between trainings is known.
# - An interval that holds 0 says "not told apart", never "equal".
# - The released labels raise the score of a hole for both networks; the paper's, like PatchGAN's, set them against each other.
# - The same weights serve other rates; that this is better than leaving them alone is a belief, and measuring did not confirm it.
#
# Next: [9 · User study](09_user_study.ipynb), what people prefer.
