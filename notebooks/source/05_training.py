# %% [markdown]
# # 5 · Training: two networks, one step each
# **You will** make one step of the generator and one of the discriminator by hand, check that neither moves the other,
# then train, stop, go on, and watch the fills grow.
# **Needs** notebooks 2 to 4. **Takes** 25 s at these defaults, which learn little; `profiles/course.yaml` trains for
# one and a half to five minutes on two CPU cores, and `profiles/paper.yaml` is the paper's size, for a GPU.
# %% tags=["parameters"]
method = "aot"  # or a compared one: context_encoder, ca, pconv, pen_net, edge_connect, gated_conv, hifill
data = "samples"  # samples, places2, celebahq, openlogo, or a folder with train/ and val/
masks = ""  # folder of mask files whose holes are white; empty: generated masks
mask_high = 0.4  # largest share of the picture that is hole
size = 48  # side of a training crop, pixels
recipe = "paper"  # paper or released
design = "sm_patchgan"  # sm_patchgan, hm_patchgan, patchgan, released or mmagic
soft_size = 70  # side of sm_patchgan's Gaussian window, pixels, even
soft_sigma = 10.0  # of that Gaussian, pixels
width = 8  # channels of the first layer; the paper's is 64
n_blocks = 2  # AOT blocks; the paper's is 8
rates = [1, 2, 4, 8]  # dilation rates of an AOT block
block = "aot"  # aot, or residual: the plain block of the paper's figure
gate = "recipe"  # of the block: recipe (its own), none, paper or released
init = "he"  # initial weights: normal (0.02 at full width, as released) or he
features = "random"  # auto, vgg19, vgg19_conv3 or random
feature_width = 16  # channels of the random feature network's first layer; VGG19 has 64
weight_adv = 0.01  # adversarial loss
weight_rec = 1.0  # reconstruction loss
weight_per = 0.1  # perceptual loss
weight_sty = 62.5  # style loss; 250 for the full-width network, whose Gram matrices are a quarter as large
batch = 4  # images a step
steps = 40  # steps of each network
lr = 0.001  # learning rate of both Adams; the paper's is 0.0001
beta1 = 0.9  # of both Adams; the paper's is 0
beta2 = 0.99  # of both Adams; the paper's is 0.9
ema_decay = 0.9  # running average of the generator's weights
seed = 0  # of weights, order, crops and masks
processes = 1  # that train together, one a GPU; 0: as many as there are GPUs
workers = 0  # processes that read images
log_every = 10  # steps between two lines of the log
sample_every = 20  # steps between two looks at the held-out pictures
save_every = 20  # steps between two states on disk
data_dir = "../data/samples"  # where the data set is
out_dir = "../results/notebook/05_training"  # weights, log, state, figures and metrics.json go here
# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from aotlib import figures, launch, quarantine, runs, tables
from aotlib.config import TrainConfig
from aotlib.features import load_features
from aotlib.hardware import pick_device
from aotlib.images import read_image, to_float
from aotlib.step import build, discriminator_gradients, generator_gradients, training_step
from aotlib.train import training_batches
from aotlib.trainlog import draw_losses, line, read_log
from aotlib.validation import held_out

figures.style(inline="jpeg")
config = TrainConfig.of(globals())
# %% [markdown]
# `TrainConfig` holds everything that decides a run. Its own defaults are the paper's where they are known; the
# parameters above make it small. What differs here:
# %% tags=["nbval-check-output"]
paper = TrainConfig()
rows = [(name, getattr(paper, name), getattr(config, name)) for name in ("size", "width", "n_blocks", "batch", "lr")]
print(pd.DataFrame(rows, columns=["", "paper", "here"]).to_string(index=False))
# %% [markdown]
# ## 5.1 One step of each, by hand
# $G$ descends $L = 0.01 L_{adv} + L_{rec} + 0.1 L_{per} + 250 L_{sty}$. To know $L_{adv}$ it must ask $D$, and
# back-propagation would happily leave a gradient in $D$'s weights. The released code does, and adds it to $D$'s own. Here
# $D$ is frozen while $G$'s gradient is computed.
#
# **Guess**: after $L$'s backward pass, which of the two networks has a gradient? And after $L_D$'s, has $G$'s changed?
# %% tags=["nbval-check-output"]
device = pick_device(config.device)
state = build(config, device)
network = load_features(features, seed=seed, width=feature_width).to(device)
first = next(training_batches(config, 0, device, Path(out_dir)))


def gradient(module):
    found = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    return torch.cat(found) if found else None


if method == "aot":
    z, values = generator_gradients(state, first, network, config)
    g = gradient(state.generator).clone()
    print("after L's pass:   G has a gradient", g is not None, "| D has one", gradient(state.discriminator) is not None)
    values |= discriminator_gradients(state, first, z, config)
    same = torch.equal(g, gradient(state.generator))
    print("after L_D's pass: D has a gradient", gradient(state.discriminator) is not None, "| G's is the same", same)
    assert same and not z.requires_grad
    state.optimiser_g.step(), state.optimiser_d.step()  # each network descends its own loss
else:  # the losses of its own paper: notebook 7
    values = training_step(state, first, network, config)
print("losses:", *values)
# %% [markdown]
# ## 5.2 Train
# `launch.start` repeats this, in this process or, where there are several GPUs, in one process a GPU (`torchrun`, the batch
# cut into equal parts, gradients averaged), and writes a line of `log.jsonl` every `log_every` steps. Run this cell again
# after it was interrupted: it goes on from the newest state, and ends bit for bit where an undisturbed run would have ended
# (on one CPU with the same number of threads), because crop, flip, colour and mask of every sample are a function of
# (seed, epoch, index). An interruption waits for the step at hand and saves the state first; after a kill -9 it goes on
# from the last state that was saved.
# %%
every = max(1, steps // log_every // 8)  # at most about eight lines here; all are in log.jsonl


def report(row):
    if row["step"] // log_every % every == 0:
        shown = "rec" if method == "aot" else "total"
        print(line({k: row[k] for k in ("step", shown, "dis", "images_per_s") if k in row}, steps, batch))


last = launch.start(config, out_dir, report)
set_aside = quarantine.listed(Path(out_dir, "quarantine.csv"))
print(f"{len(set_aside)} files set aside", *set_aside[:5], sep="\n")
log = pd.DataFrame(read_log(out_dir))
# %% tags=["nbval-check-output"]
assert log.step.iloc[-1] == steps and log.notna().all()["total"]
fell = "rec" not in log or bool(log.rec.iloc[-1] < log.rec.iloc[0])  # other methods have other names for it
assert fell, "the reconstruction loss did not fall"
print("lines of the log:", len(log), "| the reconstruction loss fell:", fell)
# %% [markdown]
# ## 5.3 Curves
# **Guess**: which loss falls first, and which one should *not* go to zero?
# %%
fig = draw_losses(log, f"data: {data}; feature network: {network.name}")
figures.save(fig, f"{out_dir}/figures", "losses")
plt.show()
# %% [markdown]
# Read it: in the few committed steps all losses fall. In a longer run (profile `course`) $L_{rec}$ and the feature losses
# fall ever more slowly and stay far from zero, for a hole has more than one answer; $D$'s loss goes on falling, because blurred
# fills are easy to tell from photographs.
#
# ## 5.4 Held-out pictures over time
# The running average of $G$'s weights fills the same holes in the same validation pictures, which it never trains on.
# %%
watch = held_out(config, torch.device("cpu"))
count, side = len(watch["image"]), watch["image"].shape[-1]
strips = sorted(Path(out_dir, "samples").glob("step_*.png"))
strips = [strips[i] for i in sorted({0, len(strips) // 3, 2 * len(strips) // 3, len(strips) - 1})]
rows = [[figures.show_holes(x, m) for x, m in zip(watch["image"], watch["mask"])]]
for strip in strips:
    row = to_float(read_image(strip))
    rows.append([row[:, :, i * side : (i + 1) * side] for i in range(count)])
rows.append(list(watch["image"]))
labels = ["input", *[f"step {int(s.stem[5:])}" for s in strips], "truth"]
captions = [[label if i == 0 else "" for i in range(count)] for label in labels]
fig = figures.grid(rows, [""] * count, captions)
figures.save(fig, f"{out_dir}/figures", "over_time")
plt.show()
# %%
scores = log.dropna(subset=["val_psnr"])[["step", "val_psnr", "val_hole_l1"]]
best = scores.loc[scores.val_hole_l1.idxmin()]
tables.write(scores, f"{out_dir}/tables", "held_out")
print(scores.round(3).to_string(index=False))
print(f"kept as generator_best.safetensors: step {best.step:.0f}, the lowest error inside the holes")
# %% [markdown]
# Read it: grey first, then the colours of the surroundings; edges that go on into the hole come last. How far it gets is a
# matter of steps: the committed notebook makes 40 (grey), the profile `course` 1,600 (colours), the released recipe a
# million.
# %%
runs.finish(
    out_dir,
    {"features": network.name, "method": method, "steps": steps, "rec": last.get("rec", last["total"]),
     "val_psnr": last["val_psnr"], "val_hole_l1": last["val_hole_l1"], "images_per_s": log.images_per_s.median(),
     "training_seconds": log.seconds.iloc[-1]},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - Two optimisers, two losses, no gradient across: freeze $D$ while $G$ learns, detach $z$ while $D$ learns.
# - Losses, gradients and counts are checked before any weight changes: a loss that is not a number ends the run, or is
#   skipped and counted (`on_bad_loss`), and never reaches the weights.
# - Randomness that is a function of (seed, epoch, index) makes a run resumable and independent of the number of workers.
# - $L_{rec}$ alone gives colours; the other three ask for texture, and take time.
#
# Next: [6 · Evaluation](06_evaluation.ipynb), what the result is worth.
