"""The Inception network, where its weights come from, and the cache of its features."""

import hashlib
import multiprocessing
import sqlite3
import urllib.error

import numpy as np
import pytest
import torch
from pytorch_fid import inception as theirs
from torchvision.models import inception_v3

from aotlib import evaluate, evaluate_cli, feature_cache, inception, weights_files
from aotlib.feature_cache import FeatureCache, Features, features_of
from aotlib.weights_files import WEIGHTS_VARIABLE, Unavailable


@pytest.fixture(scope="module")
def whole():
    """Random tensors under the names of the whole network."""
    torch.manual_seed(0)
    return inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False).state_dict()


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """A machine without weights: an empty cache of downloads, and no connection."""

    def unreachable(*_, **__):
        raise urllib.error.URLError("no connection")

    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    return tmp_path


@pytest.fixture
def partial(nothing, whole, monkeypatch):
    """A file like the published one: the last layers left out, half precision."""
    kept = {key: value.half() for key, value in whole.items() if not key.startswith(inception.LATER_LAYERS)}
    torch.save(kept, nothing / inception.PARTIAL_FILE)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(nothing))
    return kept


@pytest.fixture
def full(nothing, whole, monkeypatch):
    """The whole file in torch's cache of downloads, its name with the first digits of its SHA-256."""
    folder = nothing / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(whole, folder / "new.pth")
    name = f"pt_inception-{hashlib.sha256((folder / 'new.pth').read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setattr(inception, "FULL_FILE", name)
    return (folder / "new.pth").rename(folder / name)


def test_the_network_is_pytorch_fids_with_the_weights_of_the_partial_file(partial):
    network = inception.load_inception(768)
    assert isinstance(network, theirs.InceptionV3) and not network.training
    assert torch.equal(network.blocks[0][0].conv.weight, partial["Conv2d_1a_3x3.conv.weight"].float())
    pictures = torch.randint(0, 256, (3, 3, 32, 40), dtype=torch.uint8)
    found = inception.inception_features(network, pictures)
    direct = network(pictures.float() / 255)[0].mean((2, 3))
    assert found.shape == (3, 768) and found.dtype == np.float64
    np.testing.assert_allclose(found, direct.numpy(), rtol=1e-4, atol=1e-5)
    assert inception.most_dims() == 768
    with pytest.raises(Unavailable, match="ends at 768 dimensions; set AOTLIB_WEIGHTS to pt_inception"):
        inception.load_inception(2048)


def test_a_partial_file_that_lacks_a_needed_layer_is_refused(partial, nothing):
    torch.save({k: v for k, v in partial.items() if "Mixed_6a" not in k}, nothing / inception.PARTIAL_FILE)
    with pytest.raises(ValueError, match="Mixed_6a.* is missing or unknown"):
        inception.load_inception(768)
    with pytest.raises(ValueError, match="64, 192, 768, 2048 dimensions, not 100"):
        inception.load_inception(100)


def test_the_whole_file_is_taken_before_the_partial_one_and_gives_2048(full, partial, whole, nothing, monkeypatch):
    assert inception.most_dims() == 2048
    network = inception.load_inception(2048)
    pictures = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    assert inception.inception_features(network, pictures).shape == (1, 2048)
    assert torch.equal(network.blocks[0][0].conv.weight, whole["Conv2d_1a_3x3.conv.weight"])  # not rounded to half
    assert torch.equal(inception.load_inception(64).blocks[0][0].conv.weight, whole["Conv2d_1a_3x3.conv.weight"])
    for place in (nothing / full.name, nothing):  # the file itself, and its folder
        full = full.rename(nothing / full.name)
        monkeypatch.setenv(WEIGHTS_VARIABLE, str(place))
        assert inception.full_file() == nothing / full.name


def test_a_damaged_file_is_refused_by_its_hash(full):
    content = bytearray(full.read_bytes())
    content[len(content) // 2] ^= 1
    full.write_bytes(content)
    with pytest.raises(Unavailable, match=r"is damaged or another file: its SHA-256 is \w{8}\.\.\.; delete it"):
        inception.load_inception(64)


def test_missing_weights_are_told_and_downloaded_only_when_asked(nothing, monkeypatch):
    for ask in (inception.most_dims, lambda: inception.load_inception(768)):
        with pytest.raises(
            Unavailable, match="neither pt_inception.* is here; set AOTLIB_WEIGHTS .*download=True, or --download"
        ):
            ask()
    with pytest.raises(Unavailable, match="could not be downloaded .*no connection"):
        inception.load_inception(768, download=True)
    asked = []
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: asked.append((a, k)))
    with pytest.raises(FileNotFoundError):  # this download leaves no file
        inception.load_inception(2048, download=True)
    (url, place), options = asked[0]
    assert url == theirs.FID_WEIGHTS_URL and options["hash_prefix"] == "6726825d"
    assert place == str(nothing / "home" / "hub" / "checkpoints" / "pt_inception-2015-12-05-6726825d.pth")


def test_without_a_connection_the_command_takes_what_is_at_hand(partial, tmp_path, capsys):
    measures = evaluate_cli._measures(tmp_path / "c", True)
    assert measures.dims == 768 and measures.network is not None and set(measures.unavailable) == {"lpips"}
    told = capsys.readouterr().err
    assert "pt_inception-2015-12-05-6726825d.pth could not be downloaded (<urlopen error no connection>)" in told
    assert "The 768 features that are at hand are taken: FID-768" in told


def test_the_command_downloads_the_whole_network_though_a_part_is_at_hand(partial, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(weights_files, "downloaded", asked.append)
    monkeypatch.setattr(evaluate, "Measures", lambda dims, **_: dims)
    assert evaluate_cli._measures(tmp_path / "c", True) == 2048 and asked == [theirs.FID_WEIGHTS_URL]
    assert evaluate_cli._measures(tmp_path / "c", False) == 768 and len(asked) == 1
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    assert evaluate_cli._measures(tmp_path / "c", True) == 2048 and len(asked) == 1  # `Measures` will try, and say why
    assert capsys.readouterr().err == ""


def test_a_networks_name_follows_all_that_its_features_depend_on(partial):
    network = inception.load_inception(192)
    name = inception.network_id(network, 192)
    assert len(name) == 64 and name == inception.network_id(inception.load_inception(192), 192)
    network.blocks[0][0].bn.num_batches_tracked += 1  # nothing reads it
    assert name == inception.network_id(network, 192)
    others = {inception.network_id(network, 768)}
    network.resize_input = False
    others.add(inception.network_id(network, 192))
    network.resize_input = True
    network.blocks[1][0].bn.running_var[3] *= 1 + 1e-6
    others.add(inception.network_id(network, 192))
    assert len(others | {name}) == 4


class Tiny(torch.nn.Module):
    """Three features, and the number of pictures in each call."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight, self.calls = torch.nn.Parameter(torch.tensor(weight)), []

    def forward(self, pictures):
        self.calls.append(len(pictures))
        return [pictures * self.weight]


def some(n, seed=0, side=8):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(0, 256, (3, side, side), dtype=np.uint8)) for _ in range(n)]


def direct(pictures):
    return np.stack([(picture.double() / 255).mean((1, 2)).numpy() for picture in pictures])


@pytest.mark.parametrize("count", [1, 4, 11])
@pytest.mark.parametrize("cached", [False, True])
def test_features_of_pictures_one_by_one_are_those_of_all_together(tmp_path, count, cached):
    network = Tiny()
    cache = FeatureCache(tmp_path / "features.sqlite") if cached else None
    found = features_of(iter(some(count)), network, cache, batch=4)
    np.testing.assert_allclose(found, direct(some(count)), rtol=1e-6)
    assert found.dtype == np.float64 and max(network.calls) <= 4 and sum(network.calls) == count
    if cached:
        np.testing.assert_array_equal(features_of(some(count), network, cache, batch=4), found)
        assert sum(network.calls) == count and len(cache) == count


def test_only_what_the_cache_lacks_is_computed_in_the_order_of_the_pictures(tmp_path):
    path, pictures = tmp_path / "a" / "features.sqlite", some(9) + some(2, seed=1, side=6)
    with FeatureCache(path) as cache:
        features_of(pictures[2:9:3], Tiny(), cache)
    with FeatureCache(path) as cache:
        features = Features(Tiny(), cache, batch=4)
        for picture in pictures:
            features.add(picture)
        np.testing.assert_allclose(features.all(), direct(pictures), rtol=1e-6)
        assert features.n_computed == 8 and features.network.calls == [4, 2, 2]  # another size begins a batch
        features.add(pictures[0])
        assert len(features.all()) == 12 and features.n_computed == 8
        other = Features(Tiny(weight=2.0), cache)
        other.add(pictures[0])
        np.testing.assert_allclose(other.all(), 2 * direct(pictures[:1]), rtol=1e-6)
        assert other.n_computed == 1
        turned = pictures[0].reshape(3, 4, 16)  # the same bytes in another shape are another picture
        assert feature_cache.picture_id(turned) != feature_cache.picture_id(pictures[0])
    with pytest.raises(ValueError, match="no picture"):
        Features(Tiny()).all()


def fill(path, first, n):
    with FeatureCache(path) as cache:
        for i in range(first, first + n):
            cache.put("network", i.to_bytes(4, "big"), np.full(5, i))
            assert cache.get("network", i.to_bytes(4, "big")) is not None


def test_two_processes_begin_and_fill_one_file(tmp_path):
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=fill, args=(tmp_path / "c", first, 60)) for first in (0, 40)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    with FeatureCache(tmp_path / "c") as cache:
        assert len(cache) == 100
        assert all(cache.get("network", i.to_bytes(4, "big")).tolist() == [i] * 5 for i in range(100))


@pytest.mark.parametrize("content", [b"image,metric,value\n", b"\x89PNG" + bytes(9000), "sqlite"])
def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "notes.csv"
    if content == "sqlite":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (a)")
        other.close()
        content = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(ValueError, match="notes.csv is no cache of features"):
        FeatureCache(path)
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match=f"the cache of features {tmp_path}: unable to open"):
        FeatureCache(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "page", "number"])
def test_a_damaged_cache_is_set_aside_and_begun_anew(tmp_path, damage):
    path = tmp_path / "c"
    fill(path, 0, 30)
    content = bytearray(path.read_bytes())
    if damage == "number":  # of the features, which SQLite does not check
        content[content.index(np.full(5, 7, "<f4").tobytes())] ^= 1
    path.write_bytes(content[:5000] if damage == "cut" else content)
    if damage == "page":
        path.write_bytes(content[:4096] + bytes(len(content) - 4096))
    with pytest.warns(UserWarning, match="c is damaged .* set aside as c.damaged, begun anew"):
        cache = FeatureCache(path)
        assert cache.get("network", (7).to_bytes(4, "big")) is None
    assert len(cache) == 0 and (tmp_path / "c.damaged").exists()
    fill(path, 0, 3)
    assert len(cache) == 3
    cache.close()
