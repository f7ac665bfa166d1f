from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from nexis_store.cli.main import run
from nexis_store.errors import NotInStoreError, StoreError
from nexis_store.generations import outdated
from nexis_store.store import Store
from tests.store.test_store import add


@pytest.fixture
def systems(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three generations of the profile desktop, the last one current."""
    monkeypatch.setenv("NEXIS_STORE", str(store.root))
    base = add(store, "base", {"etc/base": b"base"})
    for number in (1, 2, 3):
        system = add(store, f"system-{number}", {"etc/number": b"%d" % number}, (base.digest,))
        store.add_generation("desktop", system.digest)
    store.session.close()
    return store


def numbers(store: Store, profile: str = "desktop") -> list[tuple[int, bool]]:
    return [(each.number, each.current) for each in store.generations(profile)]


def test_symlinks_that_a_person_can_read(systems: Store) -> None:
    place = systems.root / ".generations/desktop"
    assert sorted(os.listdir(place)) == ["1", "2", "3", "current"]
    assert (place / "current/etc/number").read_text() == "3"
    assert os.readlink(place / "current") == "3" and (place / "1").resolve().name.endswith("-system-1")
    assert systems.profiles() == ["desktop"] and systems.generations("server") == []


def test_switching_and_rolling_back(systems: Store) -> None:
    assert systems.roll_back("desktop").number == 2
    assert systems.roll_back("desktop").number == 1
    with pytest.raises(NotInStoreError, match="no older generation"):
        systems.roll_back("desktop")
    with pytest.raises(NotInStoreError, match="no older generation"):
        systems.roll_back("nothing")
    assert systems.switch_generation("desktop", 3).current
    with pytest.raises(NotInStoreError, match="no generation 7"):
        systems.switch_generation("desktop", 7)
    assert numbers(systems) == [(1, False), (2, False), (3, True)]


def test_what_is_newest_gets_no_second_number(systems: Store) -> None:
    newest = systems.generations("desktop")[-1]
    systems.roll_back("desktop")
    again = systems.add_generation("desktop", newest.digest)
    assert (again.number, again.current) == (3, True)
    older = systems.generations("desktop")[0]
    assert systems.add_generation("desktop", older.digest).number == 4


def test_generations_keep_and_removing_them_ends_that(systems: Store) -> None:
    assert systems.plan_gc().dead == ()
    with pytest.raises(StoreError, match="current"):
        systems.remove_generations("desktop", [1, 3])
    assert len(numbers(systems)) == 3
    systems.remove_generations("desktop", [1, 2])
    assert {each.name for each in systems.plan_gc().dead} == {"system-1", "system-2"}
    systems.execute_gc(systems.plan_gc())
    assert numbers(systems) == [(3, True)] and list(systems.verify(contents=True)) == []


def test_one_removed_by_hand_is_gone(systems: Store) -> None:
    os.unlink(systems.root / ".generations/desktop/2")
    assert {each.name for each in systems.plan_gc().dead} == {"system-2"}
    assert systems.roll_back("desktop").number == 1


def test_they_survive_a_recovery(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        for number in (1, 2):
            store.add_generation("desktop", add(store, f"system-{number}", {"a": b"%d" % number}).digest)
    assert run(["recover", "--store", str(tmp_path)]) == 0
    with Store.open(tmp_path) as store:
        assert numbers(store) == [(1, False), (2, True)]
        assert store.plan_gc().dead == () and list(store.verify()) == []


def test_outdated(systems: Store) -> None:
    there = systems.generations("desktop")
    day = 86400 * 10**9
    assert outdated(there) == []
    assert [each.number for each in outdated(there, keep=2)] == [1]
    assert [each.number for each in outdated(there, keep=0)] == [1, 2]
    assert outdated(there, older_than_ns=day) == []
    made = time.time() - 40 * 86400
    os.utime(systems.root / ".generations/desktop/1", (made, made), follow_symlinks=False)
    there = systems.generations("desktop")
    assert [each.number for each in outdated(there, older_than_ns=30 * day)] == [1]
    assert outdated(there, keep=3, older_than_ns=30 * day) == []


def test_collecting_ends_old_generations(systems: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def out(*arguments: str) -> str:
        assert run(arguments) == 0
        return capsys.readouterr().out

    said = out("gc", "--dry-run", "--keep-generations", "2")
    assert "system-1" in said and "would forget generations/desktop/1\nwould remove 1 artifact," in said
    assert len(numbers(systems)) == 3
    made = time.time() - 40 * 86400
    for number in (1, 3):
        os.utime(systems.root / f".generations/desktop/{number}", (made, made), follow_symlinks=False)
    # What has just died stays, what only an old generation kept goes.
    add(systems, "young garbage", {"a": b"a"})
    systems.session.close()
    found = json.loads(out("gc", "--older-than", "30d", "--json"))
    assert [each["name"] for each in found["dead"]] == ["system-1"]
    assert numbers(systems) == [(2, False), (3, True)]
    assert "removed 2 artifacts" in out("gc", "--keep-generations", "0")
    assert numbers(systems) == [(3, True)]


def test_the_command(systems: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def out(*arguments: str) -> str:
        assert run(["generations", *arguments]) == 0
        return capsys.readouterr().out

    assert [line.split()[-1] for line in out().splitlines()] == ["system-1", "system-2", "system-3"]
    assert out("desktop", "--roll-back").startswith("* desktop    2")
    assert json.loads(out("desktop", "--switch", "1", "--json"))["current"]
    assert out("desktop", "--add", "base").endswith(" base\n")
    assert out("desktop", "--delete", "2", "3") == ""
    assert [each["number"] for each in json.loads(out("--json"))] == [1, 4]
    with pytest.raises(StoreError, match="no profile"):
        run(["generations", "--roll-back"])
    with pytest.raises(StoreError, match="cannot name a profile"):
        run(["generations", "../etc", "--add", "base"])
