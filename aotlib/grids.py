r"""A grid of runs: the variants of a method in one file, of which a profile makes a run for each variant and seed.

Nothing here imports torch. Taught in notebook 08.
"""

from collections.abc import Mapping
from pathlib import Path

from aotlib.choices import nearest
from aotlib.yaml_files import read_yaml

FULL = "full"  # the method that the variants of a grid are compared with
KEYS = ("grid", "seeds", "only", "each")
FIXED = {"seed", "method"}  # the former is the group's, and the variants are AOT-GAN's
QUARTERS = 4  # of the steps, after each of which the held-out pictures are looked at (`aotlib.ablations.curves`)


def grid(path: str | Path) -> dict[str, dict[str, dict]]:
    r"""The variants of a grid's file by the question that they answer: what each changes of the full method.

    Raises:
        ValueError: for another form, for one name in two places, or a name that no folder can have.

    Taught in notebook 08.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no grid {path.name} in {path.parent}")
    questions = read_yaml(path)
    if not isinstance(questions, dict) or not all(isinstance(variants, dict) for variants in questions.values()):
        raise ValueError(f"{path.name}: needs lines 'question:' and below each '  variant: {{parameter: value}}'")
    variants = [pair for named in questions.values() for pair in named.items()]
    names = [name for name, _ in variants]
    for name, changed in variants:
        if names.count(name) > 1 or not (isinstance(name, str) and name.isidentifier()) or name == FULL:
            rule = (
                "each variant needs a name of its own, of letters, digits and _ (in quotation marks: off, on, yes, no)"
            )
            raise ValueError(f"{path.name}: {name!r}: {rule}")
        if not isinstance(changed, dict) or not changed:
            raise ValueError(f"{path.name}: {name}: {changed!r} changes nothing; write {{parameter: value}}")
        if fixed := FIXED & changed.keys():
            raise ValueError(f"{path.name}: {name}: {min(fixed)} is not a variant's to change")
    return questions


def written_out(group: dict, path: Path) -> dict:
    r"""A profile's group that names a `grid` with a run a variant and seed, such as ``no_gate.s1``, besides.

    The full method's runs, ``full.s0`` and so on, are always among them. Other groups come back as they are.

    Args:
        path: of the profile; the grid's file is beside it.

    Raises:
        ValueError: for a group of another form, a key that a grid has not, seeds that are no whole numbers, or an
            unknown variant.

    Taught in notebook 08.
    """
    if not isinstance(group, dict):
        raise ValueError(f"{path.name}: a group of runs needs lines 'run: {{parameter: value}}', found {group!r}")
    if "grid" not in group:
        return group
    if unknown := [key for key in group if key not in KEYS]:
        raise ValueError(f"{path.name}: a group with a grid has no {unknown[0]!r}; {nearest(str(unknown[0]), KEYS)}")
    each, seeds = group.get("each") or {}, group.get("seeds")
    if not isinstance(group["grid"], str) or Path(group["grid"]).name != group["grid"]:
        raise ValueError(f"{path.name}: grid = {group['grid']!r}; name a file beside it, such as ablations.yaml")
    if not isinstance(each, dict) or FIXED & each.keys():
        raise ValueError(f"{path.name}: each = {each!r}; write 'parameter: value' lines, without method and seed")
    known = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not known or not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"{path.name}: seeds = {seeds!r}; list different whole numbers from 0 on, such as [0, 1, 2]")
    found = {name: own for own_by in grid(path.with_name(group["grid"])).values() for name, own in own_by.items()}
    variants = {FULL: {}} | {name: found[name] for name in _chosen(group, found, path)}
    runs = {f"{name}.s{seed}": own | {"seed": seed} for name, own in variants.items() for seed in seeds}
    return {"grid": group["grid"], "each": each} | runs


def _chosen(group: dict, found: dict, path: Path) -> list[str]:
    only = group.get("only", list(found))
    if not isinstance(only, list) or not only:
        raise ValueError(f"{path.name}: only = {only!r}; list variants of {group['grid']}, or leave it out for all")
    if unknown := [str(name) for name in only if name not in found]:
        raise ValueError(f"{path.name}: {group['grid']} has no variant {unknown[0]!r}; {nearest(unknown[0], found)}")
    return only


def check_runs(runs: Mapping[str, tuple[dict, Path]]) -> None:
    r"""Refuse runs of a grid that could not be compared in the end, before any is trained.

    Args:
        runs: parameters and folder of each, by name.

    Raises:
        ValueError: for two runs that are the same (a change to what is so already), and for steps whose quarters are
            not looked at.

    Taught in notebook 08.
    """
    found: dict[Path, str] = {}
    for name, (parameters, folder) in runs.items():
        if folder in found:
            raise ValueError(f"{found[folder]} and {name} are one and the same run: change something, or leave one out")
        found[folder] = name
        steps, every = (parameters.get(key) for key in ("steps", "sample_every"))
        if every and steps % (QUARTERS * every):
            advice = f"give steps that are a multiple of {QUARTERS} times sample_every"
            raise ValueError(f"{name}: steps = {steps}, sample_every = {every}: no look after a quarter; {advice}")


def variant_and_seed(name: str) -> tuple[str, int]:
    r"""Of the name of a grid's run.

    >>> variant_and_seed("no_gate.s1")
    ('no_gate', 1)

    Taught in notebook 08.
    """
    variant, dot, seed = name.rpartition(".s")
    if not (dot and variant and seed.isdecimal()):
        raise ValueError(f"a run of a grid is named after its variant and seed, such as no_gate.s1, not {name!r}")
    return variant, int(seed)
