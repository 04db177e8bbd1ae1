r"""Runs that differ in one thing: which there are, what each scored, and whether the order of them holds.

A run is named ``variant.s0`` after its variant and seed (``profiles/ablations.yaml``), and is a finished run of
notebook 5. A variant whose run failed is shown as "not run". Taught in notebook 08.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import kendalltau
from torch import nn

from aotlib.attempts import reason_in
from aotlib.contest import WEIGHTS
from aotlib.evaluate import Measures, judge, network_fill
from aotlib.grids import FULL, grid, variant_and_seed
from aotlib.methods import METHODS, n_parameters
from aotlib.rates import receptive_field
from aotlib.trainlog import read_log
from aotlib.weights import load_generator, read_card

NOT_RUN = "not run"
OF_GENERATOR = ("width", "n_blocks", "rates", "recipe", "block", "gate")  # parameters that change it
SHARES = (0.25, 0.5, 1.0)  # of the steps, at which the order of variants is looked at

Runs = dict[tuple[str, int], Path]


def finished(runs: Mapping[str, str | Path]) -> tuple[Runs, dict[str, str]]:
    r"""The folders of the runs that came to their end, by (variant, seed), and why others did not, by name.

    Raises:
        ValueError: where no run of the full method, or none of any variant, came to its end.

    Taught in notebook 08.
    """
    found, missing = {}, {}
    for name, folder in runs.items():
        reason = reason_in(folder)
        if reason or not (Path(folder) / WEIGHTS).is_file():
            missing[name] = reason or "never tried"
        else:
            found[variant_and_seed(name)] = Path(folder)
    variants, why = (
        {variant for variant, _ in found},
        "; ".join(f"{name}: {reason}" for name, reason in missing.items()),
    )
    if FULL not in variants:
        raise ValueError(f"no finished run of the full method, which the variants are compared with; {why}")
    if variants == {FULL}:
        raise ValueError(f"no finished run of a variant, only of the full method; {why}")
    return found, missing


def check_alike(found: Runs, path: str | Path) -> None:
    r"""Refuse runs that differ from the full method's in more than their seed and what the grid says that they change.

    It goes by the records that notebook 5 leaves; folders that have none are not held against anything.

    Raises:
        ValueError: with the parameter, or for other photographs.

    Taught in notebook 08.
    """
    changed = _changes(path)
    records = {key: record for key, folder in found.items() if (record := _record(folder))}
    of_full = [record for (variant, _), record in records.items() if variant == FULL]
    for (variant, seed), record in records.items() if of_full else []:
        expected = of_full[0]["parameters"] | changed.get(variant, {}) | {"seed": seed}
        for key, value in record["parameters"].items():
            if not key.endswith("_dir") and value != expected.get(key):
                told = f"{key} = {value!r}, and {expected.get(key)!r} was expected"
                raise ValueError(f"{found[variant, seed]} is no run of {variant}.s{seed}: it was trained with {told}")
        if _data(record) != _data(of_full[0]):
            raise ValueError(f"{found[variant, seed]} was trained on other photographs than the full method")


def _changes(path: str | Path) -> dict[str, dict]:
    return {FULL: {}} | {name: own for variants in grid(path).values() for name, own in variants.items()}


def _record(folder: Path) -> dict:
    path = folder / "record.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _data(record: dict) -> str:
    return (record.get("data") or {}).get("sha256", "")


def switches(path: str | Path) -> pd.DataFrame:
    r"""A row a variant of the grid: ``question`` that it answers, ``variant``, and the parameters that it ``changes``.

    Taught in notebook 08.
    """
    rows = [{"question": "", "variant": FULL, "changes": ""}]
    for question, variants in grid(path).items():
        for name, changed in variants.items():
            told = ", ".join(f"{key} = {value}" for key, value in changed.items())
            rows.append({"question": question, "variant": name, "changes": told})
    return pd.DataFrame(rows)


def costs(found: Runs, path: str | Path, size: int) -> pd.DataFrame:
    r"""A row a variant of the grid, whether it was run or not: ``parameters``, ``gmac`` of one picture of `size` px,
    ``reach``: its receptive field in pixels. What a variant does not change is as in the full method's run.

    Taught in notebook 08.
    """
    of_full = next(folder for (variant, _), folder in found.items() if variant == FULL)
    shared, rows = json.loads(read_card(of_full / WEIGHTS)["options"]), []
    for variant, own in _changes(path).items():
        with torch.device("meta"):
            network = METHODS["aot"].build(**shared | {key: own[key] for key in OF_GENERATOR if key in own})
        row = {"variant": variant, "parameters": n_parameters(network)}
        row |= {"gmac": METHODS["aot"].macs(size, **network.options) / 1e9}
        rows.append(row | {"reach": receptive_field(network.options["n_blocks"], network.options["rates"])})
    return pd.DataFrame(rows)


def judged(
    found: Runs,
    plan: pd.DataFrame,
    files_root: str | Path,
    masks_root: str | Path | None = None,
    *,
    size: int,
    device: str | torch.device = "cpu",
) -> pd.DataFrame:
    r"""The scores of every run on every photograph and mask of a plan: `aotlib.evaluate.judge`'s table, and ``seed``.

    Distances between sets are left out: they have no value of an image, and so no interval over images.

    Taught in notebook 08.
    """
    names = {f"{variant}.s{seed}": (variant, seed) for variant, seed in found}
    networks: dict[str, nn.Module] = {
        name: load_generator(found[key] / WEIGHTS).to(device) for name, key in names.items()
    }
    fills = {name: network_fill(network) for name, network in networks.items()}
    where = {"size": size, "measures": Measures(device=device), "report": lambda text: None}
    images = judge(fills, plan, files_root, masks_root, **where).images
    keys = images.method.map(names)
    return images.assign(method=keys.str[0], seed=keys.str[1])


def curves(found: Runs, shares: Iterable[float] = SHARES) -> pd.DataFrame:
    r"""A row a run and share of its steps: ``variant, seed, share, step, val_psnr, val_hole_l1``, from its log.

    They are the scores of the running average on the few held-out pictures that training looks at.

    Raises:
        ValueError: when a run was not looked at after such a share.

    Taught in notebook 08.
    """
    rows = []
    for (variant, seed), folder in found.items():
        looks = {row["step"]: row for row in read_log(folder) if "val_psnr" in row}
        last = max(looks)
        for share in shares:
            if (step := round(share * last)) not in looks:
                raise ValueError(f"{folder.name}: no look at step {step}; sample_every must divide a quarter of steps")
            scores = {key: looks[step][key] for key in ("val_psnr", "val_hole_l1")}
            rows.append({"variant": variant, "seed": seed, "share": share, "step": step} | scores)
    return pd.DataFrame(rows)


def same_order(table: pd.DataFrame, metric: str = "val_psnr") -> pd.DataFrame:
    r"""Kendall's tau of the variants' order after each share of the steps with that at the end, with its p.

    1 is the same order, 0 none in common, -1 the reverse.

    >>> rows = [("a", 0.5, 1.0), ("b", 0.5, 2.0), ("a", 1.0, 5.0), ("b", 1.0, 6.0)]
    >>> table = pd.DataFrame(rows, columns=["variant", "share", "val_psnr"])
    >>> same_order(table)[["share", "tau"]].values.tolist()
    [[0.5, 1.0]]

    Taught in notebook 08.
    """
    means = table.groupby(["variant", "share"])[metric].mean().unstack()
    found = {share: kendalltau(means[share], means[means.columns[-1]]) for share in means.columns[:-1]}
    return pd.DataFrame([{"share": share, "tau": one.statistic, "p": one.pvalue} for share, one in found.items()])


def with_missing(table: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    r"""A table of `aotlib.tables.spread` in the order of `variants`, with a row of "not run" for each that it lacks.

    >>> with_missing(pd.DataFrame({"method": ["full"], "all": ["20.1"]}), ["full", "no_gate"])["all"].tolist()
    ['20.1', 'not run']

    Taught in notebook 08.
    """
    return table.set_index("method").astype(object).reindex([*variants]).fillna(NOT_RUN).reset_index()


def accounts(found: Runs) -> pd.DataFrame:
    r"""How each run came about, a row a run: from the card of its weights and, where notebook 5 made it, its record.

    Taught in notebook 08.
    """
    rows = []
    for (variant, seed), folder in found.items():
        card = read_card(folder / WEIGHTS)
        row = {"variant": variant, "seed": seed, "run": folder.name, "steps": int(card["step"])}
        row |= {"features": card["features"], "device": card["device"], "seconds": read_log(folder)[-1]["seconds"]}
        record = _record(folder)
        made = {"commit": record.get("commit") or "", "dirty": record.get("dirty", True), "data": _data(record)}
        rows.append(row | made)
    return pd.DataFrame(rows)
