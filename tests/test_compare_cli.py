"""Methods that were judged one by one, put in one table: what is compared with what, and what is refused."""

import math
import re
import sys

import numpy as np
import pandas as pd
import pytest

from aotlib import cli, comparison, intervals, scorecard
from aotlib.compare_cli import common, differences, joined, metrics_of, read
from aotlib.metrics import long_table

BUCKETS = ("1-10 %", "20-30 %")


def judged(path, method, values, *, n=8, metrics=("psnr",), names="{bucket}/{i}", same=True, data="truth", seed=0):
    """What `aotlib evaluate --images` writes of `n` photographs with a hole of each bucket: values(i, place, noise)."""
    rng, parts = np.random.default_rng(seed), []
    for metric in metrics:
        for place, bucket in enumerate(BUCKETS):
            for i in range(n):
                name = names.format(bucket=bucket.removesuffix(" %"), i=i)
                row = {"method": method, "data": data, "bucket": bucket, "image": name, "metric": metric}
                marks = {"photograph": f"{i:016x}", "mask": f"{10 * place + i:016x}"} if same else {}
                parts.append(row | {"value": values(i, place, rng.normal())} | marks)
    pd.DataFrame(parts).to_csv(path, index=False)
    return path


@pytest.fixture
def two(tmp_path):
    """Two methods on eight photographs with two holes each; the second is about 1 dB better."""
    one = judged(tmp_path / "one.csv", "one", lambda i, place, noise: 30 + 3 * i - 5 * place + noise)
    other = judged(tmp_path / "two.csv", "two", lambda i, place, noise: 31 + 3 * i - 5 * place + noise / 2, seed=1)
    return one, other


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["aotlib", "compare", *map(str, words)])
    cli.main()


def refused(monkeypatch, capsys, *words):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *words)
    told = capsys.readouterr()
    assert stop.value.code == 1 and told.out == "" and told.err.startswith("aotlib: ")
    return told.err


def test_differences_are_those_of_the_library_and_of_numpy(two):
    long, told = common(joined(two), matched_only=False)
    assert told == "16 pictures of 8 photographs"
    versus = differences(long, "psnr", to="one")
    assert list(versus.bucket) == [*BUCKETS, "all"] and set(versus.method) == {"two"} and (versus.n == 8).all()
    plain = comparison.compare(long, "psnr", to="one")  # knows nothing of photographs, and of no bucket "all"
    columns = ["bucket", "difference", "low", "high", "n", "p"]
    pd.testing.assert_frame_equal(versus[columns][:2], plain[columns])
    wide = long.pivot(index="photograph", columns=["method", "bucket"], values="value")
    by_hand = (wide["two"] - wide["one"]).mean(axis=1)
    assert versus.difference[2] == pytest.approx(by_hand.mean(), rel=1e-12)
    np.testing.assert_allclose(versus.p_holm, comparison.holm(versus.p))


def test_a_photograph_counts_once_in_all_however_many_holes_it_has(tmp_path):
    once = [3.0, 1, 2, 4, 2.5, 1.5, 3.5, 2]
    files = [judged(tmp_path / f"{k}.csv", name, lambda i, *_, k=k: 20 + k * once[i]) for k, name in enumerate("ab")]
    versus = differences(joined(files), "psnr", to="a").set_index("bucket")
    assert (versus.n == 8).all()  # not 16 in "all"
    for column in ("difference", "low", "high", "p"):  # two equal values of a photograph say no more than one
        assert versus[column]["all"] == pytest.approx(versus[column]["1-10 %"], rel=1e-9)
    summary = scorecard.by_photograph(joined(files)).set_index(["method", "bucket"])
    mean, low, high, n = intervals.mean_interval([20 + value for value in once])
    assert [*summary.loc[("b", "all"), ["mean", "low", "high", "n"]]] == pytest.approx([mean, low, high, n])


def test_exact_pictures_are_left_out_in_pairs_and_counted(tmp_path, monkeypatch, capsys):
    exact = judged(tmp_path / "a.csv", "a", lambda i, place, _: math.inf if i < 2 and place == 0 else 30.0 + i)
    other = judged(tmp_path / "b.csv", "b", lambda i, place, _: math.inf if i == 7 else 32.0 + i)
    versus = differences(joined([exact, other]), "psnr", to="a").set_index("bucket")
    assert versus.n.to_dict() == {"1-10 %": 5, "20-30 %": 7, "all": 7} and (versus.difference == 2).all()
    run(monkeypatch, exact, other)
    text = capsys.readouterr().out
    cell = r"\d\S+ \[\S+ \S+\] \(\+ 2 exact\) +\|"
    assert re.search(rf"\| all +\| +{cell} +{cell}", text)
    assert "(+ k exact): k more pictures have no error" in text


def test_the_command_prints_and_writes_both_tables(two, tmp_path, monkeypatch, capsys):
    run(monkeypatch, *two, "--out", tmp_path / "tables", "--to", "two")
    text = capsys.readouterr().out
    assert text.startswith("one; two: 16 pictures of 8 photographs\n\nPSNR (dB), higher is better\n\n| bucket ")
    assert "differences: each method minus two" in text and "corrected for the 3 differences of a table (Holm)" in text
    (row,) = re.findall(r"\| all +\| (-\S+ \[\S+ \S+\])( \*)? +\|", text)
    found = {path.name for path in (tmp_path / "tables").iterdir()}
    assert found == {f"psnr{part}.{kind}" for part in ("", "_differences") for kind in ("csv", "md", "tex")}
    versus = pd.read_csv(tmp_path / "tables" / "psnr_differences.csv")
    assert list(versus.method.unique()) == ["one"] and versus.better[2] == "two" and row[1] == " *"
    expected = differences(joined(two), "psnr", to="two")
    np.testing.assert_array_equal(versus.p_holm, expected.p_holm)
    assert "| method   |" in (tmp_path / "tables" / "psnr.md").read_text()
    assert "**" not in (tmp_path / "tables" / "psnr.csv").read_text()


def test_differences_that_chance_explains_are_said_to_be_none(tmp_path, monkeypatch, capsys):
    files = [judged(tmp_path / f"{n}.csv", f"m{n}", lambda *row: 30 + row[2], seed=n) for n in (1, 2)]
    run(monkeypatch, *files)
    text = capsys.readouterr().out
    assert "differences: each method minus m1, on the same pictures; none is significant\n" in text
    assert not re.search(r"\] \*", text)


def test_the_usual_metrics_are_shown_as_far_as_all_have_them(tmp_path, monkeypatch, capsys):
    usual = ("l1", "hole_l1", "ssim", "psnr", "lpips")
    files = [judged(tmp_path / f"{n}.csv", f"m{n}", lambda i, *_: 1.0 + i, metrics=usual[:n]) for n in (5, 4)]
    assert metrics_of(joined(files), ()) == ["psnr", "ssim", "hole_l1"]
    assert metrics_of(joined(files), ("l1", "psnr", "l1")) == ["l1", "psnr"]
    run(monkeypatch, *files, "--metric", "l1", "--metric", "ssim")
    text = capsys.readouterr().out
    assert "L1 (0 to 1), lower is better" in text and "SSIM, higher" in text and "PSNR" not in text
    assert "not all methods have the metric 'lpips'; all have l1, hole_l1, ssim, psnr" in refused(
        monkeypatch, capsys, *files, "--metric", "lpips"
    )
    few = judged(tmp_path / "few.csv", "few", lambda i, *_: 1.0, metrics=("l1",))
    assert "give --metric, of l1" in refused(monkeypatch, capsys, *files, few)


def test_two_files_of_one_method_are_refused(two, tmp_path, monkeypatch, capsys):
    again = judged(tmp_path / "again.csv", "one", lambda *_: 1.0)
    told = refused(monkeypatch, capsys, *two, again)
    assert "one.csv and" in told and "again.csv both call their method 'one': give --name to `aotlib evaluate`" in told
    assert "both call their method 'one'" in refused(monkeypatch, capsys, two[0], two[0])
    assert "two methods are needed; the files hold 'one'" in refused(monkeypatch, capsys, two[0])
    assert "--to must be one of 'one', 'two', got 'tow'; did you mean" in refused(
        monkeypatch, capsys, *two, "--to", "tow"
    )


def test_methods_on_different_pictures_are_refused_unless_told(two, tmp_path, monkeypatch, capsys):
    more = judged(tmp_path / "more.csv", "more", lambda i, *_: 30.0 + i, n=10)
    told = refused(monkeypatch, capsys, *two, more)
    assert "not judged on the same pictures: 16 of 20 are common to all" in told and "--matched-only compares" in told
    assert "\n  one lacks 4, such as 1-10 % 8\n  two lacks 4" in told and "more lacks" not in told
    run(monkeypatch, *two, more, "--matched-only")
    assert "16 pictures of 8 photographs, only those in common of 20" in capsys.readouterr().out
    versus = differences(common(joined([*two, more]), True)[0], "psnr", to="one")
    assert (versus.n == 8).all() and len(versus) == 6
    none = judged(tmp_path / "none.csv", "none", lambda *_: 1.0, names="{bucket}/x{i}")
    told = refused(monkeypatch, capsys, *two, none, "--matched-only")
    assert "0 of 32 are common" in told and "--matched-only" not in told


@pytest.mark.parametrize("what", ["photograph", "mask"])
def test_pictures_of_one_name_that_are_others_are_refused(two, what, monkeypatch, capsys):
    table = pd.read_csv(two[1], dtype=str)
    table.loc[[3, 4], what] = "ffffffffffffffff"
    table.to_csv(two[1], index=False)
    told = refused(monkeypatch, capsys, *two, "--matched-only")
    assert f"2 pictures of one name have not the same {what} in all files, such as 1-10 % 3" in told
    assert "the same folders of true pictures and masks" in told


def test_a_notebooks_table_goes_with_that_of_a_folder(two, tmp_path):
    """It calls NAME.jpg in a bucket what `aotlib cases` writes as BUCKET/NAME, and says nothing of pixels."""
    theirs = judged(tmp_path / "n.csv", "grey", lambda i, *_: 20.0 + i, names="{i}.jpg", same=False, data="samples")
    more = judged(tmp_path / "m.csv", "blue", lambda i, *_: 21.0 + i, names="{i}.jpg", same=False, data="samples")
    long, told = common(joined([theirs, *two]), matched_only=False)
    assert told == "16 pictures of 8 photographs" and set(long.photograph) == {f"{i:016x}" for i in range(8)}
    assert (differences(long, "psnr", to="grey").n == 8).all()
    alone, told = common(joined([theirs, more]), matched_only=False)  # the name of an image is that of a photograph
    assert told == "16 pictures of 8 photographs" and (differences(alone, "psnr", to="grey").n == 8).all()
    pd.concat([pd.read_csv(theirs), pd.read_csv(more)]).to_csv(tmp_path / "both.csv")
    assert set(joined([tmp_path / "both.csv"]).method) == {"grey", "blue"}


def test_names_are_names_and_numbers_are_as_they_were_written(tmp_path):
    scores = {"psnr": np.array([1 / 3, math.inf, math.nan])}
    long = long_table(scores, method="NA", data="d", images=["007", "NA", "a.b"], buckets=[BUCKETS[0]] * 3)
    long.to_csv(tmp_path / "a.csv", index=False)
    table = read(tmp_path / "a.csv")
    assert list(table.image) == ["007", "NA", "a.b"] and set(table.method) == {"NA"}
    np.testing.assert_array_equal(table.value, scores["psnr"])
    long.assign(image=["x.png", "x.jpg", "y.v2.webp"]).to_csv(tmp_path / "b.csv", index=False)
    assert list(read(tmp_path / "b.csv").image) == ["x.png", "x.jpg", "y.v2.webp"]  # two pictures stay two
    long.assign(image=["x.png", "1-10/y.v2", "1-10/z/z"]).to_csv(tmp_path / "b.csv", index=False)
    assert list(read(tmp_path / "b.csv").image) == ["x", "y.v2", "z/z"]


@pytest.mark.parametrize(
    "change, told",
    [
        (lambda table: table.drop(columns=["bucket", "value"]), "lacks the columns bucket, value; give what `aotlib"),
        (lambda table: table.iloc[:0], "holds no row"),
        (lambda table: table.assign(data=["x", "y"] * 8), "holds several data sets (x, y): keep one"),
        (lambda table: table.assign(value="high"), "a value is no number: could not convert string to float: 'high'"),
        (lambda table: pd.concat([table, table[:1]]), "two values of psnr for 1-10/0 by one: joined twice?"),
    ],
)
def test_what_is_no_such_table_is_refused(two, change, told, monkeypatch, capsys):
    change(pd.read_csv(two[0])).to_csv(two[0], index=False)
    text = refused(monkeypatch, capsys, *two)
    assert told in text and "one.csv" in text


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\xff", b'{"name": "x",\n "n": 3}\n1,2,3,4,5\n', b"{}"])
def test_a_file_of_another_kind_is_refused_by_name(two, content, monkeypatch, capsys):
    two[0].write_bytes(content)
    text, wanted = refused(monkeypatch, capsys, *two), "; give what `aotlib evaluate --images FILE.csv` wrote"
    assert re.search(rf"one.csv (is no CSV table|lacks the columns).*{wanted}", text, re.DOTALL)
    two[0].unlink()
    assert f"one.csv is no file{wanted}" in refused(monkeypatch, capsys, *two)
