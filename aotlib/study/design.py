r"""Who is shown what: trials dealt out so that every comparison is made on every picture about equally often.

Taught in notebook 09.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aotlib.choices import check_choice

TRUTH, BROKEN = "truth", "broken"  # stand where a method's name can
KINDS = ("real", "pair", "rank")  # in this order: who has compared fills of a picture would know it among the real ones
MOST_ITEMS = 5_000  # sets of methods to rank: with more, none would come twice in a study


@dataclass(frozen=True)
class Design:
    r"""How many trials of which kind each rater answers; unless told otherwise, 40 comparisons and nothing else.

    Attributes:
        sessions: at most so many raters can take part: each gets a session of their own.
        pair: two fills beside the picture with its hole, so many times a session: which looks more natural? 0 for
            none. Catch and practice trials come on top.
        real: a single picture, a photograph about half of the time, so many times a session: real or fake? 0 for
            none; 10 to 20 give a rate of fooling.
        rank: `rank_of` fills to put in order, so many times a session; 0 for none.
        rank_of: fills in a ranking, 3 or more, and not more than there are methods.
        catch_share: catch trials (the truth beside noise) for each other trial: 0.08 puts 4 on top of 40; at least
            one, unless 0.
        practice: trials of each kind in use that come first and do not count.
        seed: of everything that is drawn: the same seed and pictures give the same plan.
    """

    sessions: int = 30
    pair: int = 40
    real: int = 0
    rank: int = 0
    rank_of: int = 4
    catch_share: float = 0.08
    practice: int = 2
    seed: int = 0

    @property
    def n_catches(self) -> int:
        r"""Catch trials a session."""
        return math.ceil(self.catch_share * (self.pair + self.real + self.rank))


def schedule(methods: Sequence[str], images: Sequence[str], design: Design) -> list[list[dict]]:
    r"""The trials of each session, in order: dicts of kind, catch, practice, image and shown, names from left to right.

    Over all sessions every pair of methods comes on every image equally often, give or take one (`pair`), and each of
    the two stands on the left equally often, give or take one. Rankings deal out all sets of `rank_of` methods in the
    same way. Of the trials real or fake about half show the truth and the others each method about equally often; no
    session shows an image twice in them as long as there are enough. A session starts with practice; then come the
    kinds in the order of `KINDS`, each shuffled, with the catch trials spread over the session.

    >>> plan = Design(sessions=2, pair=3, practice=0, catch_share=0)
    >>> sessions = schedule(["ours", "grey", "Telea"], ["a", "b"], plan)
    >>> sorted("/".join(sorted(trial["shown"])) for trials in sessions for trial in trials)
    ['Telea/grey', 'Telea/grey', 'Telea/ours', 'Telea/ours', 'grey/ours', 'grey/ours']

    Raises:
        ValueError: for a design that these methods and images do not allow.

    Taught in notebook 09.
    """
    _check(methods, images, design)
    rng = np.random.default_rng(design.seed)
    dealers = {kind: _dealer(kind, methods, images, design, rng) for kind in KINDS if getattr(design, kind)}
    items = {kind: _items(kind, methods, design.rank_of) for kind in dealers}
    return [_session(dealers, items, images, design, rng) for _ in range(design.sessions)]


def _check(methods: Sequence[str], images: Sequence[str], design: Design) -> None:
    if len(set(methods)) != len(methods) or {TRUTH, BROKEN, ""} & set(methods):
        raise ValueError(f"methods {list(methods)}: give each its own name, and none of them '{TRUTH}' or '{BROKEN}'")
    if not images or design.sessions < 1:
        raise ValueError(f"{len(images)} images and {design.sessions} sessions: at least one of each is needed")
    counts = {kind: getattr(design, kind) for kind in KINDS}
    if min(counts.values()) < 0 or not any(counts.values()) or design.practice < 0:
        raise ValueError(f"trials {counts}, practice {design.practice}: give at least one trial, and none below 0")
    if not 0 <= design.catch_share <= 0.5:
        raise ValueError(f"catch_share is {design.catch_share}: give a share like 0.08, at most 0.5")
    fewest = {"pair": 2, "real": 1, "rank": design.rank_of}
    for kind in KINDS:
        if counts[kind] and len(methods) < fewest[kind]:
            raise ValueError(f"{len(methods)} methods: trials of the kind '{kind}' need {fewest[kind]}")
    if design.rank and (design.rank_of < 3 or math.comb(len(methods), design.rank_of) > MOST_ITEMS):
        raise ValueError(f"rank_of is {design.rank_of}: rank 3 or more, fewer than {MOST_ITEMS} sets of them")


def _items(kind: str, methods: Sequence[str], rank_of: int) -> list[tuple[str, ...]]:
    """What a trial of `kind` can show, once each; the truth as often as all methods together."""
    if check_choice("kind", kind, KINDS) == "real":
        return [(name,) for name in methods] + [(TRUTH,)] * len(methods)
    return list(itertools.combinations(methods, 2 if kind == "pair" else rank_of))


def _dealer(
    kind: str, methods: Sequence[str], images: Sequence[str], design: Design, rng: np.random.Generator
) -> Iterator[list[dict]]:
    """The trials of `kind`, a list a session, without end."""
    items = _items(kind, methods, design.rank_of)
    done = np.zeros((len(items), len(images)))  # how often each item was shown on each image
    lead = np.zeros(len(items))  # how much more often an item stood as written than turned
    while True:
        trials = []
        for item, image in _dealt(done, getattr(design, kind), kind == "real", rng):
            shown = _placed(items[item], lead, item, rng)
            trials.append(_trial(kind, images[image], shown))
        yield trials


def _dealt(done: np.ndarray, count: int, fresh: bool, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`count` cells (item, image) of those that were `done` least, on images and items new to the session.

    `fresh` sets an image that is new to the session above everything else.
    """
    here_image, here_item, cells = np.zeros(done.shape[1]), np.zeros(len(done)), []
    for _ in range(count):
        first, second = (1e3, 1e6) if fresh else (1e6, 1e3)
        score = first * done + second * here_image + here_item[:, None] + rng.random(done.shape)
        item, image = np.unravel_index(score.argmin(), score.shape)
        done[item, image] += 1
        here_image[image] += 1
        here_item[item] += 1
        cells.append((int(item), int(image)))
    return [cells[i] for i in rng.permutation(len(cells))]


def _placed(names: tuple[str, ...], lead: np.ndarray, item: int, rng: np.random.Generator) -> tuple[str, ...]:
    """The names from left to right: of two each is on the left as often as the other, more are shuffled."""
    if len(names) != 2:
        return tuple(names[i] for i in rng.permutation(len(names)))
    turned = lead[item] > 0 or (lead[item] == 0 and rng.random() < 0.5)
    lead[item] += -1 if turned else 1
    return names[::-1] if turned else names


def _trial(kind: str, image: str, shown: tuple[str, ...], *, catch: bool = False) -> dict:
    return {"kind": kind, "catch": catch, "practice": False, "image": image, "shown": shown}


def _session(
    dealers: dict[str, Iterator[list[dict]]], items: dict[str, list], images: Sequence[str], design: Design, rng
) -> list[dict]:
    dealt = {kind: next(dealer) for kind, dealer in dealers.items()}
    trials = list(itertools.chain.from_iterable(dealt.values()))
    practice = [
        _rehearsal(kind, number, items[kind], trials, images, rng)
        for kind in dealt
        for number in range(design.practice)
    ]
    kind = "real" if set(dealt) == {"real"} else "pair"
    if design.n_catches:
        first = len(dealt.get("real", ())) if kind == "pair" else 0  # no pair stands among the single pictures
        edges = np.linspace(first, len(trials), design.n_catches + 1)
        places = [int(rng.uniform(low, high)) + 1 for low, high in itertools.pairwise(edges)]
        for place in reversed(places):
            trials.insert(place, _catch(kind, images[rng.integers(len(images))], rng))
    return practice + trials


def _rehearsal(kind: str, number: int, items: list, trials: list[dict], images: Sequence[str], rng) -> dict:
    """A trial that does not count, on an image that the session shows least; where it can be, with a right choice."""
    names = [trial["image"] for trial in trials]
    image = min(images, key=lambda image: (names.count(image), rng.random()))
    item = items[rng.integers(len(items))]
    shown = {"pair": (TRUTH, BROKEN), "real": ((TRUTH, BROKEN)[number % 2],), "rank": item}[kind]
    return _trial(kind, image, tuple(shown[i] for i in rng.permutation(len(shown)))) | {"practice": True}


def _catch(kind: str, image: str, rng: np.random.Generator) -> dict:
    """A trial that everybody who looks gets right."""
    if kind == "real":
        return _trial(kind, image, (BROKEN,), catch=True)
    return _trial(kind, image, (TRUTH, BROKEN) if rng.random() < 0.5 else (BROKEN, TRUTH), catch=True)


def right_choice(kind: str, shown: Sequence[str]) -> str | None:
    r"""What everybody who looks chooses in a trial with a truth or a broken fill; None where it is a matter of taste.

    >>> right_choice("pair", ("broken", "truth")), right_choice("real", ("broken",)), right_choice("pair", ("a", "b"))
    ('right', 'fake', None)

    Taught in notebook 09.
    """
    if kind == "pair" and set(shown) == {TRUTH, BROKEN}:
        return "left" if shown[0] == TRUTH else "right"
    return {(TRUTH,): "real", (BROKEN,): "fake"}.get(tuple(shown)) if kind == "real" else None
