# %% [markdown]
# # 4 · Losses: what each one sees, and what it ignores
# **You will** damage a photograph in six ways, let the reconstruction, perceptual and style losses judge each copy, and see
# where in the picture each loss pushes.
# **Needs** notebooks 1 and 3. **Takes** 20 s on a CPU.
#
# $$ L = 0.01\,L_{adv} + 1\,L_{rec} + 0.1\,L_{per} + 250\,L_{sty} $$
# Notebook 3 took $L_{adv}$ apart. The other three compare a result $z$ with the photograph $x$ directly, or through the
# activations $\phi_i$ of a frozen VGG19.
# %% tags=["parameters"]
seed = 0  # of the mask, the noise and, where the true weights are missing, the feature network
size = 128  # side of the photograph, pixels
photograph = "moss_stars.jpg"  # file in the test split
features = "auto"  # auto, vgg19, vgg19_conv3 or random
data_dir = "../data/samples"  # embedded photographs
out_dir = "../results/notebook/04_losses"  # figures, tables and metrics.json go here
# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torchvision.transforms import v2

from aotlib import figures, losses, runs, tables
from aotlib.data import InpaintingDataset
from aotlib.features import gram, load_features
from aotlib.masks import composite

figures.style(inline="jpeg")
sample = InpaintingDataset([Path(data_dir, "test", photograph)], size=size, seed=seed, mask_ratio=0.2, augment=False)[0]
x, m = sample["image"][None], sample["mask"][None]
network = load_features(features, seed=seed)
print(f"feature network: {network.name}")
# %% [markdown]
# The name matters. `vgg19` knows the world (ImageNet); `random` has the same layers with seeded random weights and knows
# textures only. Which one was there is written into the record of this run and under every figure.
#
# ## 4.1 Three formulas
# $$ L_{rec} = \mathrm{mean}\,|x - \hat x|, \qquad L_{per} = \sum_i \mathrm{mean}\,|\phi_i(x) - \phi_i(z)|, \qquad
#    L_{sty} = E_i\,\mathrm{mean}\,|G_i(x) - G_i(z)| $$
# for a prediction $\hat x$ and its composite $z$ (the released code shows VGG $\hat x$, too; here a copy serves as both),
# with Gram matrices $G_i = \phi_i^\top \phi_i / (C h w)$: how often two channels fire *together*, wherever in the picture.
#
# **Guess**: swap the left and the right half of a picture. Which of the three hardly notices?
# %% tags=["nbval-check-output"]
tiny = torch.arange(8.0).reshape(1, 2, 2, 2)  # one sample, two channels, 2 x 2 positions
swapped = tiny.flip(3)
flat = tiny[0].reshape(2, 4).numpy()
assert np.allclose(gram(tiny)[0].numpy(), flat @ flat.T / 8)
print("L1 of the swap:", losses.l1(tiny, swapped).item(), " Gram matrices equal:", torch.equal(gram(tiny), gram(swapped)))
# %% [markdown]
# ## 4.2 Six damaged copies
# The first four change the hole only; the last two change the whole picture but keep what it is made of.
# %%
rng = torch.Generator().manual_seed(seed)
mean_colour = (x * (1 - m)).sum((2, 3), keepdim=True) / (1 - m).sum()
blurred = v2.functional.gaussian_blur(x, [13, 13], [4.0])
fills = {
    "mean colour": mean_colour.expand_as(x),
    "blur": blurred,
    "noise": (x + 0.35 * torch.randn(x.shape, generator=rng)).clamp(-1, 1),
    "elsewhere": x.roll(size // 2, 3),
}
copies = {name: composite(fill, x, m) for name, fill in fills.items()}
copies["shifted 2 px"] = x.roll((2, 2), (2, 3))
copies["darker"] = x * 0.8 - 0.2
# %%
def judge(z):
    with torch.no_grad():
        real, fake = network(x), network(z)
    return {
        "rec": losses.l1(z, x).item(),
        "per": losses.perceptual(fake, real, network.perceptual_taps).item(),
        "sty": losses.style(fake, real, network.style_taps).item(),
    }


values = pd.DataFrame({name: judge(z) for name, z in copies.items()}).T
relative = values / values.loc["mean colour"]
tables.write(values.rename_axis("copy").reset_index(), f"{out_dir}/tables", "values")
captions = [f"rec {r.rec:.2f}\nper {r.per:.2f}\nsty {r.sty:.2f}" for r in relative.itertuples()]
fig = figures.grid([[x[0], *[z[0] for z in copies.values()]]], ["photograph", *copies], [["", *captions]])
fig.text(0, 0, f"feature network: {network.name}", fontsize=6, va="bottom")
figures.save(fig, f"{out_dir}/figures", "damages")
plt.show()
# %% [markdown]
# Under each copy: its three losses, in units of what the mean-colour fill costs. Read it: a shift of two pixels, which
# nobody sees, is the worst crime to $L_{rec}$ and hardly one to $L_{sty}$; noise is dear to
# $L_{rec}$ and dearer still to the two that look at texture; a piece from elsewhere has the right style.
# %% tags=["nbval-check-output"]
shift, noise, blur = relative.loc["shifted 2 px"], relative.loc["noise"], relative.loc["blur"]
assert shift.sty < 0.5 * shift.rec and noise.rec < noise.per < noise.sty and blur.rec < 1
print("shift: style sees less of it than L1:", bool(shift.sty < shift.rec))
print("noise: the features see more of it than L1:", bool(noise.per > noise.rec))
# %% [markdown]
# ## 4.3 Where each loss pushes
# The gradient $|\partial L / \partial z|$ says which pixels a loss would change first. Take the blurred fill.
#
# **Guess**: a perceptual loss through 3x3 convolutions: does it push at pixels outside the hole, too?
# %%
z = copies["blur"].clone().requires_grad_(True)
with torch.no_grad():
    real = network(x)
fake = network(z)
terms = {
    "rec": losses.l1(z, x),
    "per": losses.perceptual(fake, real, network.perceptual_taps),
    "sty": losses.style(fake, real, network.style_taps),
}
push = {name: torch.autograd.grad(term, z, retain_graph=True)[0].abs().sum(1)[0] for name, term in terms.items()}
# %%
fig, axes = plt.subplots(1, 4, figsize=(figures.PAGE, 1.9))
axes[0].imshow((copies["blur"][0].permute(1, 2, 0) + 1) / 2)
axes[0].set(title="blurred in the hole", xticks=[], yticks=[])
for ax, (name, map_) in zip(axes[1:], push.items()):
    figures.show_map(ax, map_ / map_.max(), label="push / largest", low=0, high=1)
    ax.set_title(name)
fig.text(0, 0, f"feature network: {network.name}", fontsize=6, va="bottom")
figures.save(fig, f"{out_dir}/figures", "push")
plt.show()
# %% tags=["nbval-check-output"]
outside = {name: (map_ * (1 - m[0, 0])).sum().item() / map_.sum().item() for name, map_ in push.items()}
assert outside["rec"] == 0 and outside["sty"] > outside["per"] > 0
print("share of the push outside the hole is zero for:", [name for name, share in outside.items() if share == 0])
# %% [markdown]
# Read it: $L_{rec}$ pushes in the hole with the same force at every wrong pixel. $L_{per}$ pushes at edges and a little
# around the hole; $L_{sty}$ pushes everywhere, because the *whole* picture's statistics are off: it does not know where
# the hole is.
#
# ## 4.4 Why 250?
# The losses are added, so their sizes matter. What share of the weighted sum has each one, copy by copy?
# %%
weights = pd.Series({"rec": 1.0, "per": 0.1, "sty": 250.0})
shares = values.mul(weights).div(values.mul(weights).sum(axis=1), axis=0).rename_axis("copy")
tables.write(shares.reset_index(), f"{out_dir}/tables", "shares")
ax = shares.plot.barh(stacked=True, figsize=(figures.COLUMN, 2.4))
ax.set(xlabel=f"share of the weighted sum (features: {network.name})", ylabel="")
ax.legend(ncol=3, loc="lower center", bbox_to_anchor=(0.5, 1))
figures.save(ax.figure, f"{out_dir}/figures", "shares")
plt.show()
# %% [markdown]
# Read it: for most fills of a hole all three terms count; for pieces of the right texture in the wrong place, style hardly
# does. With random features the bars are true in kind only. Another feature network has activations of another size, so
# the weights belong to the network: 0.1 and 250 are the released code's, for torchvision's VGG19.
# %%
runs.finish(
    out_dir,
    {"features": network.name, "style_of_shift": shift.sty, "reconstruction_of_shift": shift.rec,
     "push_outside_per": outside["per"], "push_outside_sty": outside["sty"]},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - $L_{rec}$ compares pixel by pixel: exact, and blind to texture. It loves blur.
# - $L_{per}$ compares what a network sees there; $L_{sty}$ what it sees anywhere.
# - The composite goes to VGG in the paper's recipe, the raw prediction in the released code's.
#
# Next: [5 · Training](05_training.ipynb), where the four work together.
