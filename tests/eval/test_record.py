"""What is remembered of builds: of the system, and of targets that were built alone since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.record import FILE, Record, keep, last
from nexis_store.errors import NexisError
from nexis_store.store import Store
from tests.eval.graphs import leaf

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/minimal"
MOTD = "config-file-motd"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """examples/minimal, whose configuration files need no tools to be built, and a store of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NEXIS_STORE", str(tmp_path / "store"))
    shutil.copytree(EXAMPLE, tmp_path / "minimal")
    monkeypatch.chdir(tmp_path / "minimal")
    return tmp_path / "minimal/system.toml"


def dead(store: Store) -> list[str]:
    return sorted(each.name for each in store.plan_gc().dead)


def test_what_was_built_alone_is_kept_until_it_is_built_anew(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build", MOTD]) == 0
    first = capsys.readouterr().out.split()[-1]
    with Store.open(system.parents[1] / "store") as store:
        assert list(store.roots()) == [f"builds/minimal-x86_64:{MOTD}"]
        assert dead(store) == []
    system.write_text(system.read_text().replace("Welcome to", "Changed,"))
    assert run(["why-rebuild", MOTD]) == 0
    assert "changed" in capsys.readouterr().out
    assert run(["build", MOTD]) == 0
    with Store.open(system.parents[1] / "store") as store:
        assert Path(first).name.partition("-")[2] in dead(store)


def test_a_build_of_the_system_takes_over_what_was_built_alone(system: Path) -> None:
    builder = GraphBuilder()
    builder.packages[MOTD] = builder.add(leaf("motd"))
    whole = builder.finish()
    assert run(["build", MOTD, "config-file-heartbeat"]) == 0
    with Store.open(system.parents[1] / "store") as store:
        keep(store, Record(whole, {}), "minimal", "x86_64")
        assert list(store.roots()) == ["builds/minimal-x86_64", "builds/minimal-x86_64:config-file-heartbeat"]
        found = last(store, "minimal", "x86_64", [MOTD])
        assert found is not None
        assert found.graph.targets == whole.targets


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('"kind":"files"', '"kind":"hologram"', "unknown kind of step 'hologram'"),
        ('"kind":"files"', '"kind":"files","colour":"blue"', "colour"),
        (
            '"inputs":[]',
            '"inputs":[{"derivation":"DERIVATION","output":"out","use":"dream","at":"","subdir":""}]',
            "dream",
        ),
        ('"format":1', '"format":2', "unknown graph format 2"),
        ('"outputs":{', '"results":{', "lacks 'outputs'"),
        ('{"derivations"', '[{"derivations"', "delimiter"),
        ('{"derivations"', "[" * 100_000 + '{"derivations"', "recursion"),
    ],
)
def test_a_record_that_another_version_wrote_counts_as_none(
    system: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, reason: str
) -> None:
    assert run(["build", MOTD]) == 0
    root = f"builds/minimal-x86_64:{MOTD}"
    with Store.open(system.parents[1] / "store") as store:
        text = (store.path(store.roots()[root]) / FILE).read_text()
        derivation = next(iter(json.loads(text)["derivations"]))
        with store.writer("record") as writer:
            writer.file(FILE, text.replace(before, after.replace("DERIVATION", derivation)).encode())
            other = writer.commit().digest
        assert other != store.roots()[root]
        store.set_root(root, other)
    system.write_text(system.read_text().replace("Welcome to", "Changed,"))
    capsys.readouterr()
    note = "note: this program cannot read the record of the last build"
    for arguments in (
        ["why-rebuild", MOTD],
        ["derivation", "diff", f"last#{MOTD}", f"{system}#{MOTD}"],
        ["build", "--dry-run", MOTD],
        ["build", MOTD],
    ):
        if arguments[0] == "derivation":
            with pytest.raises(NexisError, match="this store knows no build of 'minimal'"):
                run(arguments)
        else:
            assert run(arguments) == 0
        told = capsys.readouterr().err
        assert f"{note} ({root}: " in told and reason in told
    # Written anew.
    assert run(["why-rebuild", MOTD]) == 0
    assert note not in capsys.readouterr().err
