r"""A benchmark's record as tables in Markdown. Taught in notebook 12."""

import pandas as pd

from aotlib.tables import markdown

PAIRS = ("size", "batch", "reference_s", "lean_s", "fast_s", "ratio", "images_per_s", "max_abs_diff", "mean_abs_diff")
WAY = ("name", "precision", "layout", "compile", "median_s", "low_s", "high_s", "n", "first_s", "failed")


def table(rows: list[dict], columns: tuple[str, ...]) -> str:
    r"""Those `columns` of `rows` that are there, as a Markdown table."""
    present = [column for column in columns if any(column in row for row in rows)]
    return markdown(pd.DataFrame([[row.get(column, "") for column in present] for row in rows], columns=present))


def tried(rows: list[dict]) -> list[dict]:
    r"""Every variant of every row, a row each, with the size and batch that it belongs to."""
    return [{"size": row["size"], "batch": row["batch"]} | way for row in rows for way in row["variants"]]


def summary(content: dict) -> str:
    r"""Steps and fills of a record in one table: seconds of the reference, seconds of ours, and how it ran."""
    rows = []
    for row in content["train_step"]:
        how = ", ".join([row["precision"], row["layout"], *["compiled"] * (row["compile"] == "on")])
        rows.append({"": "training step"} | row | {"ours_s": row["lean_s"], "how": how})
    for row in content["inference"]:
        rows.append({"": "fill"} | row | {"ours_s": row["fast_s"], "how": row["fast"]})
    return table(rows, ("", "size", "batch", "reference_s", "ours_s", "ratio", "max_abs_diff", "how"))


def document(content: dict) -> str:
    r"""All tables of a record, each under its heading, with what the numbers depend on."""
    commit = (content["commit"] or "none")[:8] + (" + changes" if content["dirty"] else "")
    torch = content["versions"]["torch"]
    parts = [
        f"# {content['device']}",
        f"{content['created']}, commit {commit}, torch {torch}, {content['threads']} threads, "
        f"OMP_WAIT_POLICY {content['omp_wait_policy'] or 'not set'}; float32 convolutions: "
        f"{content['float32_convolutions']}. Networks {content['width']} channels wide, {content['n_blocks']} blocks. "
        f"{content['features']}. All times are medians of n repetitions after a warm-up (first_s), with quartiles "
        "low_s and high_s, in seconds.",
        content["compared"],
        "## Training step",
        table(content["train_step"], ("size", "batch", *PAIRS[2:7], "precision", "layout", "compile")),
        "Every variant:",
        table(tried(content["train_step"]), ("size", "batch", *WAY)),
        "## Filling pictures",
        "Differences to float32, for values in [-1, 1]; untrained He weights.",
        table(content["inference"], (*PAIRS, "fast")),
        "Every way:",
        table(tried(content["inference"]), ("size", "batch", *WAY[:1], *WAY[4:], "max_abs_diff", "mean_abs_diff")),
        "## Convolutions of a block",
        "The fastest form and layout, forward and backward; ratio: what the dilated call on a contiguous tensor takes.",
        table(content["fastest_layers"], ("precision", "rate", "form", "layout", "both_s", "ratio")),
        "All:",
        table(
            content["layers"],
            ("precision", "rate", "form", "layout", "side", "channels_in", "channels_out", "batch")
            + ("forward_s", "both_s", "forward_tflops", "both_tflops", "n"),
        ),
        "## Deterministic algorithms",
        table(
            [{"mode": mode} | content["deterministic"][mode] for mode in ("usual", "deterministic")], ("mode", *WAY[3:])
        ),
    ]
    if content["contention"]:
        columns = ("threads", "busy_neighbours", "size", "batch", *WAY[3:])
        parts += ["## Threads beside a busy neighbour", table(content["contention"], columns)]
    if content["left_out"]:
        parts += ["## Left out", "\n".join(f"- {line}" for line in content["left_out"])]
    return "\n\n".join(parts) + "\n"
