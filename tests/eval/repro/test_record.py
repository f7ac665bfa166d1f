"""Records of real builds in real stores: equal across machines, telling where not, enough to build again."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval import events
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Entry, Fetch, Files, Local
from nexis_eval.graph.target import SystemPart
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options
from nexis_eval.repro.compare import Tree
from nexis_eval.repro.diff import Side, diff_records
from nexis_eval.repro.findings import Cause
from nexis_eval.repro.rebuilding import rebuild
from nexis_eval.repro.record import ENCODINGS, BuildRecord, RecordError, decode_record, encode_record
from nexis_eval.repro.recording import make_record, this_environment
from nexis_eval.repro.report import Report, Status
from nexis_eval.repro.signing import SignatureError, sign, signature_of, verify
from nexis_eval.repro.slsa import statement
from nexis_eval.schedule.plan import make_plan
from nexis_store.digest import TreeDigest
from nexis_store.hashing import tree_of_path
from nexis_store.store import Store
from tests.eval.graphs import union
from tests.eval.lock.test_mutants import STRANGE, places


def system(hook: Path, banner: str = "hello", version: str = "1") -> DerivationGraph:
    """Three packages, one made from a file of the user's, and the system that merges them."""
    builder = GraphBuilder()
    local = builder.add(Derivation("hook", Local(str(hook), tree_of_path(hook).digest), "x86_64"))
    first = builder.add(Derivation("banner", Files((Entry("etc/banner", text=banner),)), "x86_64"))
    second = builder.add(Derivation("motd", Files((Entry("etc/motd", text="welcome"),)), "x86_64", version=version))
    middle = builder.add(union("base", [first, local]))
    builder.parts[SystemPart.IMAGES] = builder.add(union("system", [middle, second]))
    return builder.finish()


def built(store: Store, graph: DerivationGraph) -> BuildRecord:
    roots = [graph.targets.system["images"]]
    plan = make_plan(graph, roots, store.realised, store.realisation)

    async def work() -> None:
        async with open_engine(store, Mirrors({}), Options(jobs=1)) as engine:
            outcome = await engine.realise(graph, roots, plan)
        assert not outcome.failed

    asyncio.run(work())
    return make_record(store, "demo", "x86_64", graph, ["images"], roots, this_environment(), {})


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    path = tmp_path / "hook.sh"
    path.write_text("echo hook\n")
    return path


def side(name: str, record: BuildRecord, store: Store | None = None) -> Side:
    def tree(digest: TreeDigest) -> Tree | None:
        return Tree(store.manifest(digest), store.path(digest)) if store and store.has(digest) else None

    return Side(name, record, tree)


def statuses(report: Report) -> dict[str, Status]:
    return {subject.name: subject.status for subject in report.subjects}


def test_a_record_survives_its_file(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        record = built(store, system(hook))
    text = encode_record(record)
    again = decode_record(text)
    assert again == record
    assert list(again.graph.derivations) == list(record.graph.derivations)
    assert encode_record(again) == text


def test_damage_is_noticed(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        value = json.loads(encode_record(built(store, system(hook))))
    for text in (
        "",
        "[]",
        "{}",
        json.dumps({**value, "order": []}),
        json.dumps({**value, "steps": {}}),
        json.dumps({**value, "roots": ["nosuch"]}),
        "[" * 200_000,
    ):
        with pytest.raises(RecordError):
            decode_record(text)


@pytest.mark.parametrize(
    ("change", "told", "cure"),
    [
        (
            {"format": "nexis record 1"},
            "an older version of this program: it is a record of version 1, this program reads 2",
            "record the build again with this program, or use the version that made it (nexis-eval 9.9)",
        ),
        (
            {"format": "nexis record 77"},
            "a newer version of this program: it is a record of version 77, this program reads 2",
            "update this program to the version that made it (nexis-eval 9.9), or have the build recorded by this one",
        ),
        ({"encodings": {**ENCODINGS, "tree": 200}}, "a newer version of this program: its tree encoding has", "update"),
        ({"encodings": {**ENCODINGS, "build key": 0}}, "an older version of this program: its build key", "record"),
        ({"format": "nexis record 1", "environment": None}, "an older version", "or use the version that made it"),
    ],
)
def test_records_of_other_versions_are_told_from_damaged_ones(
    tmp_path: Path, hook: Path, change: dict[str, object], told: str, cure: str
) -> None:
    with Store.open(tmp_path / "store") as store:
        value = json.loads(encode_record(built(store, system(hook))))
    value["environment"] = {"engine": "nexis-eval 9.9"}
    with pytest.raises(RecordError) as caught:
        decode_record(json.dumps({**value, **change}), "old.json")
    assert f"old.json was made by {told}" in caught.value.message
    assert cure in (caught.value.hint or "")


def test_two_machines_compare_equal(tmp_path: Path, hook: Path) -> None:
    """Another store, another place of the user's files, another machine."""
    elsewhere = tmp_path / "elsewhere/deep"
    elsewhere.mkdir(parents=True)
    other = Path(shutil.copy(hook, elsewhere))
    with Store.open(tmp_path / "one") as store:
        first = built(store, system(hook))
    with Store.open(elsewhere / "two") as store:
        second = replace(built(store, system(other)), environment={"kernel": "0.1", "processors": "512"})
    report = diff_records(side("one", first), side("two", second))
    assert (report.exit_code, report.headline()) == (0, "the same")
    assert encode_record(first) == encode_record(replace(second, environment=first.environment))
    assert str(tmp_path) not in encode_record(first)


def test_a_change_is_the_cause_and_the_rest_follows(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        first, second = built(store, system(hook)), built(store, system(hook, "goodbye"))
        report = diff_records(side("one", first, store), side("two", second, store))
    assert statuses(report) == {"banner": Status.DIFFERS, "base": Status.FOLLOWS, "system": Status.FOLLOWS}
    banner = report.subjects[0]
    assert "hello → goodbye" in banner.notes[0]
    assert [each.path for each in banner.differences] == ["etc/banner"]
    assert dict(report.causes()) == {Cause.RECIPE: 1, Cause.INPUT: 2}
    assert dict(report.facts)["first cause"] == "banner"
    assert report.exit_code == 1


def test_one_key_with_two_outputs_is_a_build_that_is_not_reproducible(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        first = built(store, system(hook))
    graph = first.graph
    (victim,) = [each for each, item in graph.derivations.items() if item.name == "motd"]
    wrong = {"out": TreeDigest(bytes(32))}
    second = replace(first, steps={**first.steps, victim: replace(first.steps[victim], outputs=wrong)})
    report = diff_records(side("one", first), side("two", second))
    assert statuses(report) == {"motd-1": Status.DIFFERS, "system": Status.SAME}
    assert "not reproducible" in report.subjects[0].notes[0]


def test_a_recipe_that_changed_without_effect_is_the_same(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        first = built(store, system(hook))
        second = built(store, system(hook, version="2"))
    report = diff_records(side("one", first), side("two", second), everything=True)
    assert report.exit_code == 0
    assert {subject.name: subject.notes for subject in report.subjects}["motd-2"]


def test_rebuilt_from_the_record_alone(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        record = decode_record(encode_record(built(store, system(hook))))
    hook.unlink()
    seen: list[events.Event] = []
    with Store.open(tmp_path / "fresh") as store:
        rebuilt = asyncio.run(rebuild(record, tmp_path / "files", store, Mirrors({}), 1, seen.append))
        report = diff_records(side("record", record), side("again", rebuilt.record, store))
    assert rebuilt.failures == ()
    assert report.exit_code == 0
    assert sum(isinstance(event, events.StepFinished) for event in seen) == len(record.graph.derivations)


def test_a_step_that_is_no_target_is_recorded_under_its_name(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        graph = system(hook)
        built(store, graph)
        (banner,) = graph.called("banner")
        made = make_record(store, "demo", "x86_64", graph, ["banner"], [banner], this_environment(), {})
    record = decode_record(encode_record(made))
    assert record.roots == ("banner",)
    assert record.steps[record.graph.targets.packages["banner"]].outputs


def test_a_missing_file_of_the_users_is_named(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        record = replace(built(store, system(hook)), locals={})
    hook.write_text("changed\n")
    with Store.open(tmp_path / "fresh") as store, pytest.raises(RecordError, match=r"hook.*hook\.sh"):
        asyncio.run(rebuild(record, tmp_path / "f", store, Mirrors({}), 1, lambda event: None))


def test_a_missing_source_is_named(tmp_path: Path, hook: Path) -> None:
    url = "http://127.0.0.1:1/gone.tar.gz"
    builder = GraphBuilder()
    source = builder.add(Derivation("gone-source", Fetch((url,), "sha256", "0" * 64, "gone.tar.gz"), "x86_64"))
    builder.parts[SystemPart.IMAGES] = source
    record = BuildRecord("demo", "x86_64", builder.finish(), {}, roots=("images",))
    with Store.open(tmp_path / "fresh") as store:
        rebuilt = asyncio.run(rebuild(record, tmp_path / "f", store, Mirrors({}), 1, lambda event: None))
    (failure,) = rebuilt.failures
    assert failure.status is Status.FAILED
    assert url in " ".join(failure.notes)


def test_provenance(tmp_path: Path, hook: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        record = built(store, system(hook))
    value = json.loads(statement(record, {"image.iso": "ab" * 32}, "cd" * 32))
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["subject"] == [{"name": "image.iso", "digest": {"sha256": "ab" * 32}}]
    definition = value["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"system": "demo", "architecture": "x86_64", "targets": ["images"]}
    assert [each["name"] for each in definition["resolvedDependencies"]] == ["hook"]
    assert value["predicate"]["runDetails"]["builder"]["id"]


def test_signatures(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"ann@example.org {(tmp_path / 'key.pub').read_text()}")
    record = tmp_path / "record.json"
    record.write_text("{}\n")
    with pytest.raises(SignatureError, match="not signed"):
        verify(record, signers, "record.json")
    sign(record, key)
    assert verify(record, signers, "record.json") == "ann@example.org"
    record.write_text("{ }\n")
    with pytest.raises(SignatureError, match=r"does not hold: it was changed after ann@example\.org signed it"):
        verify(record, signers, "record.json")
    with pytest.raises(SignatureError, match="there is no file"):
        verify(record, tmp_path / "nobody", "record.json")
    signers.write_text("")
    with pytest.raises(SignatureError, match="by nobody"):
        verify(record, signers, "record.json")
    signature_of(record).write_text("damaged")
    with pytest.raises(SignatureError, match=r"record\.json\.sig is no signature"):
        verify(record, signers, "record.json")


def test_every_mutant_of_a_record_is_read_or_refused_in_words(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\n")
    with Store.open(tmp_path / "store") as store:
        value = json.loads(encode_record(built(store, system(hook))))
    refused = 0
    for text in mutants_of_json(value):
        try:
            decode_record(text)
        except RecordError as error:
            refused += 1
            assert error.hint
    assert refused > 500


def mutants_of_json(value: object) -> Iterator[str]:
    """The document with each thing in it replaced by something strange, or removed."""
    for at in places(value):
        for change in (*STRANGE, None):
            whole = copy.deepcopy(value)
            parent: object = whole
            for key in at[:-1]:
                parent = parent[key]  # type: ignore[index]
            if change is None:
                del parent[at[-1]]  # type: ignore[attr-defined]
            else:
                parent[at[-1]] = change  # type: ignore[index]
            yield json.dumps(whole)
