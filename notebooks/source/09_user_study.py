# %% [markdown]
# # 9 · User study: which fill people prefer, and how sure that is
# **You will** plan a study of fills, find out how many raters it takes, and turn answers into preferences, abilities and
# intervals that hold what they promise. No person has answered here: *simulated raters* stand in, and everything made from their
# answers says so. Name the folder of your own study in `plan_dir`, and the same cells analyse its answers.
# **Needs** notebook 6. **Takes** 25 s on a CPU.
# %% tags=["parameters"]
data = "samples"  # samples, places2, celebahq, openlogo, or a folder
split = "test"  # not looked at while training
size = 96  # side of the pictures, pixels
n_images = 8  # photographs in the study
sessions = 24  # one a rater
pair = 30  # comparisons of two fills a session
real = 8  # single pictures a session
rank = 4  # rankings a session
n_studies = 20  # simulated anew to see how often intervals hold the truth
seed = 0  # of masks, plan, simulated raters and bootstrap
demo = "../data/weights/aotgan_demo.safetensors"  # weights whose fills take part
plan_dir = ""  # folder of a study that was made by `aotlib study plan`; empty: this notebook makes one, with simulated raters
answers_dir = ""  # where answers to that plan are, a folder or a server's database; empty: in plan_dir, as `study analyse` reads it
coverage_dir = "../results/reference/study"  # a longer run of data/study_coverage.py
data_dir = "../data/samples"  # where the data set is
out_dir = "../results/notebook/09_user_study"  # figures, tables and metrics.json go here
# %%
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from aotlib import evaluate, figures, folders, manifest, runs, tables
from aotlib.classical import FLOORS
from aotlib.data import dataset_files
from aotlib.images import common_folder, read_image, to_float, write_image
from aotlib.masks import BUCKETS
from aotlib.selection import spread_evenly
from aotlib.study import plan as plans
from aotlib.weights import load_generator

figures.style(inline="jpeg")
own = not plan_dir  # the notebook's fills, plan and raters; else those of a study
if answers_dir and own:
    raise ValueError("answers_dir without plan_dir: answers belong to one plan, give its folder, too")
# %% [markdown]
# ## 9.1 Fills of the same holes
# Metrics compare a fill with the truth; people ask whether it looks natural. A study needs no more than folders of pictures with
# the same names: one a method, one of truths, one of masks.
# %%
place = Path(out_dir, "pictures")
shutil.rmtree(place, ignore_errors=True)
if own:
    fills = {"AOT-GAN demo": evaluate.network_fill(load_generator(demo))} | FLOORS
    files = spread_evenly(dataset_files(data, data_dir, split), n_images)
    root = common_folder(files) or data_dir
    holes = manifest.make(files, size=size, buckets=BUCKETS[2:3], seed=seed, files_root=root)
    for case in manifest.cases(holes, root, size=size, bucket=BUCKETS[2]):
        name = f"{Path(case.name).stem}.png"
        write_image(case.picture_u8, place / "truth" / name)
        write_image((case.mask * 255).byte(), place / "masks" / name)
        for method, fill in fills.items():
            write_image(case.filled(fill), place / method / name)
    names, most = list(fills), 60
    shown = [to_float(read_image(place / folder / name)) for folder in (*names, "truth")]
    shown = [figures.show_holes(shown[-1], case.mask), *shown]
# %%
if not own:
    plan = plans.read(plan_dir)
    names, most = plan["methods"], len(plan["images"])
    pair = sum(one["kind"] == "pair" and not (one["catch"] or one["practice"]) for one in plan["sessions"][0]["trials"])
    if not pair:
        raise ValueError(f"{plan_dir}: no trial shows two fills, which this notebook is about; use `aotlib study analyse`")
    at = {one["method"] or one["role"]: one["path"] for one in plan["files"].values() if one["image"] == plan["images"][0]}
    shown = [to_float(read_image(Path(plan_dir, at[name]))) for name in ("input", *names, "truth")]
fig = figures.grid([shown], ["input", *names, "truth"])
plt.show()
# %% [markdown]
# Read it: which of the fills would you take for a photograph? Your answer is one vote, on one image.
#
# ## 9.2 How many votes?
# Let a fill be preferred with probability $p$. The exact binomial test of $p = 1/2$ with $n$ *independent* votes finds it with
# the power
# $$ \mathrm{P}(K \le c) + \mathrm{P}(K \ge n - c), \qquad K \sim \mathrm{Bin}(n, p), $$
# $c$ the largest number with $2\,\mathrm{P}(K \le c) \le 0.05$ at $p = 1/2$. Votes of one rater are alike, and so are those on one image;
# with $m$ votes in a cluster whose intraclass correlation is $\rho$, $n$ must grow by the *design effect* $1 + (m_r - 1)\rho_r + (m_i - 1)\rho_i$.
#
# **Guess**: 60 of 100 independent votes are for A. Enough? And how many votes does it take to find a preference of 60 % in four
# studies of five?
# %% tags=["nbval-check-output"]
from aotlib.study import power, rates

low, high = rates.wilson(60, 100)
print(f"60 of 100: p = {rates.exact_p(60, 100):.3f}, Wilson's interval {low:.3f} to {high:.3f}")
for preference in (0.55, 0.6, 0.65, 0.7):
    exact, normal = power.votes_needed(preference), power.approximate_votes(preference)
    print(f"preferred by {preference:.0%}: {exact} independent votes ({normal} by the normal approximation)")
needed = power.table(n_methods=len(names), n_images=most, trials=pair)
print(f"\nof each pair, with clusters, {most} images:")
print(needed.round(2).to_string(index=False))
# %% [markdown]
# Read it: a test and an interval need not agree at the edge, and 100 votes are few. Small preferences are out of reach for few images, however
# many raters come: more raters do not make more images. `votes_all` and `raters_all` are the price of naming no comparison beforehand.
#
# ## 9.3 The plan, before anyone is asked
# Every pair of methods comes on every image equally often, give or take one; each stands on the left equally often. A few *catch
# trials* show the truth beside noise, or noise among the fills to rank. The plan also fixes who is left out. Raters get `plans.public`:
# random names, which follow from a secret that stays in the plan.
#
# **Guess**: how often does each pair of methods come on each image?
# %% tags=["nbval-check-output"]
from aotlib.study.design import Design

if own:
    design = Design(sessions=sessions, pair=pair, real=real, rank=rank, seed=seed)
    plan_dir = f"{out_dir}/plan"
    shutil.rmtree(plan_dir, ignore_errors=True)
    shown_to = {"masks": place / "masks", "design": design, "secret": "of this notebook"}  # yours is random
    plans.make({name: place / name for name in fills}, place / "truth", plan_dir, **shown_to)
plan = plans.read(plan_dir, check_files=True)
trials = pd.DataFrame([trial for session in plan["sessions"] for trial in session["trials"] if not trial["practice"]])
compared = trials[(trials.kind == "pair") & ~trials.catch]
times = compared.groupby(["image", compared.shown.map(lambda names: tuple(sorted(names)))]).size()
print(f"{len(compared)} comparisons; each pair on each image {times.min()} to {times.max()} times; {trials.catch.sum()} catch trials")
print("a rater's page knows:", ", ".join(plans.public(plan, 0)["trials"][0]))
print("left out are sessions with:", plan["rules"])
# %% [markdown]
# The page that raters open is one file, made from the plan: open it in a browser, and take part yourself as rater 0.
# %%
from aotlib.study import page

html = page.write(plan_dir, f"{out_dir}/page.html")
print(f"{html.name}?session=0 to ?session={len(plan['sessions']) - 1}: {html.stat().st_size / 1e6:.1f} MB, and nothing else is needed")
# %% [markdown]
# ## 9.4 Raters
# Simulated raters have a *world*: abilities in logits that we choose here, which are **not** the methods' true ones, and tastes that
# vary from rater to rater and from image to image. Four of them are no good raters: one leans to the left, one tires, one does not look,
# one answers the opposite. Where `plan_dir` names a study, these lines read its answers instead.
# %%
from aotlib.study import answers, marks, pictures, simulate

if own:
    world = simulate.World(dict(zip([*fills, "truth"], (0.7, -0.9, 0.0, -0.2, 0.4, 1.2))), side=0.25)
    kinds = ["careful"] * (sessions - 4) + ["leaning", "tired", "inattentive", "adversarial"]
    given = simulate.answers(plan, world, raters=kinds, seed=seed)
else:
    given = answers.gathered(plan_dir, answers_dir or None)
votes = answers.votes(plan, given)
simulated = bool(votes.simulated.any())
label = marks.named("", simulated)  # in the name of every file
for folder in ("tables", "figures"):
    marks.clear(Path(out_dir, folder))  # of a run before
print(f"{len(votes)} answers of {votes.rater.nunique()} raters, simulated: {simulated}")
fig = pictures.over_time(votes, simulated=simulated)
figures.save(fig, f"{out_dir}/figures", f"{label}over_time")
plt.show()
# %% [markdown]
# Read it: when answers came, and whether raters slow down or hurry towards the end.
#
# ## 9.5 Who is left out
# By the plan's rule and nothing else. Whoever looks at results first and then decides whom to leave out can prove anything.
#
# **Guess**: which of the four bad simulated raters does a catch trial find?
# %%
from aotlib.study import missing, screening

screened = screening.screen(votes, plan)
counted = screening.kept(votes, screened)
tables.write(marks.marked(screened, simulated), f"{out_dir}/tables", f"{label}raters")
if counted.empty:
    raise ValueError(missing.nobody(screened))
out = screened[screened.left_out != ""]
told = out[["session", "catches", "failed", "median_s", "left_out"]].to_string(index=False) if len(out) else "nobody is left out"
print(marks.said(told, simulated))
# %% [markdown]
# Read it: who does not look, and who answers the opposite, fail where everybody else succeeds. Leaning to a side does not fail a catch
# trial: the model has to take care of it (9.8). Who tires stops looking towards the end, so that a late catch trial may find it, as it
# did above if the tired rater's session, the last but two, is listed.
#
# ## 9.6 Preferred how often?
# $\hat{p} = \mathrm{wins}/n$ with Wilson's interval
# $$ \frac{\hat{p} + z^2/2n \pm z\sqrt{\hat{p}(1-\hat{p})/n + z^2/4n^2}}{1 + z^2/n}, $$
# once with all $n$ votes and once with $n$ divided by the design effect, which is measured: raters are drawn anew with all their
# votes, and images with all theirs. Each pair is a test, ten of them with five methods, so that $p$ is Holm-corrected.
#
# **Guess**: which interval is wider?
# %%
preferred = rates.preferences(counted, plan["methods"], seed=seed)
tables.write(marks.marked(preferred, simulated), f"{out_dir}/tables", f"{label}preferences")
print(marks.said(preferred.drop(columns=["wins", "ties", "p_exact", "p"]).round(3).to_string(index=False), simulated))
fig = pictures.preference_bars(preferred, plan["methods"][0], simulated=simulated)
figures.save(fig, f"{out_dir}/figures", f"{label}preferences")
plt.show()
# %% [markdown]
# Read it: a bar that is blue differs from 50 % after the correction. The interval drawn here is that of one comparison by itself; Holm's
# correction asks more, as all pairs are tested at once, so that a bar can be grey although its interval excludes 50 %. The wider
# interval, which is drawn, asks what other raters and other images would say; Wilson's, what the same ones would say if they voted again.
#
# ## 9.7 Does an interval hold what it promises?
# Only where the truth is known can that be tested: simulate the study again and again, and count.
#
# **Guess**: of 95 % intervals that take votes as independent, how many hold the truth?
# %%
from aotlib.study import coverage

setting = coverage.SETTINGS["raters and images differ"]
found = coverage.run(replace(setting, design=replace(setting.design, sessions=20)), n_studies, seed=seed + 1)
print(f"{n_studies} simulated studies:\n{found.loc[['wilson', 'rates', 'differences'], 'mean'].to_string()}")
if (longer := Path(coverage_dir, "simulated_coverage.csv")).is_file():
    long = pd.read_csv(longer)
    wanted = long[long.quantity.isin(("differences", "rates", "wilson", "fooled", "side"))]
    print(f"\n{long.studies.max()} simulated studies, share of 95 % intervals that hold the truth:")
    print(wanted.pivot(index="setting", columns="quantity", values="mean").round(3).to_string(na_rep=""))
# %% [markdown]
# Read it: `wilson` falls short where raters and images differ, `rates` (with the design effect) and `differences` (of abilities, below) do
# not; where votes really are independent, the careful intervals of shares are a little too wide. Most published studies print the first kind.
#
# ## 9.8 One scale
# Bradley and Terry: each method has an ability $\theta$, raters may lean to the left by $\delta$,
# $$ \mathrm{P}(l \text{ preferred to } r) = \frac{1}{1 + e^{-(\theta_l - \theta_r + \delta)}}, \qquad \textstyle\sum_m \theta_m = 0. $$
# The most likely abilities solve $\sum_r k_{lr} = \sum_r n_{lr} P_{lr}$: what each method won is what the model expects it to win.
#
# **Guess**: half of the votes for A against B, three quarters for B against C. How often does A win against C, by the model?
# %% tags=["nbval-check-output"]
from aotlib.study import abilities
from aotlib.study.bradley_terry import chance, fit, pairs_of
from aotlib.study.bradley_terry import tables as vote_tables

theta = np.array([np.log(3), np.log(3), 0])  # A, B, C: B beats C with 3 : 1
print("A beats C with", chance(theta)[0, 2].round(2))
scale = abilities.estimate(counted, plan["methods"], seed=seed)
if scale.apart:
    print(marks.said("\n".join(missing.bounds("abilities", scale)), simulated))
else:
    won, lost = vote_tables(pairs_of(counted[counted.kind == "pair"], plan["methods"]))  # by the method on the left, on the right
    best = fit(won, lost, prior=0)
    expected = (won + lost) * chance(best.theta, best.side)
    surplus = (won - expected).sum(2) - (won - expected).sum(1)  # on the left, and on the right
    print(marks.said(f"wins beyond what the model expects, largest: {abs(surplus).max():.4f}", simulated))
# %%
tables.write(marks.marked(scale.methods, simulated), f"{out_dir}/tables", f"{label}abilities")
tables.write(marks.marked(scale.differences, simulated), f"{out_dir}/tables", f"{label}differences")
if pictures.placed(scale.methods).sum() > 1:
    fig = pictures.scale(scale.methods, simulated=simulated)
    figures.save(fig, f"{out_dir}/figures", f"{label}abilities")
    plt.show()
if own:  # answers do not tell the abilities that their raters were given
    true = simulate.true_abilities(world, plan["methods"])
    held = scale.methods.assign(true=scale.methods.method.map(dict(zip(plan["methods"], true.theta[0]))))
    print(marks.said(held.round(2).to_string(index=False), simulated))
# %% [markdown]
# Read it: two methods whose intervals overlap may still differ: `differences` has the interval of each difference. A method that never won
# would have an arrow: votes say how high its ability is at most, and nothing more. The true abilities are
# closer together than the ones that the world was given, because tastes that vary flatten a mean preference.
# %%
from aotlib.study import goodness

fig = pictures.matrix(preferred, list(scale.methods.method), simulated=simulated)
figures.save(fig, f"{out_dir}/figures", f"{label}matrix")
plt.show()
suits = goodness.goodness(counted, plan["methods"], seed=seed)
told = f"deviance {suits.deviance:.1f} on {suits.dof} degrees of freedom: p = {suits.p:.2f}, with clusters {suits.p_clustered:.2f}"
told += f"\nlean to the left {scale.side['side']:.2f} [{scale.side['low']:.2f}, {scale.side['high']:.2f}] logits, p = {scale.side['p']:.3f}"
print(marks.said(told, simulated))
# %% [markdown]
# Read it: along a row or column of the matrix numbers should change in one direction; where they do not, one scale hides something, and the deviance
# from a table with a number for every pair (ties left aside) says whether by more than chance. Simulated raters do follow one scale, but
# for tastes of their own: a small p, such as that of this notebook's own raters, is a false alarm then, which comes without any reason in
# up to five studies of a hundred at 0.05 and one at 0.01; from one study nobody can tell it from a true one. A lean to the left, where there
# is one, favours no method, as each stands there as often as on the right; it costs precision.
#
# ## 9.9 Real or fake?
# One picture, no input beside it. Half of all trials show photographs, some more or fewer in each session: a rater who calls everything
# real would otherwise look like a triumph of the method.
# %%
if (counted.kind == "real").any():
    fooled = rates.fooled(counted, plan["methods"], seed=seed)
    tables.write(marks.marked(fooled, simulated), f"{out_dir}/tables", f"{label}fooled")
    fig = pictures.fool_rates(fooled, simulated=simulated)
    figures.save(fig, f"{out_dir}/figures", f"{label}fooled")
    plt.show()
# %% [markdown]
# Read it: the dashed line is how often photographs are called real, which is never 100 %. A method on that line fools people; one below it does
# so sometimes. With a few trials a rater these intervals are wide.
#
# ## 9.10 Rankings
# A ranking of four is three choices: the best of four, of three, of two. Plackett and Luce's model multiplies them; with two it is Bradley
# and Terry's. One ranking of four tells as much as several pairs, and tires more.
# %%
if (counted.kind == "rank").any():
    ranked = abilities.estimate(counted, plan["methods"], kind="rank", seed=seed)
    both = scale.methods.merge(ranked.methods, on="method", suffixes=(" (pairs)", " (rankings)"))
    print(marks.said(both.round(2).to_string(index=False), simulated))
# %% [markdown]
# Read it: two scales from different trials of the same raters, in the same units; they should agree within their intervals.
#
# ## 9.11 Do raters agree?
# Krippendorff's $\alpha = 1 - D_{observed}/D_{expected}$ about which of two fills of a picture is better, and Kendall's $W$ of the
# orders of the methods of $R$ raters. By chance $\alpha$ is 0 and $W$ is $1/R$; $(RW - 1)/(R - 1)$, the mean rank correlation of two
# raters, is 0 again. 1 is unanimity. The p of $W$ takes raters as independent, who saw the same images.
# %%
from aotlib.study import agreement

alpha, order = agreement.alpha_of_pairs(counted, plan["methods"], seed=seed), agreement.concordance(counted, plan["methods"])
told = f"alpha {alpha.alpha:.2f} [{alpha.low:.2f}, {alpha.high:.2f}], {alpha.n} pairs of fills"
told += f"\norders of {order.n} raters: W {order.w:.2f}, mean correlation {order.correlation:.2f}, p = {order.p:.2g}"
print(marks.said(told, simulated))
real_alpha = agreement.alpha_of_real(counted, seed=seed)
rows = [("pairs: alpha", *alpha), ("real or fake: alpha", *real_alpha), ("pairs: raters' orders", order.correlation, np.nan, np.nan, order.n)]
agreed = pd.DataFrame(rows, columns=["measure", "value", "low", "high", "n"]).dropna(subset="value", ignore_index=True)
if len(agreed):
    fig = pictures.agreement(agreed, simulated=simulated)
    figures.save(fig, f"{out_dir}/figures", f"{label}agreement")
    plt.show()
# %% [markdown]
# Read it: 0.1 to 0.4 is usual for close fills and no fault: where two are equally good, there is nothing to agree about. About single
# pictures less is known: each has a few votes only, and the interval says so.
#
# ## 9.12 Does a metric see it?
# Every pair of fills of a picture has a difference of PSNR and a share of votes. The share of votes for the fill that a metric prefers is 50 % for
# a metric that sees nothing.
#
# **Guess**: these raters' tastes were invented. What will the metrics have to do with them?
# %%
from aotlib.study import correlation

if own:
    parts = [folders.score(place / "truth", place / name, place / "masks", name=name).images for name in fills]
    long = pd.concat(parts, ignore_index=True)
    long.to_csv(Path(out_dir, "tables", "metrics.csv"), index=False)
    chosen = long[long.metric.isin(("psnr", "ssim", "hole_l1"))]
    seen = correlation.with_metrics(counted, correlation.metric_table(chosen, plan), plan["methods"], seed=seed)
    tables.write(marks.marked(seen, simulated), f"{out_dir}/tables", f"{label}metrics")
    fig = pictures.metric_agreement(seen, simulated=simulated)
    figures.save(fig, f"{out_dir}/figures", f"{label}metrics")
    plt.show()
else:
    print("skipped: this study's folders of results are not known here. `aotlib evaluate --images FILE.csv` scores each of them;")
    print(f"then: aotlib study analyse {plan_dir} --metrics FILE.csv, once for each file")
# %% [markdown]
# Read it: what agreement there is comes from the order of the methods, such as mean colour being last for both; with five methods alone nobody can
# tell (`level` "methods" in the table). Image by image, invented tastes know nothing of pixels.
#
# ## 9.13 The study as a whole
# One function, and one command, write all of it; the first table is what a paper prints.
# %%
from aotlib.study import analysis

results = analysis.analysed(plan, votes, n_resamples=200, seed=seed)
for one in results.figures.values():
    plt.close(one)
tables.write(results.tables["user_study"], f"{out_dir}/tables", f"{label}user_study")
results.tables["user_study"]
# %% [markdown]
# With people:
# ```
# aotlib study power ...                                                             # how many raters
# aotlib study plan RESULTS/ours RESULTS/theirs --truth TRUTH --masks MASKS --out study
# aotlib study page study                                                            # one page to send; or: serve
# aotlib study analyse study                                                         # tables and figures
# ```
# `docs/study.md` says what to decide beforehand. The word *simulated* goes when the last simulated answer is gone.
#
# ## Exercises
# **Read.** Two studies with 400 votes of a pair each: 20 raters on 20 images, and 100 raters on 4. Design effects, with
# $\rho_r = 0.05$ and $\rho_i = 0.1$? And a pair of this study, whose votes the table of 9.6 counts? Compute them by hand from 9.2, then run:
# %% tags=["nbval-check-output"]
for raters, images in ((20, 20), (100, 4)):
    by_rater, by_image = 400 / raters, 400 / images
    effect = 1 + (by_rater - 1) * 0.05 + (by_image - 1) * 0.1
    print(f"{raters} raters, {images} images: design effect {effect:.2f}, worth {400 / effect:.0f} independent votes")
# %%
votes_of_pair, people, photographs = preferred.votes.mean(), counted.rater.nunique(), counted.image.nunique()
effect = 1 + (votes_of_pair / people - 1) * 0.05 + (votes_of_pair / photographs - 1) * 0.1
told = f"here: {votes_of_pair:.0f} votes, {people} raters, {photographs} images: expected {effect:.2f}"
print(marks.said(f"{told}, measured {preferred.design_effect.mean():.2f}", simulated))
# %% [markdown]
# A measured one far from the guess would say that raters or images differ more, or less, than the plan thought: plan the next study with it.
#
# **Change.** Leave nobody out (`counted` from all votes, without practice and catch trials). Which abilities move, and towards what? One way:
# %%
everyone = votes[~votes.practice & ~votes.catch]
careless = abilities.estimate(everyone, plan["methods"], n_resamples=100, seed=seed).methods
both = careless.merge(scale.methods, on="method", suffixes=(" (all)", " (kept)"))[["method", "ability (all)", "ability (kept)"]]
print(marks.said(both.round(2).to_string(index=False), simulated))
# %% [markdown]
# Towards 0: who does not look and who answers the opposite make all methods more alike.
#
# **Build.** The share of each method's comparisons that it won is a simpler scale than abilities. Write it in at most ten lines from `counted`, and hold
# its order against that of `scale`. One way:
# %%
played, won = pd.Series(0.0, plan["methods"]), pd.Series(0.0, plan["methods"])
for (left, right), choice in counted.loc[counted.kind == "pair", ["shown", "choice"]].itertuples(index=False):
    played[left], played[right] = played[left] + 1, played[right] + 1
    score = {"left": 1, "right": 0, "tie": 0.5}[choice]
    won[left], won[right] = won[left] + score, won[right] + 1 - score
share = (won / played).sort_values(ascending=False)
print(marks.said(share.round(3).to_string(), simulated))
in_order = share.reindex(scale.methods.method).round(9)  # two equal shares may stand either way round
print("the same order as the abilities, but for equal shares:", in_order.is_monotonic_decreasing)
# %%
def finite(number):
    return float(number) if np.isfinite(number) else None


runs.finish(
    out_dir,
    {"simulated": simulated, "raters": len(screened), "left_out": len(out), "votes": len(counted),
     "ability": {one.method: finite(one.ability) for one in scale.methods.itertuples()}, "alpha": finite(alpha.alpha),
     "design_effect": finite(preferred.design_effect.mean())},
)  # fmt: skip
# %% [markdown]
# ## What to remember
# - Votes come in clusters: raters and images are what must be many, not votes.
# - Decide beforehand what is asked, how many raters come, who is left out and which comparison matters.
# - A preference with an interval over raters and images, Holm-corrected; a scale with its fit; photographs among the fakes.
# - Simulated answers test a study. They are no study.
#
# Next: [11 · Paper tables](11_paper_tables.ipynb), what the papers report.
