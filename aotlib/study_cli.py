r"""The commands `aotlib study ...`: a user study from folders of results to its figure.

Nothing here imports what takes long to import before it runs.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from aotlib import study_answers_cli
from aotlib.study.design import KINDS, Design, repeats
from aotlib.study_answers_cli import Study

USUAL = Design()
LARGE_MB = 50  # a page that is larger opens slowly on a phone


def study() -> None:
    """Plan a user study, run it in browsers, analyse it: plan, power, page, serve, simulate, analyse."""


def plan(
    methods: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME=]FOLDER ...")],
    truth: Path,
    out: Path,
    design: tyro.conf.OmitArgPrefixes[Design] = USUAL,
    masks: Path | None = None,
    inputs: Path | None = None,
    only: str = "",
    hole: Literal["white", "black"] = "white",
    title: str = "Which fill looks more natural?",
    consent: Path | None = None,
    minimum_s: float = 0.5,
    ties: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Write down a study before anyone is asked: who is shown what, and which raters will be left out.

    OUT/plan.json says whose picture is whose: keep it to yourself. OUT/pictures holds the pictures under random names.

    Args:
        methods: folders of results with the same file names in each; a method is called NAME, or as its folder.
        truth: the folder of true pictures, with the same names.
        out: a new folder for the study.
        masks: the folder of masks; or give the pictures with holes:
        inputs: the folder of pictures with holes.
        only: take this subfolder of every folder, such as 30-40 of those that `aotlib cases` makes.
        hole: the colour of the hole in mask files.
        title: what raters read at the top.
        consent: a text file that raters agree to before they begin; blank lines part its paragraphs.
        minimum_s: seconds for which the pictures must have been in view before an answer is taken.
        ties: let raters say that there is no difference between two fills.
    """
    from aotlib.study import plan as plans

    said = {} if consent is None else {"consent": consent.read_text(encoding="utf-8").strip()}
    said |= {"title": title, "minimum_s": minimum_s, "ties": ties}
    shown = {"masks": masks, "inputs": inputs, "hole": hole, "only": only}
    made = plans.read(plans.make(named(methods, only), truth, out, design=design, **shown, **said))
    tasks = len(made["sessions"][0]["trials"])
    counts = f"{len(methods)} methods, {len(made['images'])} images, {design.sessions} sessions of {tasks} tasks"
    twice = repeats(session["trials"] for session in made["sessions"])
    told = (
        f"in {twice} of {design.sessions} sessions a rater sees the same fills of one picture twice: take more images"
    )
    for warning in filter(None, (design.catch_warning, twice and f"{told}, or fewer trials a session ({_most(made)})")):
        print(f"note: {warning}")
    print(f"{out / 'plan.json'}: {counts}\nkeep it to yourself: it says whose picture is whose. Then one of")
    print(f"  aotlib study serve {out}   # raters open a page on this machine, answers arrive here")
    print(f"  aotlib study page {out}    # one HTML file to send or put on any web server")


def _most(plan: dict) -> str:
    """What there is to be seen once, such as the comparisons that there are on all images."""
    kinds = {trial["kind"] for trial in plan["sessions"][0]["trials"]}
    m, n = len(plan["methods"]), len(plan["images"])
    ranked = max((len(one["shown"]) for one in plan["sessions"][0]["trials"] if one["kind"] == "rank"), default=0)
    counts = {"pair": math.comb(m, 2) * n, "real": (m + 1) * n, "rank": math.comb(m, ranked) * n}
    return ", ".join(f"there are {counts[kind]} different ones of the kind {kind!r}" for kind in KINDS if kind in kinds)


def named(words: Sequence[str], only: str = "") -> dict[str, Path]:
    r"""Folders of results by method, each of which has the subfolder `only`.

    >>> list(named(("aotlib", "ours=aotlib")))
    ['aotlib', 'ours']
    """
    found: dict[str, Path] = {}
    for word in words:
        name, _, folder = word.partition("=") if "=" in word else (Path(word).resolve().name, "=", word)
        if name in found:
            raise ValueError(f"two methods are called {name!r}: name them, such as {name}-2={folder}")
        if not (name and Path(folder, only).is_dir()):
            raise ValueError(f"{Path(folder, only)} is no folder; give folders of results, or NAME=FOLDER")
        found[name] = Path(folder)
    if not found:
        raise ValueError("give the folders of results, one a method")
    return found


def page(
    study: Study,
    out: Path | None = None,
    session: Annotated[tuple[int, ...], tyro.conf.UseAppendAction] = (),
    each: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    quality: int | None = None,
    words: Path | None = None,
) -> None:
    """Write the study as one HTML file, which opens from a disk or any web server and sends nothing anywhere.

    Each rater opens PAGE.html?session=N with their own number, or types the number, and sends back a file of answers.

    Args:
        study: the folder that `aotlib study plan` made.
        out: the HTML file; STUDY/page.html when not given; with --each a folder.
        session: only this session; again for one more.
        each: a file for each session: smaller, and no number is needed.
        quality: of the pictures, all alike, 1 to 100: a smaller file with losses, which the paper should tell;
            lossless when not given.
        words: a JSON file with other words for the page, such as a translation.
    """
    from aotlib.study import page as pages
    from aotlib.study import plan as plans

    made, how = plans.read(study), {"words": pages.read_words(words), "quality": quality}
    numbers = list(session or range(len(made["sessions"])))
    if each:
        folder = out or study / "pages"
        paths = [pages.write(study, folder / f"session-{n:03d}.html", sessions=[n], **how) for n in numbers]
        print(f"{folder}: {len(paths)} pages, one a rater", end="")
    else:
        paths = [pages.write(study, out or study / "page.html", sessions=numbers, **how)]
        print(f"{paths[0]}: give each rater their own number, as in {paths[0].name}?session={numbers[0]}", end="")
    megabytes = max(path.stat().st_size for path in paths) / 1e6
    print(f"; {megabytes:.1f} MB\nfiles of answers that come back go into {study / 'answers'}")
    if megabytes > LARGE_MB:
        smaller = "--quality 95" if each else "--each or --quality 95"
        print(f"that is much for a page: {smaller} makes it smaller, `aotlib study serve` sends what is needed")


def serve(
    study: Study,
    port: int = 8000,
    host: str = "127.0.0.1",
    abandoned_min: float = 60.0,
    behind_proxy: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    public_host: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    invitation: str = "",
    words: Path | None = None,
) -> None:
    """Let raters take part in their browsers: each gets a session of the plan, and every answer is kept at once.

    Args:
        study: the folder that `aotlib study plan` made; answers.sqlite and progress.key are kept in it.
        port: where to listen; 0 takes any that is free.
        host: only this machine when not given; 0.0.0.0 is every network that it is in.
        abandoned_min: minutes without a further answer after which a session goes to the next rater; 5 without any.
        behind_proxy: a proxy on this machine says who asks, and whether by HTTPS.
        public_host: a name by which raters ask for it, such as study.example.org; again for one more. Needed behind a
            proxy: requests for other names than this machine's are refused.
        invitation: a word that raters must give before they begin, or that their link has; all may come when not given.
        words: a JSON file with other words for the page, such as a translation.
    """
    from aotlib.study import page as pages
    from aotlib.study import serving

    if not abandoned_min > 0:
        raise ValueError(f"--abandoned-min is {abandoned_min}: give minutes above 0, such as 60")
    said = pages.read_words(words)
    rules = {"host": host, "port": port, "abandoned_s": 60 * abandoned_min, "behind_proxy": behind_proxy}
    serving.run(study, **rules, public_hosts=public_host, invitation=invitation.strip(), words=said)


COMMANDS = {"plan": plan, "page": page, "serve": serve} | study_answers_cli.COMMANDS
