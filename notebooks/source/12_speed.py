# %% [markdown]
# # 12 · Speed: where the time of a training step goes
# **You will** count the arithmetic of a step, prove that a leaner step has the same gradients, time one measure after the
# other, compare four ways to compute a dilated convolution, and read what a machine that you do not have was measured at.
# **Needs** notebooks 2 to 5. **Takes** 20 s on a CPU. Times below are those of a small network on the machine that
# ran this notebook, and of that day; run it on yours. `make bench` measures the full-width networks.
# %% tags=["parameters"]
size = 64  # side of the pictures of a training step, pixels
batch = 2  # pictures a step
width = 16  # channels of the first layer; the paper's is 64
n_blocks = 2  # AOT blocks; the paper's is 8
fill_size = 128  # side of the picture to fill, and of the one whose feature maps the layers see, pixels
repetitions = 9  # of everything that is timed, after one call that is not counted
compile_networks = False  # also time torch.compile; the first call takes minutes on a CPU
bench_dir = "../results/bench"  # the committed measurements, one file a machine
out_dir = "../results/notebook/12_speed"  # figures, tables and metrics.json go here
# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from aotlib import figures, records, runs, tables
from aotlib.bench import inference, layers, reference, steps
from aotlib.bench.timing import Budget
from aotlib.features import FeatureNet, seeded_layers, vgg_layers
from aotlib.hardware import multiplies_bfloat16, pick_device
from aotlib.model import Discriminator, Generator
from aotlib.step import build, generator_gradients

figures.style()
device = pick_device("auto")
machine = f"{records.device_name()}, threads: {torch.get_num_threads()}, width {width}, {n_blocks} blocks"
budget = Budget(40)  # seconds for all repetitions; each function is timed at least three times
# %% [markdown]
# ## 12.1 Arithmetic: what must be computed at all
# A convolution's time is mostly its multiply-adds (MAC). torch counts them, without computing anything: on the device
# `meta` a tensor has a shape and no numbers.
#
# **Guess**: one pass of the generator over a picture of 512 px, in multiply-adds: $3 \cdot 10^8$, $3 \cdot 10^{10}$ or
# $3 \cdot 10^{11}$? And a pass of VGG19, which is only there to judge?
# %% tags=["nbval-check-output"]
def gmac(function):
    """Billions of multiply-adds of what `function` does, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 2e9  # a multiply-add is two operations


x, m = torch.empty(1, 3, 512, 512, device="meta"), torch.empty(1, 1, 512, 512, device="meta")
judge = Discriminator().to("meta")
passes = {
    "generator": gmac(lambda: Generator().to("meta")(x, m)),
    "discriminator": gmac(lambda: reference.scores(judge, x, reference.normalised_weights(judge, False))),
    "VGG19 to relu5_4": gmac(lambda: vgg_layers("relu5_4").to("meta")(x)),
    "VGG19 to relu5_2": gmac(lambda: vgg_layers("relu5_2").to("meta")(x)),
}
for name, value in passes.items():
    print(f"{name:>16}: {value:6.1f} GMAC a pass")
# %% [markdown]
# A backward pass through a layer computes two more products of the same size: one for the layer's input, one for its
# weights. So $G$ costs three passes a step. The *released* code runs VGG19 four times: fake and photograph, for the
# perceptual and again for the style loss, to its last layer. And $D$ three times: $D(z)$ for $G$, $D(x)$, $D(z)$.
#
# **Guess**: which share of the released step's arithmetic is VGG19's?
# %% tags=["nbval-check-output"]
G, D, V4, V2 = passes.values()
shares = pd.DataFrame(
    {"G": [3 * G, 3 * G],
     "VGG19": [(4 + 2) * V4, (2 + 1) * V2],  # forward passes, and backward ones to the input: its weights are frozen
     "D": [3 * 3 * D, 2 * D + 2 * 3 * D]},  # frozen for G, it needs no gradient of its weights
    index=["released", "lean"],
)  # fmt: skip
config = steps.config_for(512, 1)
plain = reference.build(config, vgg_layers("relu5_4").requires_grad_(False), torch.device("meta"))


def backward_passes(lean):
    z, values = reference.generator_losses(plain, {"image": x, "mask": m}, config, lean)
    values["total"].backward()
    reference.discriminator_loss(plain, {"image": x, "mask": m}, z, config, lean).backward()


counted = [gmac(lambda k=lean: backward_passes(k)) for lean in ((), reference.MEASURES)]
for name, by_hand, count in zip(shares.index, shares.sum(axis=1), counted):
    print(f"{name:>8}: {by_hand:.0f} GMAC by hand, {count:.0f} counted; VGG19 {shares.VGG19[name] / by_hand:.0%}")
    assert abs(count / by_hand - 1) < 0.02
# %%
fig, ax = plt.subplots(figsize=(figures.COLUMN, 1.7))
shares.iloc[::-1].plot.barh(stacked=True, ax=ax)
ax.set(xlabel="GMAC a picture of 512 px and step")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=3)
figures.save(fig, f"{out_dir}/figures", "arithmetic")
plt.show()
# %% [markdown]
# By hand we left out the Gram matrices, and counted gradients that nobody asks for, such as those of the photograph.
#
# Read it: a fifth of the released step's arithmetic changes nothing in $G$. The lean step runs VGG19 once for the
# photographs, without a graph, and once for the fakes, and stops at relu5_2, the deepest layer that a loss looks at.
#
# ## 12.2 The same gradients, sooner
# Leaving work out is only allowed if nothing else changes. `aotlib.bench.reference` is the released order of work, written
# anew: its own Gram matrix, its own Gaussian, its own padding. Both get the same weights and the same batch, on the CPU:
# its float32 is float32, where a GPU may round convolutions to tf32. One thing does change, and is left out of the
# comparison (`iterate=False`): $D$'s spectral norm takes a step of its power iteration in every training pass, three in
# the released step and one in ours.
#
# **Guess**: to how many digits do the two gradients agree?
# %% tags=["nbval-check-output"]
cpu = torch.device("cpu")
exact = steps.config_for(64, 2, 16, 2, precision="float32", compile="off")
vgg, noise = seeded_layers("relu5_4", 16), steps.random_batch(64, 2, cpu)
plain, state = reference.build(exact, vgg, cpu), build(exact, cpu)
ours = generator_gradients(state, noise, FeatureNet(vgg[:32], "seeded"), exact)[1]
theirs = reference.generator_losses(plain, noise, exact, iterate=False)[1]
theirs["total"].backward()
worst = max(abs(ours[name].item() / value.item() - 1) for name, value in theirs.items())
pairs = zip(state.generator.parameters(), plain.generator.parameters())
off = max(((a.grad - b.grad).abs().max() / b.grad.abs().max()).item() for a, b in pairs)
print(f"losses agree to 1 in 100,000: {worst < 1e-5}; gradients: {off < 1e-5}")
print("gradient left in D by the released order:", any(p.grad is not None for p in plain.discriminator.parameters()))
print("gradient left in D by the lean order:", any(p.grad is not None for p in state.discriminator.parameters()))
# %% [markdown]
# Now one measure after the other. They take turns, so that a machine that slows down meanwhile slows all of them; the
# bar is the median, the line holds the middle half of the repetitions.
#
# **Guess**: four measures stand between the released order and ours: VGG19 twice instead of four times, $D$ in one pass,
# one fused Adam, channels_last (the channels of a pixel side by side in memory). Which one brings most here?
# %%
config = steps.config_for(size, batch, width, n_blocks, compile="on" if compile_networks else "off")
vgg = seeded_layers("relu5_4", width)
ladder = pd.DataFrame(steps.ladder(config, vgg, device, budget.part(0.5), n=repetitions))
if "failed" in ladder:
    print(*ladder.failed.dropna(), sep="\n")
    ladder = ladder[ladder.failed.isna()]
tables.write(ladder, f"{out_dir}/tables", "ladder")
fig, ax = plt.subplots(figsize=(figures.COLUMN, 0.35 * len(ladder) + 0.9))
spread = [1000 * (ladder.median_s - ladder.low_s), 1000 * (ladder.high_s - ladder.median_s)]
ax.barh(ladder.name, 1000 * ladder.median_s, xerr=spread, color=figures.PALETTE["blue"])
ax.invert_yaxis()
ax.set(xlabel="one step / ms")
fig.text(0, 0, f"{machine}, {size} px, batch {batch};\n{steps.FEATURES}", fontsize=5, va="bottom")
fig.get_layout_engine().set(rect=(0, 0.1, 1, 0.9))
figures.save(fig, f"{out_dir}/figures", "ladder")
plt.show()
print("bfloat16 is", "measured too" if multiplies_bfloat16(device) else "left out: this processor would only emulate it")
# %% [markdown]
# Read it: from the reference on, a measure is added to those above. The bars called aotlib are the ways in which notebook 5
# can run: beyond the bar above them they pad once for all branches, take a separable Gaussian only where a patch has its
# centre, and keep a running average, which costs a little. A measure can cost time on one machine and win it on another:
# that is why one measures.
#
# ## 12.3 One layer: four ways to the same numbers
# A convolution of rate $r$ looks at every $r$-th pixel, so that it never mixes the $r^2$ sub-grids of the picture: it *is*
# $r^2$ ordinary convolutions. Libraries tune ordinary ones best. Is it worth taking the picture apart (*space to batch*)?
#
# **Guess**: at which rate will it win, if at any?
# %% tags=["nbval-check-output"]
rng = torch.Generator().manual_seed(0)
picture, kernel = torch.randn(1, 8, 21, 30, generator=rng), torch.randn(4, 8, 3, 3, generator=rng)
for rate in layers.RATES:
    apart = layers.split(torch.zeros(1, 8, 16, 16), rate)
    same = torch.allclose(layers.space_to_batch(picture, kernel, rate), layers.dilated(picture, kernel, rate), atol=1e-4)
    print(f"rate {rate}: 16 x 16 px become {len(apart):2d} pictures of {apart.shape[-1]:2d} px; same result: {same}")
    assert same
# %%
table = layers.layer_table(device, budget.part(0.3), size=fill_size, width=width, n=repetitions)
layer = pd.DataFrame(table)
layer["way"] = layer.form.str.replace("_", " ") + ", " + layer.layout + ", " + layer.precision
tables.write(layer, f"{out_dir}/tables", "layers")
fig, ax = plt.subplots(figsize=(figures.PAGE, 2.6))
layer.pivot(index="rate", columns="way", values="both_tflops").mul(1000).plot.bar(ax=ax, rot=0)
ax.set(xlabel="rate", ylabel="GFLOP/s, both passes")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
fig.text(0, 0, f"{machine}; 3x3, {4 * width} to {width} channels, {fill_size // 4} px", fontsize=5, va="bottom")
fig.get_layout_engine().set(rect=(0, 0.05, 1, 0.95))
figures.save(fig, f"{out_dir}/figures", "layers")
plt.show()
for row in layers.fastest(table):
    print("{precision}, rate {rate}: {form}, {layout}; {ratio:.1f} times as fast as dilated, contiguous".format(**row))
# %% [markdown]
# Read it: at rate 1 there is nothing to take apart. A higher bar is a faster way; the winner depends on machine, channels
# and size, so that aotlib calls the plain dilated convolution and the bench file says what another form would bring.
#
# ## 12.4 Filling: faster, and how much different?
# Whoever only fills needs no gradient. A way that is faster by computing with fewer digits must say what they cost: the
# largest difference of any pixel value, between -1 and 1, to plain float32. One level of 8 bits is 0.0078.
#
# **Guess**: does channels_last change the result?
# %%
filled = inference.inference_row(
    fill_size, 1, device, budget.part(0.8), width=width, n_blocks=n_blocks, n=repetitions, compile_=compile_networks
)
columns = ["name", "median_s", "low_s", "high_s", "n", "max_abs_diff", "mean_abs_diff", "failed"]
first = {"name": "plain float32", "median_s": filled["reference_s"], "max_abs_diff": 0.0, "mean_abs_diff": 0.0}
ways = pd.DataFrame([first | filled["reference_spread"], *filled["variants"]])
ways = ways[[column for column in columns if column in ways]]
tables.write(ways, f"{out_dir}/tables", "fill")
print(f"{machine}, {fill_size} px, untrained He weights")
ways.rename(columns=lambda name: name.replace("_s", " / s"))
# %%
for way in filled["variants"]:
    if "failed" not in way:
        print(f"{way['name']}: at most {way['max_abs_diff'] / 0.0078:.4f} levels of 8 bits")
# %% [markdown]
# Read it: another layout adds the same products in another order, and the last digits differ: far below what 8 bits show.
# bfloat16, where the processor has it, keeps 8 bits of each factor, and a GPU's tf32 keeps 11: see their rows first.
#
# ## 12.5 Full width, on machines that were measured
# `make bench` takes a quarter of an hour and writes one file a machine, with its number format, threads and versions: times
# without these mean nothing. Here is what this checkout holds.
# %%
rows = []
for path in sorted(Path(bench_dir).glob("*.json")):
    content = json.loads(path.read_text(encoding="utf-8"))
    for row in content.get("train_step", []):
        kept = {key: row[key] for key in ("size", "batch", "reference_s", "lean_s", "ratio", "precision", "compile")}
        rows.append({"device": content["device"], "threads": content["threads"]} | kept)
if rows:
    tables.write(pd.DataFrame(rows), f"{out_dir}/tables", "machines")
    print(pd.DataFrame(rows).round(2).to_string(index=False))
else:
    print("no file in results/bench yet: make bench, on a machine that does nothing else meanwhile")
# %% [markdown]
# ## 12.6 What judging costs
# The tables of the paper rest on 36,500 pictures a method. They are read, filled and scored one at a time; what grows with
# their number is a row of scores each, and with a Fréchet distance 2,048 features. `python -m aotlib.bench.evaluation FOLDER`
# judges 100 and 1,000 pictures without that distance, each count in a process of its own, and times the distance alone both
# ways: through eigenvalues, as here, and through the square root of a matrix, as FID is usually written.
#
# **Guess**: ten times as many pictures need how much more memory?
# %%
judged = []
for path in sorted(Path(bench_dir).glob("evaluation-*.json")):
    content = json.loads(path.read_text(encoding="utf-8"))
    judged += [{"device": content["device"]} | row for row in content["judging"]]
    distance = content["frechet"]
    print(f"{content['device']}: Fréchet distance {distance['seconds']:.1f} s, through sqrtm {distance['sqrtm_s']:.1f} s")
    print(f"the two differ by {abs(distance['value'] - distance['sqrtm_value']):.1g} of {distance['value']:.3g}")
print(pd.DataFrame(judged).to_string(index=False) if judged else "nothing measured yet: python -m aotlib.bench.evaluation FOLDER")
# %%
by_name = ladder.set_index("name").median_s
runs.finish(
    out_dir,
    {"features": "seeded VGG19 layers", "gmac_released": counted[0], "gmac_lean": counted[1], "gradients_differ_by": off,
     "reference_s": by_name["reference"], "lean_s": by_name["aotlib"], "ratio": by_name["reference"] / by_name["aotlib"],
     "fill_reference_s": filled["reference_s"], "fill_fast_s": filled["fast_s"], "fill_fast": filled["fast"],
     "fill_max_abs_diff": filled["max_abs_diff"], "machines": len({row["device"] for row in rows})},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - Count before you time: a fifth of the released step's arithmetic was VGG19 looking again at what it had seen.
# - A faster step is worth nothing until its losses and gradients are shown to be the same.
# - Warm up, repeat, take the median, say how far it scatters; and let rivals take turns.
# - Say with every time: device, threads, number format, size. With every faster way: what it changes in the result.
