"""The page that is sent to raters as a file: whole, lossless, and silent about what the plan keeps."""

import base64
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from aotlib.study import page
from aotlib.study import plan as plans


class Elements(HTMLParser):
    """The elements of a page with their attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        self.open = True

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.found[-1][2] += data

    def named(self, tag):
        return [(attrs, text) for name, attrs, text in self.found if name == tag]


@pytest.fixture(scope="module")
def folder(make_study, tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study") / "study")


@pytest.fixture(scope="module")
def plan(folder):
    return plans.read(folder)


@pytest.fixture(scope="module")
def text(folder):
    return page.write(folder, folder / "page.html").read_text(encoding="utf-8")


def pictures_of(text):
    scripts = Elements(text).named("script")
    return {attrs["id"].removeprefix("picture-"): data for attrs, data in scripts if attrs.get("type") == "text/plain"}


def study_of(text):
    (found,) = [data for attrs, data in Elements(text).named("script") if attrs.get("type") == "application/json"]
    return json.loads(found)


def test_every_picture_is_there_once_and_pixel_for_pixel(folder, plan, text):
    found = pictures_of(text)
    used = {
        file
        for session in plan["sessions"]
        for trial in session["trials"]
        for file in (trial["input"], *trial["shown"])
        if file
    }
    assert set(found) == used and text.count("picture-") == len(used) + page.script().count("picture-")
    for name, data in found.items():
        shown = Image.open(io.BytesIO(base64.b64decode(data)))
        assert shown.format == "WEBP" and not shown.info.get("exif")
        np.testing.assert_array_equal(shown, Image.open(folder / plan["files"][name]["path"]))


def test_a_lower_quality_is_smaller_and_the_same_for_all(folder, text, tmp_path):
    lossy = page.write(folder, tmp_path / "lossy.html", quality=80).read_text(encoding="utf-8")
    assert set(pictures_of(lossy)) == set(pictures_of(text))
    before, after = (sum(map(len, pictures_of(one).values())) for one in (text, lossy))
    assert after < before / 2
    kinds = {base64.b64decode(data)[12:16] for data in pictures_of(lossy).values()}
    assert kinds == {b"VP8 "}  # WebP with losses; VP8L is without
    with pytest.raises(ValueError, match="1 to 100"):
        page.write(folder, tmp_path / "none.html", quality=0)


def test_the_source_tells_no_method_image_role_or_catch(plan, text):
    plain = re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)  # base64 can spell anything
    words = [
        *plan["methods"],
        *plan["images"],
        '"catch"',
        "pictures/",
        'sha256"',
        '"method',
        '"role',
        "truth",
        "broken",
    ]
    assert [word for word in words if word in plain] == []
    assert list(pictures_of(text)) == sorted(pictures_of(text))  # by random name, not by method
    trial = study_of(text)["sessions"]["0"]["trials"][0]
    assert {"trial", "kind", "practice", "input", "shown"} <= set(trial) <= {*trial, "size", "right"}
    told = {trial["trial"]: trial for session in study_of(text)["sessions"].values() for trial in session["trials"]}
    kept = [trial for session in plan["sessions"] for trial in session["trials"]]
    assert any(trial["catch"] for trial in kept)
    same = [set(told[trial["trial"]]) for trial in kept if not trial["practice"]]
    assert all(keys == same[0] for keys in same)  # a catch trial looks like any other


def test_nothing_is_asked_for_from_elsewhere_and_the_policy_allows_this_file_only(text):
    elements = Elements(text)
    addresses = [
        attrs[key]
        for _, attrs, _ in elements.found
        for key in ("src", "href", "action", "data", "srcset", "ping")
        if key in attrs
    ]
    assert addresses == ["data:,"]  # the empty icon
    assert "http://" not in text and "https://" not in text and "@import" not in text and "url(" not in page.style()
    (policy,) = [attrs["content"] for attrs, _ in elements.named("meta") if "http-equiv" in attrs]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src" not in policy
    (style,) = elements.named("style")
    (script,) = [data for attrs, data in elements.named("script") if not attrs]
    for content in (style[1], script):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not [attrs for _, attrs, _ in elements.found if "style" in attrs or any(key[:2] == "on" for key in attrs)]


def test_a_page_of_one_session_holds_that_session_only(folder, plan, tmp_path):
    text = page.write(folder, tmp_path / "one.html", sessions=[2]).read_text(encoding="utf-8")
    assert list(study_of(text)["sessions"]) == ["2"]
    trials = plan["sessions"][2]["trials"]
    assert set(pictures_of(text)) == {file for trial in trials for file in (trial["input"], *trial["shown"]) if file}
    with pytest.raises(ValueError, match="session 4"):
        page.write(folder, tmp_path / "none.html", sessions=[4])
    assert not (tmp_path / "none.html").exists()


def test_text_of_the_plan_cannot_become_markup(plan):
    hostile = "</script><script>alert(1)</script><!--"
    changed = plan | {"title": hostile, "consent": hostile, "question": dict.fromkeys(plan["question"], hostile)}
    sessions = {0: page.session_of(changed, 0)}
    text = page.html(changed, page.read_words(), sessions=sessions)
    assert hostile not in text and study_of(text)["consent"] == hostile
    assert len(Elements(text).named("script")) == 2


def test_a_picture_that_changed_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    picture = next((copy / "pictures").glob("*.png"))
    Image.new("RGB", (96, 72)).save(picture)
    with pytest.raises(ValueError, match=f"{picture.name} is changed"):
        page.write(copy, tmp_path / "page.html")


def test_the_page_speaks_other_words(folder, tmp_path):
    words = tmp_path / "de.json"
    words.write_text(json.dumps({"lang": "de", "begin": "Los geht's", "progress": "{n} von {total}"}), encoding="utf-8")
    text = page.write(folder, tmp_path / "de.html", words=page.read_words(words)).read_text(encoding="utf-8")
    said = study_of(text)["words"]
    assert '<html lang="de">' in text and said["begin"] == "Los geht's" and said["confirm"] == "Confirm"
    for content, told in {
        '{"beginn": "x"}': "did you mean 'begin'",
        '{"progress": "{n} von {m}"}': r"same \{gaps\}",
        '{"begin": 3}': "must be a text",
        "[]": "must hold an object",
        "{": "no JSON file",
    }.items():
        words.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=told):
            page.read_words(words)


def test_every_word_is_used_and_every_used_word_is_there():
    words, source = page.read_words(), page.script() + (page.SCREEN / "page.html.jinja").read_text(encoding="utf-8")
    used = set(re.findall(r'word\(\s*"(\w+)"', source)) | set(re.findall(r"words\.(\w+)", source))
    assert used <= set(words)
    built = {name for name in words if name.startswith(("privacy_", "intro_", "paused_"))}  # named by mode and kind
    quoted = set(re.findall(r'"(\w+)"', source))
    assert set(words) <= used | built | quoted
