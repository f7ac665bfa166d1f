"""All sources in the store, out of a bundle, and what happens without a network: real servers, real stores."""

from __future__ import annotations

import asyncio
import hashlib
import io
from pathlib import Path

from nexis_eval import events
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Fetch, Input, Union, Unpack, Use
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options, Outcome
from nexis_eval.schedule.plan import make_plan
from nexis_eval.sources import keep, present, root_name, sources_of, take
from nexis_store.digest import DerivationId
from nexis_store.errors import Place
from nexis_store.store import Store
from nexis_store.transfer import export, load
from tests.eval.fetch.conftest import _own_environment, site
from tests.eval.fetch.servers import Site

__all__ = ["_own_environment", "site"]


def system(site: Site, *names: str) -> tuple[DerivationGraph, list[DerivationId]]:
    """A graph that fetches a file for each name and puts them together."""
    builder = GraphBuilder()
    fetched = []
    for name in names:
        data = name.encode() * 1000
        url = site.page(f"/{name}", data)
        fetch = Fetch((url,), "sha256", hashlib.sha256(data).hexdigest(), name, len(data))
        fetched.append(builder.add(Derivation(f"{name}-source", fetch, "x86_64"), ("packages", name, "source")))
    inputs = tuple(Input(each, Use.LAYER, "/") for each in fetched)
    builder.packages["all"] = builder.add(Derivation("all", Union(), "x86_64", inputs=inputs))
    return builder.finish(place=lambda _: Place("system.toml", 3, 1)), fetched


def run(
    store: Store, graph: DerivationGraph, roots: list[DerivationId], seen: list[events.Event], *, offline: bool = False
) -> Outcome:
    async def work() -> Outcome:
        plan = make_plan(graph, roots, store.realised, store.realisation)
        options = Options(keep_going=True, offline=offline)
        async with open_engine(store, Mirrors({}), options, seen.append) as engine:
            return await engine.realise(graph, roots, plan)

    return asyncio.run(work())


def test_the_sources_of_a_target(site: Site) -> None:
    graph, fetched = system(site, "a", "b")
    assert sources_of(graph, [graph.targets.packages["all"]]) == fetched
    assert sources_of(graph, fetched[:1]) == fetched[:1]


def test_a_bundle_is_carried_to_a_store_without_a_network(tmp_path: Path, site: Site) -> None:
    graph, fetched = system(site, "a", "b", "c")
    out = io.BytesIO()
    with Store.open(tmp_path / "here") as store:
        assert run(store, graph, fetched, []).fetched == 3
        found = present(store, fetched)
        export(store, sorted(found.values()), out)
    site.requests.clear()
    with Store.open(tmp_path / "there") as store:
        artifacts = load(store, io.BytesIO(out.getvalue()))
        assert take(store, graph, fetched, artifacts, origin="sources.nexis") == 3
        known = store.realised(fetched[0])
        assert known is not None
        assert (known.origin, known.note) == ("fetched", "from sources.nexis")
        outcome = run(store, graph, [graph.targets.packages["all"]], [], offline=True)
        assert outcome.failed == ()
        assert (store.path(outcome.outputs[graph.targets.packages["all"]]["out"]) / "b").read_bytes() == b"b" * 1000
    assert site.requests == []


def test_a_bundle_is_not_believed(tmp_path: Path, site: Site) -> None:
    """Files under the right names with other contents are not taken."""
    graph, fetched = system(site, "a")
    with Store.open(tmp_path / "store") as store:
        with store.writer("a-source") as writer:
            writer.file("a", b"evil")
            artifact = writer.commit()
        assert take(store, graph, fetched, [artifact], origin="evil") == 0
        assert present(store, fetched) == {}


def test_sources_are_kept_from_garbage_collection(tmp_path: Path, site: Site) -> None:
    graph, fetched = system(site, "a", "b")
    with Store.open(tmp_path / "store") as store:
        run(store, graph, fetched, [])
        found = present(store, fetched)
        keep(store, graph, found, root_name("host", "x86_64"))
        name = root_name("host", "x86_64")
        assert dict(store.roots())[name]
    with Store.open(tmp_path / "store") as store:
        store.execute_gc(store.plan_gc())
        assert present(store, fetched) == found
        store.remove_root(name)
    with Store.open(tmp_path / "store") as store:
        store.execute_gc(store.plan_gc())
        assert present(store, fetched) == {}


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, site: Site) -> None:
    graph, fetched = system(site, "a")
    seen: list[events.Event] = []
    with Store.open(tmp_path / "store") as store:
        assert run(store, graph, fetched, seen, offline=True).failed == ("a-source",)
    (failed,) = (each for each in seen if isinstance(each, events.StepFailed))
    text = f"{failed}"
    assert "a is not in the store, and with --offline it cannot be fetched" in text
    assert "nexis-eval fetch" in text
    assert "system.toml:3:1" in text
    assert site.requests == []


def test_a_failed_download_has_a_place(tmp_path: Path, site: Site) -> None:
    graph, fetched = system(site, "a")
    del site.pages["/a"]
    seen: list[events.Event] = []
    with Store.open(tmp_path / "store") as store:
        assert run(store, graph, fetched, seen).failed == ("a-source",)
    (failed,) = (each for each in seen if isinstance(each, events.StepFailed))
    assert "system.toml:3:1" in f"{failed}"
    assert "404 Not Found" in f"{failed}"


def test_what_is_unpacked_needs_its_archive(site: Site) -> None:
    builder = GraphBuilder()
    fetch = builder.add(Derivation("x.deb", Fetch(("http://x/x.deb",), "sha256", "ab" * 32, "x.deb"), "x86_64"))
    unpack = Derivation("x", Unpack("deb"), "x86_64", inputs=(Input(fetch, Use.BIND, "/in/archive"),))
    builder.packages["x"] = builder.add(unpack)
    graph = builder.finish()
    assert sources_of(graph, [graph.targets.packages["x"]]) == [fetch]


def test_all_that_can_be_fetched_is(tmp_path: Path, site: Site) -> None:
    graph, fetched = system(site, "0", "1", "2")
    del site.pages["/1"]
    with Store.open(tmp_path / "store") as store:
        outcome = run(store, graph, fetched, [])
        assert (outcome.failed, outcome.exit_code) == (("1-source",), 3)
        assert list(present(store, fetched)) == [fetched[0], fetched[2]]
