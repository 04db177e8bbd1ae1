# %% [markdown]
# # 3 · Discriminator: which patches are called fake
# **You will** draw what PatchGAN, HM-PatchGAN and SM-PatchGAN ask of a discriminator for one mask, work the labels of a
# 4x4 example by hand, and see why the labels of the released code make no game of it.
# **Needs** notebook 1 (masks). **Takes** 15 s on a CPU.
#
# A discriminator $D$ gives every 70x70 px patch of a picture a score. It is trained on photographs $x$ and on
# composites $z = x \odot (1 - m) + \hat x \odot m$. In a photograph every patch is real. And in a composite?
# %% tags=["parameters"]
seed = 0  # of the mask and of the initial weights
size = 256  # side of the picture, pixels
hole = 0.25  # share of the picture that is hole
photograph = "pagoda.jpg"  # file in the test split
data_dir = "../data/samples"  # embedded photographs
out_dir = "../results/notebook/03_discriminator"  # figures, tables and metrics.json go here
# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn import functional as F

from aotlib import figures, losses, runs, tables
from aotlib.data import InpaintingDataset
from aotlib.model import Discriminator

figures.style()
sample = InpaintingDataset([Path(data_dir, "test", photograph)], size=size, seed=seed, mask_ratio=hole, augment=False)[0]
x, m = sample["image"][None], sample["mask"][None]
# %% [markdown]
# ## 3.1 A map of scores
# Three 4x4 convolutions of stride 2 and two of stride 1 turn $H \times W$ pixels into $(H/8 - 2) \times (W/8 - 2)$
# scores.
#
# **Guess**: how many scores has a 256 px picture, and how far apart are the patches that two neighbouring scores judge?
# %% tags=["nbval-check-output"]
discriminator = Discriminator(width=8, seed=seed).eval()
probe = x.clone().requires_grad_(True)
scores = discriminator(probe)
patches = []
for column in (10, 11):
    (gradient,) = torch.autograd.grad(scores[0, 0, 10, column], probe, retain_graph=True)
    seen = torch.nonzero(gradient.abs().sum((0, 1, 2)))
    patches.append((seen.min().item(), seen.max().item()))
(first, last), (next_first, _) = patches
assert last - first + 1 == losses.PATCH and next_first - first == losses.STRIDE
print(f"{scores.shape[2]} x {scores.shape[3]} scores; score 10 sees columns {first} to {last}, score 11 from {next_first} on")
# %% [markdown]
# 70 px wide, 8 px apart: neighbouring patches share most of their pixels, and near a hole nearly every patch is mixed.
#
# ## 3.2 Three answers to one question
# What should $D$ say of a composite's patch?
#
# - **PatchGAN**: 0 (fake), everywhere. But most of a composite *is* a photograph.
# - **HM-PatchGAN** (hard mask): $1 - m$ at the patch's centre. But the patches at the hole's border are half and half.
# - **SM-PatchGAN** (soft mask): $\sigma(1 - m)$, the share of known pixels in the patch, the middle counting most: a
#   Gaussian filter over exactly those 70x70 px, sampled every 8 px.
#
# ($\sigma$ is this filter here, not the sigmoid of notebook 2.)
#
# $$ L_D = E\left[(D(z) - \sigma(1 - m))^2\right] + E\left[(D(x) - 1)^2\right] $$
# %%
designs = ("patchgan", "hm_patchgan", "sm_patchgan")
target = {design: losses.targets(m, design)[1] for design in designs}
fig, axes = plt.subplots(1, 5, figsize=(figures.PAGE, 1.75))
axes[0].imshow((figures.show_holes(x, m)[0].permute(1, 2, 0) + 1) / 2)
axes[0].set(title="composite", xticks=[], yticks=[])
axes[1].imshow(1 - m[0, 0], cmap="gray", vmin=0, vmax=1)
axes[1].set(title="$1 - m$", xticks=[], yticks=[])
for ax, design in zip(axes[2:], designs):
    ax.imshow(target[design][0, 0], cmap="gray", vmin=0, vmax=1)
    ax.set(title=design, xticks=[], yticks=[])
figures.save(fig, f"{out_dir}/figures", "targets")
plt.show()
# %% [markdown]
# Read it: black is "fake". PatchGAN denies the whole picture; the hard mask has steps; the soft mask fades at the border,
# and its middle is darkest where the hole is wide.
# %% tags=["nbval-check-output"]
soft = target["sm_patchgan"]
known = losses.cell_mask(1 - m)
wrong = {
    "patchgan": (known == 1).double().mean().item(),
    "hm_patchgan": ((soft > 0.25) & (soft < 0.75) & ((known == 0) | (known == 1))).double().mean().item(),
}
print(f"patches with a wholly known centre that PatchGAN calls fake: {wrong['patchgan']:.0%}")
print(f"patches that are mixed (25 to 75 % known) although their centre is not: {wrong['hm_patchgan']:.0%}")
assert wrong["patchgan"] > 0.5 > wrong["hm_patchgan"] > 0
# %% [markdown]
# ## 3.3 The label figure of the paper, regenerated
# The paper explains its labels on 4x4 patches: all 1 for the photograph, and three matrices for a composite. Here are such
# matrices as the code makes them: a picture of 48 px gives 4x4 scores; its lower right corner, from pixel 22 on, is the
# hole. The paper's drawing has exactly 1 outside the hole; in so small a picture every 70 px window reaches it.
#
# **Guess** the first number of the soft matrix, far from the hole: exactly 1, or a little less?
# %%
small = torch.zeros(1, 1, 48, 48)
small[..., 22:, 22:] = 1
matrices = {"real": torch.ones(4, 4)} | {d: losses.targets(small, d)[1][0, 0] for d in designs}
fig, axes = plt.subplots(1, 4, figsize=(figures.PAGE, 1.9))
for ax, (name, matrix) in zip(axes, matrices.items()):
    figures.draw_labels(ax, matrix, digits=2)
    ax.set_title(name)
figures.save(fig, f"{out_dir}/figures", "labels")
plt.show()
# %% tags=["nbval-check-output"]
print(matrices["sm_patchgan"].numpy().round(2))
at = torch.arange(70) - 34.5  # the same number by hand: the window's share of known pixels
window = torch.exp(-0.5 * (at / losses.SIGMA) ** 2)
window = window / window.sum()
in_hole = [window[8 * i + 11.5 + at >= 22].sum().item() for i in range(4)]  # beyond the frame it goes on
by_hand = 1 - in_hole[0] * in_hole[3]
assert abs(by_hand - matrices["sm_patchgan"][0, 3].item()) < 1e-6
print(f"row 0, column 3 by hand: 1 - {in_hole[0]:.3f} * {in_hole[3]:.3f} = {by_hand:.3f}")
# %% [markdown]
# Read it: the soft labels fall from nearly 1 to 0.15. Even the far corner is a little below 1, since its patch
# reaches into the hole; the hard mask cannot say that.
#
# ## 3.4 What the generator wants
# The generator is praised where it was asked to work, inside the hole:
# $$ L_{adv} = E\left[(D(z) - 1)^2 \odot m\right]. $$
# The **released code** has other labels: photograph 0, composite $\sigma(m)$ (near 1 in a wide hole), and the generator wants 1.
#
# **Guess**: for a patch in the hole, do $D$ and $G$ of the released code want the same, or the opposite?
# %% tags=["nbval-check-output"]
deepest, farthest = soft.flatten().argmin().item(), soft.flatten().argmax().item()  # patches of the mask of 3.2
rows = []
for design in (*designs, "released"):
    on_real, on_fake = losses.targets(m, design)
    cells = losses.cell_mask(on_fake) if design == "released" else on_fake  # its labels have the picture's size
    known_label, hole_label = cells.flatten()[farthest].item(), cells.flatten()[deepest].item()
    rows.append((design, on_real.flatten()[0].item(), known_label, hole_label, 1.0, 1.0 - hole_label))
columns = ["design", "D: photograph", "D: known", "D: hole", "G: hole", "G - D in the hole"]
table = pd.DataFrame(rows, columns=columns)
tables.write(table, f"{out_dir}/tables", "labels")
print(table.round(2).to_string(index=False))
# %% [markdown]
# Read it: in the paper's design $G$ wants 1 where $D$ is to say nearly 0: a contest. In the released code both want nearly
# 1 in the hole. Nobody pulls the other way: it is no adversary, and the generator learns from its other losses.
#
# ## 3.5 The same in gradients
# Take $D(z) = 0.5$ everywhere and let both losses pull at the patch that is deepest in the hole.
# %% tags=["nbval-check-output"]
pull = {}
for design in ("sm_patchgan", "released"):
    fake = torch.full_like(soft, 0.5, requires_grad=True)
    real = torch.full_like(soft, losses.targets(m, design)[0].mean().item())
    (for_g,) = torch.autograd.grad(losses.generator_loss(fake, m, design), fake)
    (for_d,) = torch.autograd.grad(losses.discriminator_loss(real, fake, m, design), fake)
    pull[design] = [-gradient.flatten()[deepest].item() for gradient in (for_g, for_d)]
    arrows = ["up" if value > 0 else "down" for value in pull[design]]
    print(f"{design:>12}: G pulls D(z) {arrows[0]}, D pulls it {arrows[1]}")
assert pull["sm_patchgan"][0] > 0 > pull["sm_patchgan"][1] and min(pull["released"]) > 0
# %% [markdown]
# ## 3.6 Two more faults of the released loss
# It multiplies the *averaged* loss by mask / mean(mask) and averages again. That cancels; and without a hole it divides by
# zero.
# %% tags=["nbval-check-output"]
score = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(seed))
reduced = F.mse_loss(score, torch.ones_like(score))
weighted = (reduced * small / small.mean()).mean()
masked = ((score - 1) ** 2 * small).sum() / small.sum()
assert abs(weighted - reduced) < 1e-6
no_hole = (reduced * torch.zeros_like(small) / 0.0).mean()
print(f"plain {reduced:.4f}, released weighting {weighted:.4f}, true mean over the hole {masked:.4f}, no hole: {no_hole}")
# %%
runs.finish(
    out_dir,
    {"scores_per_side": scores.shape[2], "patch_px": last - first + 1, "known_called_fake_by_patchgan": wrong["patchgan"],
     "sm_hole": matrices["sm_patchgan"][3, 3].item(), "sm_known": matrices["sm_patchgan"][0, 0].item(),
     "released_pulls_together": min(pull["released"]) > 0},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - A score judges a 70 px patch; patches lie 8 px apart, so that most patches near a hole are mixed.
# - SM-PatchGAN's target is how real a patch is: a Gaussian share of its known pixels.
# - The generator is judged in the hole only. The released labels point both players the same way.
#
# Next: [4 · Losses](04_losses.ipynb), the three that do not need a second network to be trained.
