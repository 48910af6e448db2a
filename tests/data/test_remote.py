"""Corpora in stores: every source reads addresses as it reads paths; copies are whole, shared, and renewed with the store's."""

import contextlib
import http.server
import logging
import os
import shutil
import threading

import fsspec
import numpy as np
import pytest

from consomme.common.addresses import SCHEMES
from consomme.common.errors import ConsommeError
from consomme.data import remote
from consomme.data.sources import TABLE

TOKEN = "sig=s3cr3t"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no store asked before."""
    monkeypatch.setenv("CONSOMME_CACHE", str(tmp_path / "copies"))
    monkeypatch.delenv("CONSOMME_URLS", raising=False)
    remote.forget()
    yield tmp_path / "copies"
    remote.forget()


@pytest.fixture
def web(tmp_path):
    """A folder, and the address under which a server on this machine shows it; `requests` is what it was asked for."""
    folder, requests = tmp_path / "web", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given):
            super().__init__(*given, directory=folder)

        def log_message(self, *_):
            requests.append((self.command, self.path))

        def send_head(self):
            if self.path.startswith("/closed/"):
                return self.send_error(403)
            return super().send_head()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


@pytest.fixture
def stores(tmp_path, web):
    """Name -> (address, put(folder)): stores into which a folder's files are put."""
    memory = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}"

    def into_memory(folder):
        with contextlib.suppress(FileNotFoundError):
            memory.rm(root, recursive=True)
        for path in folder.rglob("*"):
            if path.is_file():
                memory.pipe(f"{root}/{path.relative_to(folder)}", path.read_bytes())

    def into_web(folder):
        shutil.copytree(folder, web[0], dirs_exist_ok=True)

    def into_files(folder):
        shutil.copytree(folder, tmp_path / "files", dirs_exist_ok=True)

    yield {
        "memory": (f"memory:/{root}", into_memory),
        "http": (web[1], into_web),
        "file": (f"file://{tmp_path}/files", into_files),
    }
    with contextlib.suppress(FileNotFoundError):
        memory.rm(root, recursive=True)


SPEECH = {
    "manifest": {"source": "manifest", "path": "m.tsv"},
    "folder": {"source": "folder", "path": "clips", "pattern": "{speaker}_{index}.wav"},
    "common_voice": {"source": "common_voice", "path": "cv", "split": "dev"},
    "kaldi": {"source": "kaldi", "path": "kaldi"},
}
SHARDS = {"source": "shards", "path": "shards"}
TEXT = {
    "pairs": {"source": "parallel", "path": "p"},
    "packed": {"source": "parallel", "path": "z"},
    "table": {"source": "parallel", "path": "t.tsv"},
    "manifest of pairs": {"source": "manifest", "path": "pairs.jsonl"},
}


@pytest.fixture
def written(tmp_path, wav):
    """A folder with a corpus of each kind; two rows each."""

    def write(address):
        import gzip
        import tarfile

        there = tmp_path / "there"
        for n in range(2):
            for folder in ("there/clips", "there/cv/clips"):
                wav(f"{folder}/a b_{n}.wav", n)
            (there / f"clips/a b_{n}.txt").write_text(f"text {n}")
        (there / "shards").mkdir()
        with tarfile.open(there / "shards/0.tar", "w") as tar:
            tar.add(there / "clips", "")
        (there / "m.tsv").write_text("audio\ttext\nclips/a b_0.wav\ttext 0\nclips/a b_1.wav\ttext 1\n")
        (there / "cv/dev.tsv").write_text(
            "client_id\tpath\tsentence\n" + "".join(f"c\ta b_{n}.wav\ttext {n}\n" for n in range(2))
        )
        (there / "kaldi").mkdir()
        (there / "kaldi/wav.scp").write_text("".join(f"u{n} {address}/clips/a b_{n}.wav\n" for n in range(2)))
        (there / "kaldi/text").write_text("u0 text 0\nu1 text 1\n")
        (there / "kaldi/segments").write_text("v0 u0 0 0.3\nv1 u1 0.1 0.4\n")
        (there / "kaldi/text").write_text("v0 text 0\nv1 text 1\n")
        for language in ("en", "fr"):
            (there / f"p.{language}").write_text(f"{language} 0\n{language} 1\n")
            with gzip.open(there / f"z.{language}.gz", "wt") as stream:
                stream.write(f"{language} 0\n{language} 1\n")
        (there / "t.tsv").write_text("en 0\tfr 0\nen 1\tfr 1\n")
        (there / "pairs.jsonl").write_text(
            '{"source": "en 0", "target": "fr 0"}\n{"source": "en 1", "target": "fr 1"}\n'
        )
        return there

    return write


@pytest.mark.parametrize("store", ["memory", "http", "file"])
@pytest.mark.parametrize("kind", [*SPEECH, *TEXT, "shards"])
def test_a_source_reads_an_address_as_it_reads_a_path(kind, store, stores, written, prepare, tmp_path):
    address, put = stores[store]
    there = written(address)
    put(there)
    corpus = (SPEECH | TEXT | {"shards": SHARDS})[kind]
    task = "nmt" if kind in TEXT else "asr"
    here = prepare(corpus, task, "here", root=there)
    told = prepare(corpus | {"path": f"{address}/{corpus['path']}"}, task, "told", root=tmp_path / "elsewhere")
    assert told.targets == here.targets and len(told) == 2
    assert told.ids == here.ids
    if task == "asr":
        assert told.audio_hashes == here.audio_hashes
    else:
        assert told.sources == here.sources


@pytest.mark.parametrize("store", ["memory", "http", "file"])
@pytest.mark.parametrize("kind", [*SPEECH, "shards"])
def test_audio_in_place_is_read_from_the_store(kind, store, stores, written, prepare, cache, tmp_path):
    address, put = stores[store]
    there = written(address)
    put(there)
    corpus = (SPEECH | {"shards": SHARDS})[kind]
    elsewhere = corpus | {"path": f"{address}/{corpus['path']}", "keep_audio": "in_place"}
    told = prepare(elsewhere, name="told", root=tmp_path / "elsewhere")
    assert not any(path.suffix in (".wav", ".tar") and path.exists() for path in (cache / "urls").rglob("*"))
    here = prepare(corpus, name="here", root=there)
    assert told.fingerprint == here.fingerprint
    assert all(np.array_equal(told.audio(i), here.audio(i)) for i in range(2))


def test_a_table_here_may_name_recordings_elsewhere(stores, wav, prepare, tmp_path):
    address, put = stores["memory"]
    put(wav("there/0.wav").parent)
    (tmp_path / "m.tsv").write_text(f"audio\ttext\n{address}/0.wav\tone\n{address}/none.wav\ttwo\n")
    rows = prepare({"source": "manifest", "path": "m.tsv", "max_skipped": 0.5})
    assert rows.ids == [f"{address}/0.wav"]
    said = (tmp_path / "prepared/corpus/skipped.tsv").read_text()
    assert f"no file {address}/none.wav" in said


# -- what counts as changed ---------------------------------------------------------------------------------------------
def inventory(corpus, languages, tmp_path):
    remote.forget()
    return TABLE[corpus["source"]].inventory(corpus, languages, tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("kind", SPEECH)
def test_a_changed_recording_or_text_is_another_inventory(kind, stores, written, wav, tmp_path):
    address, put = stores["memory"]
    there = written(address)
    put(there)
    corpus = SPEECH[kind] | {"path": f"{address}/{SPEECH[kind]['path']}"}
    first = inventory(corpus, [], tmp_path)
    assert inventory(corpus, [], tmp_path) == first
    sound = f"there/{'cv/' if kind == 'common_voice' else ''}clips/a b_1.wav"
    wav(sound, 7)
    put(there)
    changed = inventory(corpus, [], tmp_path)
    os.unlink(tmp_path / sound)
    put(there)
    assert len({first, changed, inventory(corpus, [], tmp_path)}) == 3


def test_a_changed_object_is_prepared_anew(stores, prepare, tmp_path):
    address, put = stores["http"]
    there = tmp_path / "there"
    there.mkdir()
    (there / "t.tsv").write_text("a cat\tun chat\n")
    put(there)
    corpus = {"source": "parallel", "path": f"{address}/t.tsv"}
    assert prepare(corpus, "nmt").sources == ["a cat"]
    (there / "t.tsv").write_text("a dog\tun chien\n")
    os.utime(there / "t.tsv", (2e9, 2e9))
    put(there)
    assert prepare(corpus, "nmt").sources == ["a cat"], "asked once in a process"
    remote.forget()
    assert prepare(corpus, "nmt").sources == ["a dog"]


def test_the_same_content_under_the_same_checksum_is_not_fetched_again(cache, monkeypatch):
    info = {"name": "x", "size": 3, "type": "file", "ETag": '"abc"', "LastModified": "today"}
    later = info | {"ETag": "abc", "LastModified": "tomorrow"}
    assert remote._digest("s3://b/x", info) == remote._digest("s3://b/x", later)
    assert remote._digest("s3://b/x", info) != remote._digest("s3://b/x", info | {"ETag": "abd"})
    assert remote._digest("s3://b/x", info) != remote._digest("s3://b/y", info)
    with pytest.raises(ConsommeError, match="tells no checksum and no time"):
        remote._digest("https://b/x", {"size": 3})


# -- copies -------------------------------------------------------------------------------------------------------------
def test_a_second_working_folder_fetches_nothing(web, prepare, tmp_path):
    folder, address, requests = web
    (folder / "t.tsv").write_text("a cat\tun chat\n")
    corpus = {"source": "parallel", "path": f"{address}/t.tsv"}
    prepare(corpus, "nmt", "first")
    assert ("GET", "/t.tsv") in requests
    remote.forget()
    requests.clear()
    assert prepare(corpus, "nmt", "second").sources == ["a cat"]
    assert {method for method, _ in requests} == {"HEAD"}


def test_what_is_fetched_in_part_is_not_there(web, cache, monkeypatch):
    folder, address, _ = web
    (folder / "t.tsv").write_text("a cat\tun chat\n")

    def cut(self, url, path, **_):
        with open(path, "w") as stream:
            stream.write("a c")
        raise ConnectionResetError("cut")

    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.http.HTTPFileSystem.get_file", cut)
        with pytest.raises(ConsommeError, match=r"t\.tsv can't be reached"):
            remote.brought(f"{address}/t.tsv", [""])
    path = remote.view(f"{address}/t.tsv")
    assert not path.exists() and not [p for p in cache.rglob("*") if p.is_file()]
    remote.forget()
    assert remote.brought(f"{address}/t.tsv", [""]).read_text() == "a cat\tun chat\n"


def test_an_object_that_changes_while_it_is_fetched_is_an_error(web, cache):
    folder, address, _ = web
    (folder / "a.wav").write_bytes(b"one")
    path = remote.view(f"{address}/a.wav")
    assert remote.look([path]) != [""]
    (folder / "a.wav").write_bytes(b"another")
    with pytest.raises(ConsommeError, match="is not what it was"):
        remote.fetch([path])
    assert not path.exists() and not [p for p in cache.rglob("*") if p.is_file()]


def test_recordings_beyond_the_limit_are_not_fetched(stores, wav, prepare, tmp_path, cache):
    address, put = stores["memory"]
    rows = "".join(f"{n}.wav\ttext {n}\n" for n in range(400))
    for n in range(3):
        wav(f"there/{n}.wav", n)
    (tmp_path / "there/m.tsv").write_text("audio\ttext\n" + rows)
    put(tmp_path / "there")
    corpus = {"source": "manifest", "path": f"{address}/m.tsv", "where": {"audio": ["1.wav"]}}
    assert prepare(corpus).targets == ["text 1"]
    assert len([p for p in (cache / "objects").rglob("*") if p.is_file()]) == 2, "the table and one recording"


# -- without a network --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["manifest", "folder", "common_voice"])
def test_without_a_network_what_is_in_the_cache_is_read(kind, stores, written, prepare, tmp_path, monkeypatch, capsys):
    address, put = stores["http"]
    put(written(address))
    corpus = SPEECH[kind] | {"path": f"{address}/{SPEECH[kind]['path']}"}
    prepare(corpus, name="first")
    before = inventory(corpus, [], tmp_path)
    with away(monkeypatch):
        assert inventory(corpus, [], tmp_path) == before
        remote.forget()
        assert TABLE[kind].problems(corpus, [], tmp_path) == []
        assert prepare(corpus, name="second").targets == ["text 0", "text 1"]
    assert "can't be reached" in capsys.readouterr().err


@contextlib.contextmanager
def away(monkeypatch):
    """No server can be reached."""
    import aiohttp

    async def refuse(*_, **__):
        raise aiohttp.ClientConnectionError("no route to host")

    remote.forget()
    with monkeypatch.context() as patch:
        patch.setattr("aiohttp.ClientSession._request", refuse)
        yield
    remote.forget()


def test_without_a_network_and_a_copy_the_plan_says_so(web, tmp_path, monkeypatch):
    folder, address, _ = web
    (folder / "t.tsv").write_text("a\tb\n")
    corpus = {"source": "parallel", "path": f"{address}/t.tsv"}
    with away(monkeypatch):
        (said,) = TABLE["parallel"].problems(corpus, ["en", "fr"], tmp_path)
    assert said.startswith(f"{address}/t.tsv can't be reached (ClientConnectionError") and "there is no copy in" in said


def test_jobs_of_a_cluster_ask_no_store_for_what_is_known(web, tmp_path, monkeypatch):
    folder, address, requests = web
    (folder / "t.tsv").write_text("a\tb\n")
    corpus = {"source": "parallel", "path": f"{address}/t.tsv"}
    before = inventory(corpus, ["en", "fr"], tmp_path)
    requests.clear()
    monkeypatch.setenv("CONSOMME_URLS", "kept")
    assert inventory(corpus, ["en", "fr"], tmp_path) == before
    assert requests == []


# -- errors -------------------------------------------------------------------------------------------------------------
def test_an_object_that_is_not_there_is_named_by_its_address(stores, tmp_path):
    for address, _ in stores.values():
        corpus = {"source": "manifest", "path": f"{address}/none.tsv"}
        assert TABLE["manifest"].problems(corpus, [], tmp_path) == [f"no file {address}/none.tsv"]
        corpus = {"source": "folder", "path": f"{address}/none", "pattern": "{text}.wav"}
        assert TABLE["folder"].problems(corpus, [], tmp_path) == [f"no folder {address}/none"]


def test_what_may_not_be_read_says_where_a_login_comes_from(web, tmp_path):
    corpus = {"source": "manifest", "path": f"{web[1]}/closed/m.tsv"}
    (said,) = TABLE["manifest"].problems(corpus, [], tmp_path)
    assert "closed/m.tsv may not be read" in said


@pytest.mark.parametrize("scheme", ["s3", "az", "gs"])
def test_a_store_without_its_package_names_the_extra(scheme, tmp_path, monkeypatch):
    package, extra = SCHEMES[scheme]
    monkeypatch.setattr("consomme.common.addresses.installed", lambda name: name != package)
    corpus = {"source": "manifest", "path": f"{scheme}://bucket/m.tsv"}
    (said,) = TABLE["manifest"].problems(corpus, [], tmp_path)
    assert (
        said
        == f"{scheme}://bucket/m.tsv needs the package {package}, which is not installed: pip install -e '.[{extra}]'"
    )


def test_a_table_in_a_store_can_not_lead_out_of_it(stores, prepare, tmp_path):
    address, put = stores["memory"]
    (tmp_path / "there").mkdir()
    (tmp_path / "there/m.tsv").write_text(f"audio\ttext\n{'../' * 30}etc/passwd\tone\n")
    put(tmp_path / "there")
    with pytest.raises(ConsommeError, match=r"corpus 'corpus': .*leads out of the store"):
        prepare({"source": "manifest", "path": f"{address}/m.tsv"})


# -- secrets ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "cell",
    [f"https://h/a.wav?{TOKEN}", "https://me:s3cr3t@h/a.wav", f"az://box/a.wav?se=1&{TOKEN}", "s3://s3cr3t@b/a.wav"],
)
def test_a_recording_s_secret_is_written_nowhere(cell, prepare, tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/m.tsv").write_text(f"audio\ttext\n{cell}\tone\n")
    corpus = {"source": "manifest", "path": "m.tsv"}
    with pytest.raises(ConsommeError, match="may be secret") as error:
        prepare(corpus, root=tmp_path / "data")
    with pytest.raises(ConsommeError):
        prepare(corpus | {"max_skipped": 1}, root=tmp_path / "data")
    told = capfd.readouterr()
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "data"]
    assert "s3cr3t" not in "".join([str(error.value), caplog.text, told.out, told.err, *map(str, written)])
    assert not list(tmp_path.rglob("*s3cr3t*"))


def test_random_bytes_come_through(stores, cache):
    address, put = stores["http"]
    data = np.random.default_rng(1).bytes(3 << 20)
    folder = cache.parent / "bytes"
    folder.mkdir()
    (folder / "x.bin").write_bytes(data)
    put(folder)
    assert remote.brought(f"{address}/x.bin", [""]).read_bytes() == data
