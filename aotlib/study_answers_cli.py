r"""The commands `aotlib study ...` about numbers: how many raters it takes, made-up answers, and the analysis.

Nothing here imports what takes long to import before it runs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from aotlib.choices import check_choice

if TYPE_CHECKING:
    import pandas as pd

Study = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]


def power(
    methods: int = 4,
    images: int = 30,
    trials: int = 40,
    preference: Annotated[tuple[float, ...], tyro.conf.UseAppendAction] = (),
    half_width: Annotated[tuple[float, ...], tyro.conf.UseAppendAction] = (),
    power: float = 0.8,
    alpha: float = 0.05,
    rater_icc: float = 0.05,
    image_icc: float = 0.1,
    lost: float = 0.1,
) -> None:
    """Say how many raters it takes to find a preference, or to know it to a wanted precision, before anyone is asked.

    Args:
        methods: so many are compared, each with each.
        images: photographs in the study.
        trials: comparisons that a rater makes.
        preference: share of votes for the better of two fills, such as 0.6; again for one more.
        half_width: half of the length of the 95 % interval that is wanted, such as 0.05 for 5 percentage points; again
            for one more. A table of its own says what it takes.
        power: how likely such a preference is to be found.
        alpha: how likely one is to be found where there is none.
        rater_icc: how alike the votes of one rater on two methods are, from 0 to 1.
        image_icc: how alike the votes on one image are, from 0 to 1.
        lost: share of raters that will be left out.
    """
    from aotlib.study import power as powers

    asked = {"n_methods": methods, "n_images": images, "trials": trials}
    asked |= {"rater_icc": rater_icc, "image_icc": image_icc, "lost": lost}
    print(f"{methods} methods, {images} images, {trials} comparisons a rater")
    if half_width:
        print(f"\n95 % intervals of a given half-width\n\n{_shown(powers.precision_table(half_width, **asked))}")
    if preference or not half_width:
        chosen = {"preferences": preference} if preference else {}
        found = powers.table(**chosen, power=power, alpha=alpha, **asked)
        print(f"\npower {power}, alpha {alpha}\n\n{_shown(found)}")
        print("\nvotes_all, raters_all: among all pairs, corrected by Holm; the others: in one pair, named beforehand.")
    print(
        "\nvotes: for each pair of methods; raters: for all pairs. Likenesses (icc) are guesses: a pilot study tells."
    )


def _shown(found: "pd.DataFrame") -> str:
    from aotlib import tables

    return tables.markdown(tables.blank(found.round(3)))


def simulate(
    study: Study,
    ability: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    rater: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    out: Path | None = None,
    seed: int = 0,
) -> None:
    """Write answers of made-up raters, to try a plan and its analysis on; every file and figure of them says so.

    Args:
        study: the folder that `aotlib study plan` made.
        ability: NAME=LOGITS of a method, or of truth; again for one more. A method has 0 when not given, the truth 2.
        rater: careful, leaning, tired, inattentive or adversarial, for the first session, the second and so on;
            careful for all when not given.
        out: a new folder; STUDY/simulated when not given.
        seed: of everything that is drawn.
    """
    from aotlib.study import plan as plans
    from aotlib.study import simulate as simulated
    from aotlib.study.design import TRUTH

    made, out = plans.read(study), out or study / "simulated"
    if any(out.glob("*.json")):
        raise ValueError(f"{out} holds answers already: give another folder")
    abilities = dict.fromkeys(made["methods"], 0.0) | {TRUTH: 2.0} | numbers(ability, [*made["methods"], TRUTH])
    given = simulated.answers(made, simulated.World(abilities), raters=rater or None, seed=seed)
    simulated.write(given, out)
    print(f"{out}: simulated answers of {len(given)} raters who do not exist")
    print(f"their abilities, in logits: {', '.join(f'{name} {value:g}' for name, value in abilities.items())}")
    if len({abilities[name] for name in made["methods"]}) == 1 < len(made["methods"]):
        print(
            f"note: all methods are alike: figures will show noise; --ability {made['methods'][0]}=0.7 makes one better"
        )
    print(f"  aotlib study analyse {study} --answers {out} --out {out.with_name(f'{out.name}-analysis')}")


def numbers(words: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    r"""Numbers by name.

    >>> numbers(["ours=1.5"], ["ours", "ca"])
    {'ours': 1.5}
    """
    found = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            found[check_choice("--ability", name, known)] = float(number)
        except ValueError as error:
            told = str(error) if name not in known else f"--ability {word}: give NAME=NUMBER, such as {known[0]}=1.5"
            raise ValueError(told) from None
    return found


def analyse(
    study: Study,
    answers: Path | None = None,
    out: Path | None = None,
    metrics: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    primary: str = "",
    against: str = "",
    resamples: int = 400,
    seed: int = 0,
) -> None:
    """Turn answers into the tables and figures of the study, with intervals over raters and images.

    Args:
        study: the folder that `aotlib study plan` made.
        answers: a folder of files of answers, or a server's database; STUDY/answers.sqlite and STUDY/answers, as far
            as they are there, when not given.
        out: the folder for tables and figures; STUDY/analysis when not given.
        metrics: a file that `aotlib evaluate --images` wrote of a method, to be held against what people see; again
            for each other method.
        primary: the method whose preferences are drawn; the first of the plan when not given.
        against: with --primary, which it takes, the comparison that was named beforehand: it is tested by itself, and
            only the others are corrected for being many.
        resamples: how often raters and images are drawn anew for the intervals.
        seed: of these draws.
    """
    from aotlib.study import analysis
    from aotlib.study import plan as plans
    from aotlib.study.answers import gathered

    made, out = plans.read(study), out or study / "analysis"
    if answers is not None and answers.is_dir() and out.resolve().is_relative_to(answers.resolve()):
        raise ValueError(f"--out {out} lies among the answers: name a folder outside of {answers}")
    for word, method in {"--primary": primary, "--against": against}.items():
        check_choice(word, method or made["methods"][0], made["methods"])
    analysis.check_named(primary, against)
    given = gathered(study, answers)
    chosen = {"primary": primary, "against": against, "n_resamples": resamples, "seed": seed}
    record = analysis.analyse(study, given, out, metrics, **chosen)
    print(_summary(out, record))


def _summary(out: Path, record: dict) -> str:
    """The table that a paper would show, and where all is."""
    from aotlib.study import marks

    simulated = record["simulated"]
    table = (out / "tables" / f"{marks.named('user_study', simulated)}.md").read_text(encoding="utf-8").strip()
    numbers = record["metrics"]
    people = numbers["raters"] - numbers["left_out"]
    counts = f"{numbers['votes']} votes of {people} rater{'' if people == 1 else 's'}"
    left = f"; {numbers['left_out']} left out by the rule of the plan" if numbers["left_out"] else ""
    lacking = "".join(f"not computed: {sentence}\n" for sentence in numbers["missing"])
    lacking += _uneven(**numbers["sessions"])
    told = f"{counts}{left}\n\n{table}\n\n{lacking}tables: {out / 'tables'}\nfigures: {out / 'figures'}"
    return marks.said(told, simulated)


def _uneven(doubled: Sequence[int], lacking: Sequence[int]) -> str:
    """A line for the sessions that came more than once, and for those that did not come.

    >>> _uneven([3], [0, 1])
    'sessions of more than one rater: 3\\nsessions without answers: 0, 1\\n'
    """
    kinds = {"sessions of more than one rater": doubled, "sessions without answers": lacking}
    return "".join(f"{kind}: {', '.join(map(str, numbers))}\n" for kind, numbers in kinds.items() if numbers)


COMMANDS = {"power": power, "simulate": simulate, "analyse": analyse}
