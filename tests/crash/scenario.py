"""What the crash tests do to a store, step by step, and what must hold afterwards whatever happened in between.

A step that returned was acknowledged. The process that runs the steps may be killed anywhere; another one then checks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.records import SMALL
from nexis_store.store import Store
from nexis_store.tree import Attributes

KEY, RECIPE = BuildKey.of(b"key"), DerivationId.of(b"recipe")

FILES = {
    "A": {"usr/lib/a": b"shared" * 1000, "usr/share/doc/a": b"a"},
    "B": {"usr/bin/b": b"b" * 5000, "usr/lib/a": b"shared" * 1000},
    "C": {"big": b"c" * (SMALL + 1), "usr/lib/a": b"shared" * 1000, "only": b"in c" * 1000},
}


class Run:
    """One store and the steps on it; ``acknowledge`` is told each finished step's name."""

    def __init__(self, root: Path, profile: str, acknowledge: Callable[[str], None]) -> None:
        self.root = root
        self.profile = profile
        self.acknowledge = acknowledge
        self.digests: dict[str, TreeDigest] = {}
        self.store: Store | None = None

    def _add(self, name: str, *references: str) -> None:
        assert self.store is not None
        with self.store.writer(name) as writer:
            for path, data in FILES[name].items():
                writer.file(path, data, executable="bin" in path, attributes=Attributes(group="games"))
            writer.symlink("link", "usr")
            self.digests[name] = writer.commit([self.digests[each] for each in references]).digest

    def open(self) -> None:
        self.store = Store.open(self.root, profile=self.profile)

    def add_a(self) -> None:
        self._add("A")

    def root_a(self) -> None:
        assert self.store is not None
        self.store.set_root("keep/a", self.digests["A"])

    def add_b(self) -> None:
        self._add("B", "A")

    def record_b(self) -> None:
        assert self.store is not None
        self.store.record(Realisation(KEY, RECIPE, "b", {"out": self.digests["B"]}, duration_ns=7))

    def add_together(self) -> None:
        """Two builds that ended at the same time."""
        assert self.store is not None
        builds = []
        for name in ("D", "E"):
            directory = self.root.parent / f"{self.root.name}-built-{name}"
            (directory / "usr/lib").mkdir(parents=True, exist_ok=True)
            (directory / "usr/lib/name").write_bytes(name.encode() * 3000)
            part = self.store.prepare_directory(directory, name, references=[self.digests["A"]])
            self.digests[name] = part.digest
            key = BuildKey.of(name.encode())
            builds.append(([part], Realisation(key, DerivationId.of(name.encode()), name, {"out": part.digest})))
        self.store.record_together(builds)

    def root_d(self) -> None:
        assert self.store is not None
        self.store.set_root("d", self.digests["D"])

    def root_b(self) -> None:
        assert self.store is not None
        self.store.set_root("b", self.digests["B"])

    def unroot_a(self) -> None:
        assert self.store is not None
        self.store.remove_root("keep/a")

    def add_c(self) -> None:
        self._add("C")

    def checkpoint(self) -> None:
        assert self.store is not None
        self.store.database.checkpoint()

    def add_c_again_with_reference(self) -> None:
        self._add("C", "A")

    def add_reference_to_b(self) -> None:
        assert self.store is not None
        assert self.digests["D"] in self.store.add_references(self.digests["B"], [self.digests["D"]])

    def union(self) -> None:
        assert self.store is not None
        parts = [(name, self.digests[name]) for name in ("A", "B")]
        self.digests["U"] = self.store.union("U", parts, references=[self.digests["B"]]).digest

    def root_u(self) -> None:
        assert self.store is not None
        self.store.set_root("u", self.digests["U"])

    def generation(self) -> None:
        assert self.store is not None
        assert self.store.add_generation("p", self.digests["A"]).number == 1

    def next_generation(self) -> None:
        assert self.store is not None
        assert self.store.add_generation("p", self.digests["B"]).number == 2

    def roll_back(self) -> None:
        assert self.store is not None
        if not self.store.generations("p")[0].current:
            self.store.roll_back("p")

    def collect(self) -> None:
        assert self.store is not None
        self.store.session.close()
        self.store.execute_gc(self.store.plan_gc())

    def checkpoint_again(self) -> None:
        self.checkpoint()

    def add_c_after_collection(self) -> None:
        self._add("C")

    def close(self) -> None:
        assert self.store is not None
        self.store.close()

    STEPS = (
        open, add_a, root_a, add_b, record_b, root_b, add_together, root_d, unroot_a, add_c, checkpoint,
        add_c_again_with_reference, add_reference_to_b, union, root_u, generation, next_generation, roll_back,
        collect, checkpoint_again, add_c_after_collection, close,
    )  # fmt: skip

    def all(self) -> None:
        for step in self.STEPS:
            step(self)
            self.acknowledge(step.__name__)


def expected(acknowledged: list[str]) -> tuple[set[str], set[str]]:
    """(names of artifacts that must be there, roots that must be there) after these steps were acknowledged."""
    artifacts: set[str] = set()
    roots: set[str] = set()
    for step in acknowledged:
        match step:
            case "add_a" | "add_b" | "add_c" | "union":
                artifacts.add(step[-1].upper() if step != "union" else "U")
            case "add_together":
                artifacts |= {"D", "E"}
            case "root_a" | "root_b" | "root_d" | "root_u":
                roots.add({"root_a": "keep/a", "root_b": "b", "root_d": "d", "root_u": "u"}[step])
            case "unroot_a":
                roots.discard("keep/a")
            case "collect":
                artifacts -= {"C", "E"}
            case "add_c_after_collection":
                artifacts.add("C")
    steps = [step.__name__ for step in Run.STEPS]
    under_way = steps[len(acknowledged)] if len(acknowledged) < len(steps) else ""
    if under_way == "collect":
        artifacts -= {"C", "E"}
    if under_way == "unroot_a":
        roots.discard("keep/a")
    return artifacts, roots


def on_disk(root: Path) -> set[str]:
    """The digests of all trees and descriptions that lie in the store's buckets."""
    return {
        name[:64]
        for bucket in root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]")
        for name in os.listdir(bucket)
        if re.match("[0-9a-f]{64}", name)
    }


def assert_sound(store: Store) -> None:
    problems = [str(problem) for problem in store.verify(contents=True)]
    assert not problems, problems


def check(root: Path, profile: str, acknowledged: list[str]) -> None:
    """Reopen the store: everything acknowledged is there, nothing half-visible, verify clean; it goes on working."""
    if "open" not in acknowledged and not (root / ".db/format.json").exists():
        Store.open(root, profile=profile).close()
        return
    with Store.open(root, profile=profile) as store:
        artifacts, roots = expected(acknowledged)
        found = {artifact.name: artifact.digest for artifact in store.artifacts()}
        assert artifacts <= set(found), (artifacts, found)
        assert roots <= set(store.roots()), (roots, store.roots())
        assert_sound(store)
        for name in ("D", "E"):
            known = store.realisation(BuildKey.of(name.encode()))
            assert (known is not None) == (name in found), "an output without what it is the result of, or the reverse"
        if "record_b" in acknowledged:
            realisation = store.realisation(KEY)
            assert realisation is not None and realisation.duration_ns == 7
            assert store.realised(RECIPE) == realisation
        if "add_reference_to_b" in acknowledged:
            assert found["D"] in store.references(found["B"])
        if "generation" in acknowledged:
            done = ["generation", "next_generation", "roll_back"]
            before, after = [1, 2, 1, 1][sum(each in acknowledged for each in done) - 1 :][:2]
            assert [each.number for each in store.generations("p") if each.current] in ([before], [after])
        store.execute_gc(store.plan_gc())
        live = {str(digest) for digest in store.closure(store.roots().values())}
        assert {str(artifact.digest) for artifact in store.artifacts()} == live
        assert on_disk(root) == live, "something without metadata was left on disk"
        for directory in (".trash", ".staging"):
            assert not (root / directory).exists() or os.listdir(root / directory) == []
        assert_sound(store)
        if "root_b" in acknowledged:
            assert {"A", "B"} <= {artifact.name for artifact in store.artifacts()}
        with store.writer("new") as writer:
            writer.file("new", b"new")
            store.set_root("new", writer.commit().digest)
        store.database.checkpoint()
        assert_sound(store)
    with Store.open(root, profile=profile, readonly=True) as store:
        assert "new" in store.roots()
