r"""The page that raters see: one HTML file that needs nothing else, or the parts of it that a server sends.

Taught in notebook 09.
"""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup
from PIL import Image
from tqdm import tqdm

from aotlib.choices import nearest
from aotlib.files import replacing
from aotlib.study import plan as plans

SCREEN = Path(__file__).with_name("screen")
SCRIPTS = ("dom", "clock", "keeper", "tasks", "trial", "flow", "ending", "start")  # in the order in which they run


def write(
    folder: str | Path,
    out: str | Path,
    *,
    sessions: Sequence[int] | None = None,
    words: Mapping[str, str] | None = None,
    quality: int | None = None,
) -> Path:
    r"""``out`` is the page of the study in `folder`, with the given sessions or all; it needs nothing else.

    Args:
        words: what the page says, where it is to differ from `read_words()`.
        quality: of pictures, from 1 to 100, for all alike; lossless, when not given.

    Raises:
        ValueError: for a session that the plan has not, and for pictures that are not those of the plan.

    Taught in notebook 09.
    """
    plan, folder = plans.read(folder, check_files=True), _folder(folder)
    numbers = range(len(plan["sessions"])) if sessions is None else sorted(set(sessions))
    shown = {number: session_of(plan, number) for number in numbers}
    used = {file for session in shown.values() for trial in session["trials"] for file in _files(trial)}
    bar = tqdm(sorted(used), desc="encoding", disable=None, leave=False)  # sorted: the order tells nothing
    pictures = [(name, webp(folder / plan["files"][name]["path"], quality)) for name in bar]
    with replacing(Path(out)) as temporary:
        temporary.write_text(html(plan, words or read_words(), sessions=shown, pictures=pictures), encoding="utf-8")
    return Path(out)


def _folder(folder: str | Path) -> Path:
    return Path(folder) if Path(folder).is_dir() else Path(folder).parent


def _files(trial: dict) -> list[str]:
    return [file for file in (trial["input"], *trial["shown"]) if file]


def session_of(plan: dict, number: int) -> dict:
    r"""What the page of a rater knows of session `number`; title, consent and plan it knows already."""
    return {key: value for key, value in plans.public(plan, number).items() if key not in ("title", "consent", "plan")}


def webp(path: Path, quality: int | None = None) -> str:
    r"""The picture as WebP, base64: its very pixels, or with losses at a `quality`, from 1 to 100.

    Every picture of a page is encoded alike, whatever file it came as, so that none is told by its artefacts.

    Raises:
        ValueError: for a quality that there is not.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}: give 1 to 100, such as 95, or nothing for lossless pictures")
    how = {"lossless": True, "quality": 60, "exact": True} if quality is None else {"quality": quality}
    file = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(file, "WEBP", method=4, **how)
    return base64.b64encode(file.getvalue()).decode()


def read_words(path: str | Path | None = None) -> dict[str, str]:
    r"""What the page says, by name; `path` is a JSON file with some or all of it in other words or another language.

    Raises:
        ValueError: for a name that is not there, and for a text that leaves out a {number} which belongs into it.

    Taught in notebook 09.
    """
    words = json.loads((SCREEN / "words.json").read_text(encoding="utf-8"))
    if path is None:
        return words
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f'{path} must hold an object like {{"begin": "Los geht es"}}')
    for name, text in given.items():
        _check_word(path, name, text, words)
    return words | given


def _check_word(path: str | Path, name: str, text: object, words: Mapping[str, str]) -> None:
    if name not in words:
        raise ValueError(f"{path}: the page has no text {name!r}; {nearest(name, words)}")
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{path}: {name} must be a text, got {text!r}")
    if extra := _gaps(text) ^ _gaps(words[name]):
        raise ValueError(f"{path}: {name} must have the same {{gaps}} as {words[name]!r}; look at {sorted(extra)}")


def _gaps(text: str) -> set[str]:
    return {part.split("}")[0] for part in text.split("{")[1:]}


def style() -> str:
    r"""The style sheet of the page."""
    return (SCREEN / "style.css").read_text(encoding="utf-8")


def script() -> str:
    r"""The program of the page, in strict mode and with no name visible outside."""
    parts = [(SCREEN / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "})();\n"


def html(
    plan: dict,
    words: Mapping[str, str],
    *,
    sessions: Mapping[int, dict] | None = None,
    pictures: Sequence[tuple[str, str]] = (),
) -> str:
    r"""The page with everything in it, `sessions` and their `pictures` by id; without sessions, the frame for a server.

    Taught in notebook 09.
    """
    study = {"title": plan["title"], "consent": plan["consent"], "plan": plans.identity(plan), "words": dict(words)}
    study |= {"mode": "server"} if sessions is None else {"mode": "file", "sessions": dict(sessions)}
    environment = jinja2.Environment(autoescape=True, loader=jinja2.FileSystemLoader(SCREEN))
    given = {"title": plan["title"], "words": words, "study": _json(study), "pictures": pictures}
    if sessions is not None:
        own_style, own_script = style(), script()
        given |= {"style": Markup(own_style), "script": Markup(own_script), "policy": _policy(own_style, own_script)}
    return environment.get_template("page.html.jinja").render(given)


def _json(content: dict) -> Markup:
    """JSON that cannot end the element it stands in."""
    return Markup(json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"))


def _policy(own_style: str, own_script: str) -> str:
    """Nothing runs, is drawn or is asked for but what this file holds."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (own_style, own_script)]
    allowed = f"style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
