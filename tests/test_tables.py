"""Tables as readers get them: the digits that an interval can tell, and files for Markdown, LaTeX and programs."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from aotlib import tables
from aotlib.intervals import summarise

NASTY = r"a_b & 50 % of $x^2$ #1 {c} ~d \e <f> | 'g' " + '"h"'


def summary(**methods):
    """One row a method and bucket from (mean, low, high, n) by bucket."""
    rows = [
        {"method": method, "data": "d", "bucket": bucket, "metric": "psnr", "n_infinite": 0, "n_undefined": 0}
        | dict(zip(("mean", "low", "high", "n"), cell))
        for method, cells in methods.items()
        for bucket, cell in cells.items()
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "mean, low, high, cell",
    [
        (26.8512, 26.4123, 27.3012, "26.85 [26.41, 27.30]"),  # a width of 0.89
        (26.8512, 25.1, 28.7, "26.9 [25.1, 28.7]"),
        (26.8512, 2.1, 52.3, "27 [2, 52]"),
        (0.0123456, 0.0113456, 0.0133456, "0.0123 [0.0113, 0.0133]"),
        (123456.7, 123000.1, 124000.1, "123457 [123000, 124000]"),  # never rounded before the point
        (0.12345678, 0.12345670, 0.12345690, "0.123457 [0.123457, 0.123457]"),  # six digits at most
        (-0.004, -0.31, 0.3, "0.00 [-0.31, 0.30]"),  # not -0.00
        (31.4159, 31.4159, 31.4159, "31.42 [31.42, 31.42]"),  # all images equal: four digits
        (0.0, 0.0, 0.0, "0.000 [0.000, 0.000]"),
        (31.4159, math.nan, math.nan, "31.42"),  # one image
    ],
)
def test_a_cell_has_the_digits_that_its_interval_can_tell(mean, low, high, cell):
    table = tables.spread(summary(ours={"1-10 %": (mean, low, high, 7)}), "psnr")
    assert table.values.tolist() == [["ours", cell, 7]]


def test_spread_has_a_row_a_method_and_the_buckets_in_order():
    cells = {"all": (20, 19.5, 20.5, 4), "10-20 %": (18, 17.5, 18.5, 4), "1-10 %": (22, 21.5, 22.5, 4)}
    table = tables.spread(summary(ours=cells, grey=cells | {"all": (19, 18.5, 19.5, 4)}), "psnr")
    assert list(table.columns) == ["method", "1-10 %", "10-20 %", "all", "n"]
    assert table["method"].tolist() == ["ours", "grey"] and table["n"].tolist() == [4, 4]
    assert table["all"].tolist() == ["**20.0** [19.5, 20.5]", "19.0 [18.5, 19.5]"]
    assert table["1-10 %"].tolist() == ["**22.0** [21.5, 22.5]"] * 2, "of two equal ones neither is better"
    plain = tables.spread(summary(ours=cells, grey=cells), "psnr", bold=False)
    assert not plain.astype(str).apply(lambda column: column.str.contains("*", regex=False)).any(axis=None)
    alone = tables.spread(summary(ours=cells), "psnr")
    assert alone["all"].tolist() == ["20.0 [19.5, 20.5]"], "the best of one is no news"


def test_the_best_is_the_lowest_where_lower_is_better():
    both = summary(ours={"all": (20, 19, 21, 4)}, grey={"all": (10, 9, 11, 4)})
    assert tables.spread(both, "psnr")["all"][0].startswith("**")
    assert tables.spread(both.assign(metric="fid_768"), "fid_768")["all"][1].startswith("**")
    missing = summary(ours={"all": (math.nan, math.nan, math.nan, 0)}, grey={"all": (10, 9, 11, 4)})
    assert not tables.spread(missing, "psnr")["all"].str.contains("*", regex=False).any()


def test_a_cell_on_other_images_than_its_row_says_so():
    cells = {"1-10 %": (22, 21.5, 22.5, 9), "10-20 %": (18, 17.5, 18.5, 10), "20-30 %": (17, 16.5, 17.5, 10)}
    table = tables.spread(summary(ours=cells, grey=dict(list(cells.items())[1:])), "psnr", bold=False)
    assert table["n"].tolist() == [10, 10]
    assert table["1-10 %"].tolist() == ["22.0 [21.5, 22.5] (n = 9)", ""]
    assert table["10-20 %"].tolist() == ["18.0 [17.5, 18.5]"] * 2


def test_a_mean_that_does_not_exist_says_why():
    rows = summary(ours={b: (math.nan, math.nan, math.nan, 0) for b in ("1-10 %", "10-20 %")} | {"all": (1, 0, 2, 3)})
    rows.loc[0, ["n_infinite", "n_undefined"]] = [3, 0]
    rows.loc[1, ["n_infinite", "n_undefined"]] = [math.nan, 3]  # as where a summary was joined with other rows
    cells = tables.spread(rows, "psnr")
    assert cells.values.tolist() == [["ours", "infinite", "undefined", "1.0 [0.0, 2.0] (n = 3)", 0]]


def test_data_sets_stand_in_their_own_rows():
    one = summary(ours={"all": (20, 19, 21, 4)}, grey={"all": (10, 9, 11, 4)})
    table = tables.spread(pd.concat([one, one.assign(data="e", mean=[5, 15])], ignore_index=True), "psnr")
    assert table[["data", "method"]].values.tolist() == [["d", "ours"], ["d", "grey"], ["e", "ours"], ["e", "grey"]]
    assert [cell.startswith("**") for cell in table["all"]] == [True, False, False, True]


def test_spread_refuses_what_it_cannot_lay_out():
    rows = summary(ours={"all": (20, 19, 21, 4)})
    with pytest.raises(ValueError, match="no 'ssim'; it has psnr"):
        tables.spread(rows, "ssim")
    with pytest.raises(ValueError, match="two means of 'psnr'"):
        tables.spread(pd.concat([rows, rows]), "psnr")


def example():
    values = [1 / 3, np.inf, 9999.9, 100.0]
    table = pd.DataFrame({"method": ["a|b", "c", "d", "e"], "n": [1, 20000, 3, 4], "psnr": values})
    return table.assign(loss=[0.0000123456, np.nan, 999.96, 2.0])


def test_write_keeps_every_digit_in_csv_and_four_for_readers(tmp_path):
    path = tables.write(example(), tmp_path / "new", "scores")
    assert path == tmp_path / "new" / "scores.csv"
    assert {file.name for file in path.parent.iterdir()} == {"scores.csv", "scores.md", "scores.tex"}
    pd.testing.assert_frame_equal(pd.read_csv(path), example(), check_exact=True)
    lines = path.with_suffix(".md").read_text().splitlines()[2:]
    cells = [[c.strip() for c in line.split(" | ")] for line in lines]
    assert [row[1:] for row in cells] == [
        ["1", "0.3333", "1.235e-05 |"],
        ["20000", "inf", "nan |"],
        ["3", "10000", "1000 |"],
        ["4", "100.0", "2.000 |"],
    ]
    assert cells[0][0] == r"| a\|b"
    assert [row[1:] for row in parsed(path.with_suffix(".tex").read_text())[1:]] == [
        ["1", "0.3333", r"1.235 $\cdot$ 10$^{-5}$"],
        ["20000", "inf", "nan"],
        ["3", "10000", "1000"],
        ["4", "100.0", "2.000"],
    ]


def parsed(text):
    """Cells of a tabular, header first, as LaTeX would take it apart; fails where it would stumble."""
    assert text.startswith(r"\begin{tabular}{") and text.endswith("\\end{tabular}\n")
    sides = re.match(r"\\begin\{tabular\}\{([lr]*)\}\n", text)[1]
    body = text[text.index("\n") + 1 : text.rindex(r"\end{tabular}")]
    assert re.findall(r"\\(\w+rule)", body) == ["toprule", "midrule", "bottomrule"]
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", body):
        depth += 1 if brace == "{" else -1
        assert depth >= 0, "a brace closes what was never opened"
    assert depth == 0 and len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    rows = re.sub(r"\\\w+rule\n", "", body).split("\\\\\n")
    assert rows.pop() == ""
    assert not any(re.match(r"\s*[\[*]", row) for row in rows), "an option of the row's end before"
    text_only = re.sub(r"(?<!\\)\$.*?(?<!\\)\$", "", "".join(rows))
    assert not re.search(r"(?<!\\)[#%_^~<>|\"]", text_only), (
        "a character that LaTeX takes for a command or another sign"
    )
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]
    assert all(len(row) == len(sides) for row in cells), "a row of more or fewer cells than columns"
    return cells


def sides(table):
    return re.match(r"\\begin\{tabular\}\{([lr]*)\}", tables.latex(table))[1]


def test_latex_escapes_what_would_be_a_command():
    table = pd.DataFrame({NASTY: [NASTY, "[1] a", "*b", "-5 to 5", "two\nlines"], "1-10 %": [1.5, -2.0, 1e-7, -1e9, 3]})
    header, nasty, bracket, star, minus, lines = parsed(tables.latex(table) + "\n")
    assert header[0] == nasty[0] and header[1] == r"1-10 \%"
    for sign in ("a\\_b", r"\&", r"50 \%", r"\$x\textasciicircum 2\$", r"\#1", r"\{c\}", r"\textasciitilde d"):
        assert sign in nasty[0], sign
    for sign in (r"\textbackslash e", r"\textless{}f\textgreater{}", r"\textbar{}", r"\textquotedbl{}h"):
        assert sign in nasty[0].replace(r"\space ", ""), sign
    assert (bracket[0], star[0], minus[0], lines[0]) == ("{[}1] a", "{*}b", "$-$5 to 5", "two lines")
    numbers = [row[1] for row in (nasty, bracket, star, minus, lines)]
    assert numbers == ["1.500", "$-$2.000", r"1.000 $\cdot$ 10$^{-7}$", "$-$1000000000", "3.000"]


def test_numbers_and_means_stand_on_the_right_and_bold_is_bold():
    cells = {"1-10 %": (22, 21.5, 22.5, 9), "all": (-18, -18.5, -17.5, 10)}
    other = {"all": (math.nan, math.nan, math.nan, 0), "1-10 %": (9, 8, 10, 9)}
    table = tables.spread(summary(ours=cells, grey=other), "psnr")
    assert sides(table) == "lrrr" and sides(example()) == "lrrr" and sides(pd.DataFrame({"a": ["1-10 %"]})) == "l"
    text = tables.latex(table)
    rows = parsed(text + "\n")
    assert rows[1] == ["ours", r"\textbf{22.0} [21.5, 22.5] (n = 9)", "$-$18.0 [$-$18.5, $-$17.5]", "10"]
    assert "**22.0**" in tables.markdown(table)
    assert re.match(r"\|:-+\|-+:\|-+:\|-+:\|", tables.markdown(table).splitlines()[1])


def test_bold_is_for_readers_and_not_in_the_csv(tmp_path):
    both = summary(ours={"all": (20, 19, 21, 4)}, grey={"all": (10, 9, 11, 4)})
    read = pd.read_csv(tables.write(tables.spread(both, "psnr").assign(note="a **word**"), tmp_path, "psnr"))
    assert read["all"].tolist() == ["20.0 [19.0, 21.0]", "10.0 [9.0, 11.0]"]
    assert read["note"][0] == "a **word**", "only means lose their stars"


def test_tables_without_rows_or_columns_are_written_too(tmp_path):
    for number, table in enumerate((example()[:0], pd.DataFrame())):
        tables.write(table, tmp_path, str(number))
        parsed((tmp_path / f"{number}.tex").read_text())


def test_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tables.write(example(), tmp_path, "scores")
    before = path.read_bytes()

    def half_written(_, file, **__):
        file.write_text("half a tab")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half_written)
    with pytest.raises(OSError, match="disk full"):
        tables.write(example() * 2, tmp_path, "scores")
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 3


def test_a_summary_goes_all_the_way():
    rng = np.random.default_rng(0)
    rows = [(m, "d", b, f"i{i}", "psnr", rng.normal(25)) for m in "ab" for b in ("1-10 %", "10-20 %") for i in range(9)]
    long = pd.DataFrame(rows, columns=["method", "data", "bucket", "image", "metric", "value"])
    long.loc[0, "value"] = math.inf
    table = tables.spread(summarise(long), "psnr")
    assert list(table.columns) == ["method", "1-10 %", "10-20 %", "all", "n"] and table["n"].tolist() == [9, 9]
    assert table["1-10 %"][0].endswith(" (n = 8)") and sides(table) == "lrrrr"
