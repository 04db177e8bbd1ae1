"""A plan: balanced, seeded, told apart from its key, and refused where its folders do not fit together."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from aotlib.images import read_image, write_image
from aotlib.study import keys, stimuli
from aotlib.study import plan as plans
from aotlib.study.catches import is_right, right_choice
from aotlib.study.design import BROKEN, TRUTH, Design, schedule

METHODS = ["ours", "grey", "Telea", "blur"]
IMAGES = [f"image {number}" for number in range(6)]
DESIGN = Design(sessions=12, pair=15, real=6, rank=4, rank_of=3, practice=2, catch_share=0.08, seed=3)


@pytest.fixture(scope="module")
def sessions():
    return schedule(METHODS, IMAGES, DESIGN)


def of_kind(sessions, kind):
    every = itertools.chain.from_iterable(sessions)
    return [trial for trial in every if trial["kind"] == kind and not trial["catch"] and not trial["practice"]]


def test_every_pair_comes_on_every_image_equally_often(sessions):
    cells = Counter((trial["image"], frozenset(trial["shown"])) for trial in of_kind(sessions, "pair"))
    assert len(cells) == 6 * 6 and set(cells.values()) == {5}  # 12 sessions x 15 trials = 36 cells x 5


def test_each_of_a_pair_stands_on_the_left_as_often_as_the_other(sessions):
    for one, other in itertools.combinations(METHODS, 2):
        shown = [trial["shown"] for trial in of_kind(sessions, "pair") if set(trial["shown"]) == {one, other}]
        assert abs(sum(names[0] == one for names in shown) - len(shown) / 2) <= 0.5


def test_rankings_deal_out_all_sets_and_shuffle_them(sessions):
    trials = of_kind(sessions, "rank")
    sets = Counter(frozenset(trial["shown"]) for trial in trials)
    assert len(sets) == 4 and max(sets.values()) - min(sets.values()) <= 1
    assert len({trial["shown"] for trial in trials}) > 12  # of 24 orders


def test_about_half_of_the_single_pictures_are_photographs_and_none_comes_twice(sessions):
    trials = of_kind(sessions, "real")
    shown = Counter(trial["shown"][0] for trial in trials)
    assert (
        abs(shown[TRUTH] - len(trials) / 2) <= 3
        and max(shown[name] for name in METHODS) - min(map(shown.get, METHODS)) <= 3
    )
    for session in sessions:
        images = [trial["image"] for trial in of_kind([session], "real")]
        assert len(set(images)) == len(images) == 6


def test_a_session_has_practice_first_then_single_pictures_and_catches_spread_out(sessions):
    for session in sessions:
        assert [trial["practice"] for trial in session] == [True] * 6 + [False] * (len(session) - 6)
        kinds = [trial["kind"] for trial in session[6:] if not trial["catch"]]
        assert kinds == ["real"] * 6 + ["pair"] * 15 + ["rank"] * 4
        places = [place for place, trial in enumerate(session) if trial["catch"]]
        assert len(places) == DESIGN.n_catches == 2
        assert places[0] > 12 and places[1] - places[0] > 1  # after the single pictures, not side by side
        assert {session[place]["kind"] for place in places} <= {"pair", "rank"}
        for place in places:
            assert session[place]["kind"] in {one["kind"] for one in session[place - 1 : place + 2] if not one["catch"]}
            names = set(session[place]["shown"])
            assert names == {TRUTH, BROKEN} or (len(names) == 3 and names - {BROKEN} < set(METHODS) and BROKEN in names)


def test_a_study_of_single_pictures_catches_with_one():
    sessions = schedule(METHODS, IMAGES, Design(sessions=2, pair=0, real=6))
    assert [trial["shown"] for session in sessions for trial in session if trial["catch"]] == [(BROKEN,)] * 2


def test_a_study_of_rankings_catches_and_practises_with_rankings():
    sessions = schedule(METHODS, IMAGES, Design(sessions=3, pair=0, rank=10, catch_share=0.1))
    for session in sessions:
        assert {trial["kind"] for trial in session} == {"rank"}
        (catch,) = [trial for trial in session if trial["catch"]]
        last = catch["shown"].index(BROKEN)
        others = [place for place in range(4) if place != last]
        assert is_right("rank", catch["shown"], (*others, last))
        assert not is_right("rank", catch["shown"], (last, *others))
        practised = [right_choice("rank", trial["shown"]) for trial in session if trial["practice"]]
        assert practised[0] is not None and practised[1] is None


def test_practice_has_a_right_choice_where_there_is_one(sessions):
    for trial in itertools.chain.from_iterable(sessions):
        if trial["practice"] and trial["kind"] != "rank":
            assert right_choice(trial["kind"], trial["shown"]) is not None


def test_how_many_photographs_a_session_has_varies_and_is_half_in_all():
    for real, n_sessions in ((8, 24), (7, 11), (1, 6), (2, 5)):
        sessions = schedule(METHODS, IMAGES * 2, Design(sessions=n_sessions, pair=0, real=real, catch_share=0))
        trials = [[trial["shown"][0] for trial in of_kind([session], "real")] for session in sessions]
        counts = [names.count(TRUTH) for names in trials]
        assert all(len(names) == real for names in trials) and abs(sum(counts) - real * n_sessions / 2) <= 1
        assert len(set(counts)) >= min(real, 3) or real < 3
        assert real == 1 or np.std(counts) > 0.4
        assert max(counts) - min(counts) <= 2 * -(-real // 4) + 1


def test_too_many_catch_trials_are_told():
    assert "1 catch trial on top of 3" in Design(pair=3).catch_warning and not Design().catch_warning
    assert not Design(pair=10).catch_warning and Design(pair=9).catch_warning


def test_the_seed_decides_everything(sessions):
    assert schedule(METHODS, IMAGES, DESIGN) == sessions
    assert schedule(METHODS, IMAGES, Design(**vars(DESIGN) | {"seed": 4})) != sessions
    assert schedule(METHODS, IMAGES, DESIGN, secret="another") != sessions


@pytest.mark.parametrize(
    "methods, changed, said",
    [
        (["ours", "ours"], {}, "its own name"),
        (["ours", "truth"], {}, "its own name"),
        (["ours"], {"real": 0, "rank": 0}, "need 2"),
        (METHODS, {"rank_of": 5}, "need 5"),
        (METHODS, {"pair": 0, "real": 0, "rank": 0}, "at least one trial"),
        (METHODS, {"catch_share": 8}, "a share like 0.08"),
        (METHODS, {"sessions": 0}, "at least one of each"),
    ],
)
def test_impossible_designs_are_refused(methods, changed, said):
    with pytest.raises(ValueError, match=said):
        schedule(methods, IMAGES, Design(**vars(DESIGN) | changed))


# With pictures


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        truth = rng.integers(60, 200, (32, 48, 3), dtype=np.uint8)
        mask = np.zeros((32, 48), np.uint8)
        mask[8:24, 10:30] = 255
        write_image(truth, tmp_path / "truth" / f"a/{number}.png")
        write_image(mask, tmp_path / "masks" / f"a/{number}.png")
        write_image(np.where(mask[..., None] > 0, np.uint8(127), truth), tmp_path / "inputs" / f"a/{number}.png")
        for place, name in enumerate(METHODS[:2]):
            write_image(np.where(mask[..., None] > 0, np.uint8(50 * place), truth), tmp_path / name / f"a/{number}.png")
    return tmp_path


def made(folders, out="study", **more):
    more = {"masks": folders / "masks", "design": Design(sessions=3, pair=3, real=3, seed=1)} | more
    methods = {name: folders / name for name in METHODS[:2]}
    return plans.make(methods, folders / "truth", folders / out, **more)


def test_a_plan_holds_its_pictures_under_random_names(folders):
    path = made(folders)
    plan = plans.read(path, check_files=True)
    assert plan["images"] == ["a/0", "a/1", "a/2"] and plan["methods"] == METHODS[:2]
    assert Counter(file["role"] for file in plan["files"].values()) == {
        "result": 6,
        "input": 3,
        "truth": 3,
        "broken": 3,
    }
    for name, file in plan["files"].items():
        assert file["path"] == f"pictures/{name}.png" and file["size"] == [48, 32]
        seen = read_image(path.parent / file["path"])
        true = read_image(folders / "truth" / f"{file['image']}.png")
        assert (seen[:8] == true[:8]).all()  # outside the hole
        inside = seen[8:24, 10:30]
        if file["role"] == "input":
            assert (inside == 127).all()
        if file["role"] == "broken":
            assert set(np.unique(inside)) == {0, 255} and inside.std() > 100
        if file["role"] == "truth":
            assert (seen == true).all()
        if file["role"] == "result":
            assert (inside == 50 * METHODS.index(file["method"])).all()


def test_names_do_not_follow_methods(folders):
    """Sorted by name, files of one method do not stand together; the same secret and seed give the same plan."""
    first, again = (json.loads(made(folders, out, secret="known").read_text()) for out in ("one", "two"))
    assert first == again
    roles = [first["files"][name]["method"] or first["files"][name]["role"] for name in sorted(first["files"])]
    assert len([1 for one, next_ in itertools.pairwise(roles) if one != next_]) > 6


def test_who_knows_seed_design_and_folders_cannot_name_a_picture(folders):
    """All that is public, and a page: nothing that the program draws of it is the name of a picture or trial."""
    path = made(folders)
    plan = plans.read(path)
    used = {file for number in range(3) for trial in plans.public(plan, number)["trials"] for file in trial["shown"]}
    again = plans.read(made(folders, "again"))  # an attacker runs the very same command
    assert again["seed"] == plan["seed"] and again["secret"] != plan["secret"]
    assert not used & set(again["files"])
    names = {trial["trial"] for session in plan["sessions"] for trial in session["trials"]}
    assert not names & {trial["trial"] for session in again["sessions"] for trial in session["trials"]}
    for stream in ([1, 1], [1, 2], [1]):  # names as bytes of a generator that has the seed
        for n_bytes in (6, 8):
            rng = np.random.default_rng(stream)
            assert not (used | names) & {rng.bytes(n_bytes).hex() for _ in range(100)}
    for secret in ("", "0", "1", str(plan["seed"]), plans.identity(plan)):
        known = {keys.name(secret, "picture", *about) for about in whose(plan).values()}
        assert not used & known
    assert used <= {keys.name(plan["secret"], "picture", *about) for about in whose(plan).values()}


def whose(plan):
    return {name: (file["image"], file["role"], file["method"]) for name, file in plan["files"].items()}


def test_the_order_of_the_schedule_does_not_follow_from_the_seed(folders):
    """The attack that a page's names withstand: simulate the schedule, and match its pictures place by place."""
    orders = []
    for out in ("one", "two"):
        plan = plans.read(made(folders, out, design=Design(sessions=3, pair=20, seed=1)))
        about = whose(plan)
        orders.append([[about[file] for file in trial["shown"]] for trial in plan["sessions"][0]["trials"]])
    assert orders[0] != orders[1]


def test_an_empty_secret_is_refused(folders):
    with pytest.raises(ValueError, match="secret of a plan is empty"):
        made(folders, secret="")


def test_a_raters_page_gets_nothing_that_tells(folders):
    plan = plans.read(made(folders))
    told = plans.public(plan, 1)
    text = json.dumps(told)
    for secret in (*METHODS[:2], "broken", "catch", "a/0", "pictures", "rules", "seed", plan["secret"]):
        assert secret not in text.replace(told["consent"], "").replace(told["title"], ""), secret
    assert [trial["trial"] for trial in told["trials"]] == [one["trial"] for one in plan["sessions"][1]["trials"]]
    assert all("right" not in trial for trial in told["trials"] if not trial["practice"])
    assert [trial["input"] is None for trial in told["trials"]] == [trial["kind"] == "real" for trial in told["trials"]]
    with pytest.raises(ValueError, match="sessions 0 to 2"):
        plans.public(plan, 3)


def test_inputs_can_stand_for_masks(folders):
    plan = plans.read(made(folders, masks=None, inputs=folders / "inputs"))
    one = next(file for file in plan["files"].values() if file["role"] == "broken")
    inside = read_image(folders / "study" / one["path"])[8:24, 10:30]
    assert np.isin(inside, (0, 255)).mean() > 0.7  # where the photograph itself is near grey its pixels stay
    with pytest.raises(ValueError, match="shows no hole"):
        made(folders, "other", masks=None, inputs=folders / "truth")
    with pytest.raises(ValueError, match="either masks or inputs"):
        made(folders, "other", masks=None)


def test_misfits_are_named_and_nothing_is_left(folders):
    (folders / "ours" / "a/1.png").rename(folders / "ours" / "a/7.png")
    with pytest.raises(ValueError, match="ours .* lacks: a/1\n.*ours .* has what the truths lack: a/7"):
        made(folders)
    (folders / "ours" / "a/7.png").rename(folders / "ours" / "a/1.png")
    write_image(np.zeros((32, 40, 3), np.uint8), folders / "grey" / "a/2.png")
    with pytest.raises(ValueError, match=r"a/2 differ in size: .*grey 40 x 32"):
        made(folders)
    assert not any((folders / "study").glob("*"))


def test_a_photograph_with_two_holes_is_refused(folders):
    """Votes on it would count as votes on two images, and its intervals would be too short."""
    for name in ("truth", "masks", *METHODS[:2]):
        (folders / name / "b").mkdir()
        (folders / name / "b" / "0.png").write_bytes((folders / name / "a" / "0.png").read_bytes())
    with pytest.raises(ValueError, match="a/0 and b/0 are the same photograph.* --only"):
        made(folders)
    assert not any((folders / "study").glob("*"))


def test_a_plan_is_not_made_twice_in_a_folder(folders):
    made(folders)
    with pytest.raises(FileExistsError, match="answers may belong"):
        made(folders)


def test_a_misspelt_rule_and_a_changed_picture_are_refused(folders):
    with pytest.raises(ValueError, match="did you mean 'fewest_answers'"):
        made(folders, rules={"fewest_answer": 0.5})
    path = made(folders, rules={"fewest_answers": 0.5})
    plan = plans.read(path)
    assert plan["rules"]["fewest_answers"] == 0.5 and plan["rules"]["catch_failures_allowed"] == 0.2
    picture = path.parent / next(iter(plan["files"].values()))["path"]
    write_image(np.zeros((32, 48, 3), np.uint8), picture)
    with pytest.raises(ValueError, match="is changed"):
        plans.read(path, check_files=True)
    with pytest.raises(ValueError, match="does not exist"):
        plans.read(path.parent / "none.json")


def test_two_files_of_one_name_are_refused(folders):
    write_image(np.zeros((32, 48, 3), np.uint8), folders / "ours" / "a/1.jpg")
    with pytest.raises(ValueError, match="has both"):
        stimuli.pair_up({"ours": folders / "ours"}, folders / "truth")
