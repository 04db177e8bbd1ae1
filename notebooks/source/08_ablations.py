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
larger_dir = "../results/reference/ablations"  # tables of a larger set of runs
data_dir = "../data/samples"  # where the data set is
out_dir = "../results/notebook/08_ablations"  # figures, tables and metrics.json go here
# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from aotlib import ablations, adversary, contest, crossed, figures, manifest, panels, runs, tables
from aotlib.data import dataset_files
from aotlib.hardware import pick_device
from aotlib.images import common_folder, to_float
from aotlib.intervals import ALL
from aotlib.masks import BUCKETS, composite, load_masks
from aotlib.profiles import FULL
from aotlib.selection import spread_evenly
from aotlib.weights import load_discriminator, load_generator

figures.style(inline="jpeg")
if not ablation_runs:
    print("no runs: the smallest ones are made now, which learn next to nothing")
    ablation_runs = contest.smallest(f"{out_dir}/runs", "ablations")
found, missing = ablations.finished(ablation_runs)
print(f"{len(found)} finished runs; failed: {', '.join(missing) or 'none'}")
# %% [markdown]
# ## 8.1 One switch each
# A variant is no copy of the network but a parameter of it: `Generator(block=..., gate=..., rates=...)`, the `design` of the labels,
# a weight of 0 for a loss. What each changes stands in `profiles/ablations.yaml`; all else is the full method's: initial weights
# (where shapes agree), photographs, crops and holes of the same seed.
#
# The paper's own three: *gated contextual transformations* (branches of several rates, against the plain residual block, a 3x3
# convolution of rate 2 and one of rate 1), the *gated residual* (against adding the identity), and *SM-PatchGAN* (against PatchGAN
# and HM-PatchGAN).
#
# **Guess**: which of these switches makes the network smaller?
# %%
changes = ablations.changes(grid)
costs = ablations.costs(found, size).round(3).astype(object)
switches = ablations.switches(grid).merge(costs, on="variant", how="left").fillna(ablations.NOT_RUN)
tables.write(switches, f"{out_dir}/tables", "switches")
accounts = ablations.accounts(found)
accounts.to_csv(Path(out_dir, "tables", "runs.csv"), index=False, lineterminator="\n")
switches
# %% tags=["nbval-check-output"]
first = min(seed_ for variant, seed_ in found if variant == FULL)
whole, gateless = (load_generator(found[variant, first] / contest.WEIGHTS) for variant in (FULL, "no_gate"))
gates = sum(parameter.numel() for block in whole.blocks for parameter in block.gate.parameters())
sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in (whole, gateless)]
assert sizes[0] - sizes[1] == gates
print(f"the gates are {gates / sizes[0]:.0%} of the weights; without them every other weight is still there")
# %% [markdown]
# Read it: splitting a convolution over rates costs nothing (notebook 2), so that only the gate has weights of its own, a 3x3
# convolution in every block. *reach* is the receptive field in pixels. A better score of the full method could then be its larger
# size; the plain block with the gate (`no_context`) is the fair rival of the branches.
#
# ## 8.2 Scores over seeds and photographs
# Train a network again with another seed, and it scores differently: a difference of 0.1 dB between two runs may be luck. Every run
# fills the same holes, so that its scores are a table of seeds $s$ by images $i$,
# $$ y_{si} = \mu + a_s + b_i + e_{si}, \qquad \widehat{\mathrm{Var}}(\bar y) = (MS_a + MS_b - MS_e) / (S I), $$
# with the mean squares of the two-way analysis of variance. Variants are compared by *differences* to the full method with the same
# seed on the same image, which takes out much of both.
#
# **Guess**: ten photographs and one seed, or five and two seeds: which tells more about a method?
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
tables.write(shown, f"{out_dir}/tables", "psnr")
n_seeds, n_steps = accounts.seed.nunique(), accounts.steps.max()
extent = "small run: " if n_steps < 100_000 else ""
note = f"{extent}{n_steps:,} steps, seeds: {n_seeds}, photographs: {n_images}; {accounts.features[0]} features; {data if data == 'samples' else Path(data).name}"
shown
# %% tags=["nbval-check-output"]
assert set(images.seed) == {seed_ for _, seed_ in found} and images.image.nunique() == n_images
told = versus[(versus.metric == "psnr") & (versus.bucket == "all")]
assert not told.significant[told.seeds < 2].any(), "one seed cannot tell a method from a lucky start"
print("variants compared with the full method:", len(told), "| seeds:", n_seeds, "| photographs:", n_images)
# %% [markdown]
# "not run" is a variant whose training failed or was not asked for: never a number from elsewhere. With one seed nothing is called
# significant, whatever the photographs say: what another start would have given is unknown.
#
# ## 8.3 The paper's three parts
# %%
parts = [FULL, *[name for name in order if name in set(switches[switches.question == "parts"].variant)]]
fig = panels.differences(versus, parts[1:], to=FULL, note=note)
figures.save(fig, f"{out_dir}/figures", "parts")
plt.show()
# %% [markdown]
# Read it: right of the line is more than the full method has. A filled dot is a difference that holds over seeds and photographs after
# Holm's correction over all buckets and variants; an open one this run cannot tell from none. An interval that reaches far to
# both sides is no proof of equality either: it says that the run was too small.
#
# What a switch does *inside* shows sooner. All variants get the same photograph and hole:
# %%
case = next(manifest.cases(plan, root, masks or None, size=size, bucket=BUCKETS[2]))
x, m = to_float(case.picture_u8)[None].to(device), case.mask[None].to(device)
pairs = {}
for (variant, one), folder in found.items():
    networks = load_generator(folder / contest.WEIGHTS), load_discriminator(folder / "discriminator.safetensors")
    pairs[variant, one] = [network.to(device) for network in networks]
seen = {variant: adversary.look(*pairs[variant, first], x, m) for variant in parts if (variant, first) in pairs}
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
asked = {question: [FULL, *part.variant] for question, part in switches[switches.question != ""].groupby("question")}
fig = panels.differences(versus, asked["rates"][1:], to=FULL, note=note)
figures.save(fig, f"{out_dir}/figures", "rates")
plt.show()
cost_of = switches[switches.variant.isin(asked["rates"])].drop(columns=["question", "parameters"])
tables.write(cost_of, f"{out_dir}/tables", "rates")
cost_of
# %% [markdown]
# Read it: *reach* grows with the largest rate, and arithmetic does not change. A line without a dot was not run here.
#
# ## 8.5 Labels: whom they pull where
# Notebook 3 showed on paper what five designs of labels ask of $D$ and $G$; here they are measured on trained pairs. For each score
# $D(z)$, descent of a loss pulls it up or down, $-\partial L / \partial D(z)$. A contest needs opposite pulls *in the hole*.
#
# $D$ is also a predictor of the mask: is a patch hole or not? IoU compares the patches beyond the middle of the two labels with the
# hole; AUC is the probability that a random patch of the hole looks more like hole than a random known one.
#
# **Guess**: which of the designs has no opposite pulls?
# %%
cases = list(manifest.cases(plan, root, masks or None, size=size, bucket=BUCKETS[2]))
x, m = torch.stack([to_float(one.picture_u8) for one in cases]).to(device), torch.stack([one.mask for one in cases]).to(device)
rows = []
for (variant, one), (generator, critic) in pairs.items():
    design, soft = adversary.labels_of(changes[variant])
    if variant not in (FULL, *asked["labels"], "hm_patchgan", "patchgan"):
        continue
    with torch.no_grad():
        prediction = generator(x, m)
    pulled = adversary.pull(critic, x, prediction, m, design, **soft)
    seen_hole = adversary.finds_hole(critic, composite(prediction, x, m), m, design)
    rows.append({"variant": variant, "seed": one, "design": design} | pulled._asdict() | seen_hole._asdict())
labels = pd.DataFrame(rows).drop(columns="seed").groupby(["variant", "design"], sort=False).mean().reset_index()
labels["contest"] = (labels.g_hole * labels.d_hole < 0).map({True: "yes", False: "no"})
tables.write(labels, f"{out_dir}/tables", "labels")
labels.round(3)
# %% [markdown]
# Read it: means over the seeds, in holes of 20 to 30 %. *g_hole* and *d_hole* are the pulls on patches of the hole: with the paper's
# labels they have opposite signs. *inside* is the share of the generator's adversarial gradient that lies in the hole: what
# PatchGAN and the released labels spend outside cannot change a pixel, as known pixels are pasted in.
#
# ## 8.6 Each loss left out
# %%
fig = panels.differences(versus, asked["losses"][1:], to=FULL, note=note)
figures.save(fig, f"{out_dir}/figures", "losses")
plt.show()
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
# Where it is low, a verdict at a quarter of the budget would have been another one, and so might this one be.
#
# ## 8.8 A larger set of runs
# What the suite's authors could run is kept in `results/reference/ablations`, made by the profile `larger` as its head says.
# %%
kept = {name: pd.read_csv(Path(larger_dir, f"{name}.csv")) for name in ("differences", "runs", "labels", "same_order")}
ran = kept["runs"]
larger_note = f"small run: {ran.steps.max():,} steps, seeds: {ran.seed.nunique()}, photographs: {kept['differences'].n.max()}; {ran.features[0]} features; {ran.device[0]}"
print(f"{len(ran)} runs of {ran.steps.max():,} steps, {ran.seconds.sum() / 3600:.1f} hours of training; {larger_note}")
fig = panels.differences(kept["differences"], order[1:], to=FULL, note=larger_note)
figures.save(fig, f"{out_dir}/figures", "larger")
plt.show()
# %%
sure = kept["differences"][kept["differences"].significant & (kept["differences"].bucket == ALL)]
tables.write(sure[["method", "metric", "difference", "low", "high", "p_holm"]], f"{out_dir}/tables", "larger_sure")
sure[["method", "metric", "difference", "low", "high", "p_holm"]].round(4)
# %% [markdown]
# Read it: the rows above are all that three seeds and these photographs allow to be said, of networks of a quarter of the paper's
# width after 500 steps.
# %%
print(kept["same_order"].round(2).to_string(index=False))
kept["labels"].round(3)
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
# - Only the paper's kind of labels makes generator and discriminator pull against each other in the hole.
#
# Next: [11 · Paper tables](11_paper_tables.ipynb), what the papers report.
