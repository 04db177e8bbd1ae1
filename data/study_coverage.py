r"""Hold the intervals of user studies against simulated studies whose truth is known.

    python data/study_coverage.py --studies 500 --out results/reference/study

`--out` gets simulated_coverage.csv, a row a setting and quantity, and simulated_coverage.json, which says how they were
made; both are written after every setting, and simulated_coverage.md, the shares in one table, at the end. Stopped, the
same command goes on with the next setting. They are those of `aotlib.study.coverage`; 500 studies of all take about 40
minutes on one core.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from aotlib import records, tables
from aotlib.choices import check_choice
from aotlib.files import replacing
from aotlib.run_names import code_digest
from aotlib.study import rates
from aotlib.study.coverage import SETTINGS, run

NAME = "simulated_coverage"
STATISTICS = ("abilities", "bradley_terry", "contrast", "coverage", "design", "plackett_luce", "rates", "resampling")
STATISTICS += ("screening", "separation", "simulate")  # what the numbers come from
COLUMNS = {
    "differences": "differences of abilities",
    "rates": "preferences",
    "fooled": "called real",
    "below": "less than photographs",
    "side": "lean to a side",
    "wilson": "preferences, votes as if independent",
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    table, account = before(options)
    made_by = records.origin()  # before the first file is written, which git would call a change
    for name in options.settings:
        if account["settings"].get(name) == described(name, options):
            print(f"{name}: done before", flush=True)
            continue
        started = time.perf_counter()
        found = run(
            SETTINGS[name], options.studies, seed=options.seed, n_resamples=options.n_resamples, report=progress(name)
        )
        found = found.rename_axis("quantity").reset_index()
        found.insert(0, "setting", name)
        table = pd.concat([table[table.setting != name], found], ignore_index=True)
        account["settings"][name] = described(name, options)
        account["seconds"][name] = round(time.perf_counter() - started, 1)
        write(table, account | made_by, options.out)
        shown = found[found.quantity.isin(("differences", "rates", "fooled", "below", "side"))].set_index("quantity")[
            "mean"
        ]
        print(f"{name}: " + ", ".join(f"{key} {value:.1%}" for key, value in shown.items()), flush=True)
    with replacing(options.out / f"{NAME}.md") as path:
        path.write_text(tables.markdown(overview(table)) + "\n", encoding="utf-8")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=500, help="of each setting")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables and the account")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), help="some of them, by name")
    parser.add_argument("--n-resamples", type=int, default=300, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in options.settings:
        try:
            check_choice("--settings", name, SETTINGS)
        except ValueError as error:
            parser.error(str(error))
    return options


def before(options: argparse.Namespace) -> tuple[pd.DataFrame, dict]:
    """What an earlier run left, or nothing."""
    paths = [options.out / f"{NAME}.{kind}" for kind in ("csv", "json")]
    if not all(path.is_file() for path in paths):
        return pd.DataFrame(columns=["setting"]), {"settings": {}, "seconds": {}}
    account = json.loads(paths[1].read_text(encoding="utf-8"))
    return pd.read_csv(paths[0]), {key: account[key] for key in ("settings", "seconds")}


def described(name: str, options: argparse.Namespace) -> dict:
    """All that the numbers of a setting depend on, as it comes back from a JSON file."""
    extent = {"studies": options.studies, "n_resamples": options.n_resamples, "seed": options.seed}
    return json.loads(json.dumps(dataclasses.asdict(SETTINGS[name]) | extent))


def progress(name: str):
    return lambda number: print(f"{name}: {number} studies", flush=True) if number % 100 == 0 else None


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """The share of 95 % intervals that hold the truth in %, a row a setting."""
    wide = table.pivot(index="setting", columns="quantity", values="mean").reindex(
        index=[name for name in SETTINGS if name in set(table.setting)], columns=list(COLUMNS)
    )
    cells = wide.map(lambda share: "" if pd.isna(share) else f"{100 * share:.1f}")
    return cells.rename(columns=COLUMNS).rename_axis("simulated studies", axis=0).reset_index()


def write(table: pd.DataFrame, account: dict, out_dir: Path) -> None:
    with replacing(out_dir / f"{NAME}.csv") as path:
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    about = {"simulated": True, "command": "python data/study_coverage.py"}
    about["code_digest"] = code_digest(Path(rates.__file__).parent, STATISTICS)
    records.write_json(out_dir / f"{NAME}.json", about | account)


if __name__ == "__main__":
    main()
