r"""Who is shown what: trials dealt out so that every comparison is made on every picture about equally often.

Taught in notebook 09.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aotlib.choices import check_choice
from aotlib.study import keys

TRUTH, BROKEN = "truth", "broken"  # stand where a method's name can
KINDS = ("real", "pair", "rank")  # in this order: who has compared fills of a picture would know it among the real ones
MOST_CATCHES = 0.1  # catch trials for each other trial: with more, raters are tested more than asked
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
        catch_share: catch trials (noise, beside the truth or among fills) for each other trial: 0.08 puts 4 on top of
            40; at least one, unless 0.
        practice: trials of each kind in use that come first and do not count.
        seed: of everything that is drawn, beside the plan's own secret, which only plan.json has.
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

    @property
    def catch_warning(self) -> str:
        r"""A sentence, when there are more catch trials than 10 for each 100 others; else nothing.

        >>> Design(pair=3).catch_warning
        '1 catch trial on top of 3 others, more than the usual 5 to 10 of 100: plan 10 trials or more a session'
        """
        others, catches = self.pair + self.real + self.rank, self.n_catches
        if catches <= MOST_CATCHES * others:
            return ""
        told = f"{catches} catch trial{'' if catches == 1 else 's'} on top of {others} others"
        return f"{told}, more than the usual 5 to 10 of 100: plan {10 * catches} trials or more a session"


def schedule(methods: Sequence[str], images: Sequence[str], design: Design, *, secret: str = "") -> list[list[dict]]:
    r"""The trials of each session, in order: dicts of kind, catch, practice, image and shown, names from left to right.

    Over all sessions every pair of methods comes on every image equally often, give or take one (`pair`), and each of
    the two stands on the left equally often, give or take one. Rankings deal out all sets of `rank_of` methods in the
    same way. Of all trials real or fake half show the truth, but how many a session has varies, so that who counts
    learns nothing; the others show each method about equally often. No session shows an image twice in them as long
    as there are enough. A session starts with practice; then come the kinds in the order of `KINDS`, each shuffled,
    with the catch trials spread over the session, each of the kind that it stands among.

    Args:
        secret: of the plan; who knows it and the seed can compute all of this.

    >>> plan = Design(sessions=2, pair=3, practice=0, catch_share=0)
    >>> sessions = schedule(["ours", "grey", "Telea"], ["a", "b"], plan)
    >>> sorted("/".join(sorted(trial["shown"])) for trials in sessions for trial in trials)
    ['Telea/grey', 'Telea/grey', 'Telea/ours', 'Telea/ours', 'grey/ours', 'grey/ours']

    Raises:
        ValueError: for a design that these methods and images do not allow.

    Taught in notebook 09.
    """
    _check(methods, images, design)
    rng = keys.generator(secret, "schedule", design.seed)
    dealers = {kind: _dealer(kind, methods, images, design, rng) for kind in KINDS if getattr(design, kind)}
    items = {kind: _items(kind, methods, design.rank_of) for kind in dealers}
    return [_session(dealers, items, images, design, rng) for _ in range(design.sessions)]


def repeats(sessions: Iterable[Sequence[dict]]) -> int:
    r"""In how many sessions the same methods come twice on one image, in trials of one kind that count.

    >>> once = _trial("pair", "a", ("ours", "grey"))
    >>> repeats([[once, once | {"shown": ("grey", "ours")}], [once, once | {"catch": True}]])
    1

    Args:
        sessions: the trials of each, of `schedule` or as they stand in a plan.

    Taught in notebook 09.
    """
    counted = [[one for one in trials if not (one["catch"] or one["practice"])] for trials in sessions]
    kinds = [[(one["kind"], one["image"], frozenset(one["shown"])) for one in trials] for trials in counted]
    return sum(len(set(seen)) < len(seen) for seen in kinds)


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
    photographs = np.array([item == (TRUTH,) for item in items])
    counts = _photographs(design, rng) if kind == "real" else itertools.repeat(0)
    for count in counts:
        trials = []
        for item, image in _dealt(done, getattr(design, kind), photographs, count, rng):
            shown = _placed(items[item], lead, item, rng)
            trials.append(_trial(kind, images[image], shown))
        yield trials


def _photographs(design: Design, rng: np.random.Generator) -> Iterator[int]:
    """How many of its single pictures are photographs, a number a session: half, more or fewer, and half in all."""
    while True:
        counts: list[int] = []
        while len(counts) < design.sessions - 1:
            widest = min(-(-design.real // 4), design.real // 2)
            more = design.real // 2 + int(rng.integers(-widest, widest + 1))
            counts += [more, design.real - more]
        if len(counts) < design.sessions:
            counts.append((design.real + int(rng.integers(2))) // 2)
        yield from map(int, rng.permutation(counts))


def _dealt(
    done: np.ndarray, count: int, photographs: np.ndarray, n_photographs: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """`count` cells (item, image) of those that were `done` least, on images and items new to the session.

    `n_photographs` of them are of the items that are `photographs`. Where there are any such items, an image that is
    new to the session goes above everything else.
    """
    here_image, here_item, cells = np.zeros(done.shape[1]), np.zeros(len(done)), []
    first, second = (1e3, 1e6) if photographs.any() else (1e6, 1e3)
    for wanted in rng.permutation(np.arange(count) < n_photographs):
        score = first * done + second * here_image + here_item[:, None] + rng.random(done.shape)
        score[photographs != wanted] = np.inf
        item, image = np.unravel_index(score.argmin(), score.shape)
        done[item, image] += 1
        here_image[image] += 1
        here_item[item] += 1
        cells.append((int(item), int(image)))
    return [cells[i] for i in rng.permutation(len(cells))]


def _placed(names: tuple[str, ...], lead: np.ndarray, item: int, rng: np.random.Generator) -> tuple[str, ...]:
    """The names from left to right: of two each is on the left as often as the other, more are shuffled."""
    if len(names) != 2:
        return _shuffled(names, rng)
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
    if design.n_catches:
        first = len(dealt.get("real", ())) if len(dealt) > 1 else 0  # two fills or more tell better who looks
        edges = np.linspace(first, len(trials), design.n_catches + 1)
        places = [int(rng.uniform(low, high)) + 1 for low, high in itertools.pairwise(edges)]
        for place in reversed(places):
            kind = trials[place - 1]["kind"]
            trials.insert(place, _catch(kind, images[rng.integers(len(images))], items[kind], rng))
    return practice + trials


def _rehearsal(kind: str, number: int, items: list, trials: list[dict], images: Sequence[str], rng) -> dict:
    """A trial that does not count, on an image that the session shows least; where it can be, with a right choice.

    The first ranking has a broken fill, as catch trials have, the second has none.
    """
    names = [trial["image"] for trial in trials]
    image = min(images, key=lambda image: (names.count(image), rng.random()))
    if kind == "rank" and number % 2:
        return _trial(kind, image, _shuffled(items[rng.integers(len(items))], rng)) | {"practice": True}
    trial = _catch(kind, image, items, rng) | {"catch": False, "practice": True}
    return trial | {"shown": ((TRUTH, BROKEN)[number % 2],)} if kind == "real" else trial


def _catch(kind: str, image: str, items: list, rng: np.random.Generator) -> dict:
    """A trial that everybody who looks gets right."""
    fills = _shuffled(items[rng.integers(len(items))], rng)[1:] if kind == "rank" else ()
    shown = {"pair": (TRUTH, BROKEN), "real": (BROKEN,), "rank": (*fills, BROKEN)}[kind]
    return _trial(kind, image, _shuffled(shown, rng), catch=True)


def _shuffled(names: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(names[i] for i in rng.permutation(len(names)))
