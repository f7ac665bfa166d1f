"""Comparing with a binary cache: a directory, and the same directory behind a real web server."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.target import SystemPart
from nexis_eval.record import Record, keep
from nexis_eval.repro.cache import INDEX, file_path, manifest_path, publish, realisation_path
from nexis_eval.repro.record import BuildRecord, encode_record
from nexis_eval.repro.recording import make_record, this_environment
from nexis_eval.schedule.plan import resolve_inputs
from nexis_store.digest import DerivationId
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from tests.eval.graphs import script
from tests.eval.repro.test_cli import repro

TEXTS = {"zlib": "zlib\n", "app": "app\n", "images": "images\n"}


def graph() -> DerivationGraph:
    """Three builds, each from the one before."""
    builder = GraphBuilder()
    zlib = builder.add(script("zlib", []))
    app = builder.add(script("app", [zlib]))
    builder.parts[SystemPart.IMAGES] = builder.add(script("images", [app]))
    return builder.finish()


def machine(root: Path, texts: Mapping[str, str]) -> BuildRecord:
    """A store in which each build came out as a file that holds the text of its name; returns the record of all."""
    made = graph()
    outputs: dict[DerivationId, Outputs] = {}
    closures = Closures(made.derivations, outputs)
    with Store.open(root) as store:
        for each, derivation in made.derivations.items():
            with store.writer(derivation.name) as writer:
                writer.file(f"usr/share/{derivation.name}", texts[derivation.name].encode())
                out = {"out": writer.commit().digest}
            key = resolve_inputs(derivation, closures)
            store.record(Realisation(key, each, derivation.label, out))
            outputs[each] = out
        keep(store, Record(made, outputs), "demo", "x86_64")
        roots = [made.targets.system["images"]]
        record = make_record(store, "demo", "x86_64", made, ["images"], roots, this_environment(), {})
        publish(record, store, root.with_name(f"{root.name}-cache"))
    root.with_name(f"{root.name}.json").write_text(encode_record(record))
    return record


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and tells nobody."""

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server for the whole temporary directory; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def marks(text: str) -> list[list[str]]:
    return [line.split()[:2] for line in text.splitlines() if line and line[0] in "✗↳✓!"]


def test_equal_builds(tmp_path: Path, server: str) -> None:
    machine(tmp_path / "mine", TEXTS)
    machine(tmp_path / "theirs", TEXTS)
    for what in (tmp_path / "mine.json", tmp_path / "mine", "builds/demo-x86_64"):
        for cache in (f"{server}/theirs-cache", tmp_path / "theirs-cache"):
            result = repro("diff", what, "--against", cache, store=tmp_path / "mine")
            assert result.returncode == 0, f"{what} {cache} {result.stdout}{result.stderr}"
            assert "the same" in result.stdout


def test_what_differs_by_itself_and_what_follows(tmp_path: Path, server: str) -> None:
    """The cache is asked for the key that each step had over there, and the files are opened from both sides."""
    machine(tmp_path / "mine", TEXTS)
    machine(tmp_path / "theirs", {**TEXTS, "app": "app built 1700000000\n", "images": "other images\n"})
    result = repro("diff", tmp_path / "mine.json", f"{server}/theirs-cache", store=tmp_path / "mine")
    assert result.returncode == 1, result.stderr
    assert marks(result.stdout) == [["✗", "app"], ["↳", "images"]]
    assert "-app\n" in result.stdout.replace(" ", "") and "+appbuilt1700000000" in result.stdout.replace(" ", "")
    assert "first cause: app" in result.stdout
    reverse = repro("diff", tmp_path / "theirs-cache", tmp_path / "mine.json", store=tmp_path / "mine")
    assert (reverse.returncode, marks(reverse.stdout)) == (1, marks(result.stdout))


def test_without_the_trees_the_files_are_named(tmp_path: Path) -> None:
    machine(tmp_path / "mine", TEXTS)
    machine(tmp_path / "theirs", {**TEXTS, "images": "other\n"})
    result = repro("diff", tmp_path / "mine.json", tmp_path / "theirs-cache")
    assert result.returncode == 1, result.stderr
    assert marks(result.stdout) == [["✗", "images"]]
    assert "usr/share/images: content" in result.stdout


def test_an_artifact(tmp_path: Path, server: str) -> None:
    machine(tmp_path / "mine", TEXTS)
    machine(tmp_path / "theirs", {**TEXTS, "images": "other\n"})
    for name, code in (("zlib", 0), ("images", 1)):
        result = repro("diff", name, "--against", f"{server}/theirs-cache", store=tmp_path / "mine")
        assert result.returncode == code, result.stdout + result.stderr
    assert "+other" in result.stdout


def test_what_the_cache_lacks_cannot_be_compared(tmp_path: Path) -> None:
    record = machine(tmp_path / "mine", TEXTS)
    cache = tmp_path / "mine-cache"
    (app,) = [step.key for each, step in record.steps.items() if record.graph.derivations[each].name == "app"]
    (cache / realisation_path(app)).unlink()
    result = repro("diff", tmp_path / "mine.json", cache)
    assert result.returncode == 2, result.stdout + result.stderr
    assert marks(result.stdout) == [["!", "app"], ["!", "images"]]
    assert "not built by the cache" in result.stdout


def test_a_cache_that_lies_or_is_damaged_is_found_out(tmp_path: Path) -> None:
    machine(tmp_path / "mine", TEXTS)
    record = machine(tmp_path / "theirs", {**TEXTS, "zlib": "other\n"})
    cache = tmp_path / "theirs-cache"
    (zlib,) = [step for each, step in record.steps.items() if record.graph.derivations[each].name == "zlib"]
    (entry,) = [each for each in record.manifests[zlib.outputs["out"]].entries() if each.kind == "f"]
    assert entry.digest is not None
    good = (cache / file_path(entry.digest)).read_bytes()
    import zstandard

    for path, data in (
        (file_path(entry.digest), zstandard.ZstdCompressor().compress(b"forged")),
        (file_path(entry.digest), good[:-3]),
        (manifest_path(zlib.outputs["out"]), good),
        (realisation_path(zlib.key), b"{}"),
        (INDEX, b'{"format": "nexis cache 99"}'),
    ):
        before = (cache / path).read_bytes()
        (cache / path).write_bytes(data)
        result = repro("diff", tmp_path / "mine.json", cache, store=tmp_path / "mine")
        assert result.returncode == 2, f"{path}: {result.stdout}{result.stderr}"
        assert "R0007" in result.stderr
        (cache / path).write_bytes(before)
    assert repro("diff", tmp_path / "mine.json", cache, store=tmp_path / "mine").returncode == 1


def test_addresses(tmp_path: Path, server: str) -> None:
    machine(tmp_path / "mine", TEXTS)
    same = repro("diff", tmp_path / "mine.json", f"{server}/mine.json", store=tmp_path / "mine")
    assert same.returncode == 0, same.stderr
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.txt").write_text("two\n")
    assert repro("diff", tmp_path / "a.txt", f"{server}/b.txt").returncode == 1
    for missing in (f"{server}/nothing", "http://127.0.0.1:1/cache"):
        result = repro("diff", tmp_path / "mine.json", missing, store=tmp_path / "mine")
        assert result.returncode == 2
        assert missing in result.stderr
    tree = repro("diff", tmp_path / "mine-cache/files", "--against", f"{server}/mine-cache")
    assert tree.returncode == 2
    assert "R0005" in tree.stderr


def test_a_cache_grows_by_what_is_new(tmp_path: Path) -> None:
    record = machine(tmp_path / "mine", TEXTS)
    cache = tmp_path / "mine-cache"
    assert json.loads((cache / INDEX).read_text()) == {"format": "nexis cache 1"}
    with Store.open(tmp_path / "mine") as store:
        assert publish(record, store, cache) == 0
        assert publish(record, store, tmp_path / "fresh") == 1 + 3 * len(TEXTS)
    assert not list(cache.rglob(".*"))


def test_generations(tmp_path: Path) -> None:
    """By profile and number, by the store's own symlinks, as the current one; in two stores as well."""
    for name, texts in (("mine", TEXTS), ("theirs", {**TEXTS, "zlib": "other\n"})):
        machine(tmp_path / name, texts)
        with Store.open(tmp_path / name) as store:
            for artifact in ("zlib", "images"):
                store.add_generation("desktop", store.find(artifact))
    links = tmp_path / "mine/.generations/desktop"
    for first, second, code in (
        ("desktop/1", links / "1", 0),
        ("generations/desktop/2", links / "current", 0),
        ("desktop/current", "images", 0),
        ("desktop/1", "desktop/2", 1),
        (links / "1", tmp_path / "theirs/.generations/desktop/1", 1),
        ("desktop/1", "desktop/3", 2),
        ("desktop/1", "laptop/1", 2),
    ):
        result = repro("diff", first, second, store=tmp_path / "mine")
        assert result.returncode == code, f"{first} {second}: {result.stdout}{result.stderr}"
    result = repro("diff", "desktop/1", "--against", tmp_path / "theirs", store=tmp_path / "mine")
    assert result.returncode == 1
    assert "-zlib" in result.stdout and "+other" in result.stdout
