"""Random sequences of what people and programs do to a store, against a model that fits on one screen."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.refs import count
from nexis_store.repair import recount
from nexis_store.store import Store

MEMORY = Path("/dev/shm")
"""Hundreds of small stores: waiting for a disk would only make this slow."""


class StoreMachine(RuleBasedStateMachine):
    """``artifacts`` holds everything that was added and not collected, with its references."""

    digests = Bundle("digests")
    roots = Bundle("roots")

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="nexis-stateful-", dir=MEMORY if MEMORY.is_dir() else None))
        self.store = Store.open(self.root)
        self.artifacts: dict[TreeDigest, set[TreeDigest]] = {}
        self.contents: dict[TreeDigest, bytes] = {}
        self.kept: dict[str, TreeDigest] = {}
        self.used: set[TreeDigest] = set()
        self.built: dict[BuildKey, TreeDigest] = {}

    def reachable(self, start: set[TreeDigest]) -> set[TreeDigest]:
        found: set[TreeDigest] = set()
        pending = [each for each in start if each in self.artifacts]
        while pending:
            each = pending.pop()
            if each not in found:
                found.add(each)
                pending.extend(self.artifacts[each])
        return found

    @rule(target=digests, number=st.integers(0, 6), wanted=st.lists(digests, max_size=2))
    def add(self, number: int, wanted: list[TreeDigest]) -> TreeDigest:
        # Equal trees with other references could form circles, which counts alone do not release: recount's business.
        data = b"%d" % number + b"".join(sorted(wanted))
        references = [each for each in wanted if each in self.artifacts]
        with self.store.writer(f"n{number}") as writer:
            writer.file("data", data)
            writer.file("shared", b"shared by all")
            digest = writer.commit(references).digest
        self.artifacts.setdefault(digest, set()).update(references)
        self.contents[digest] = data
        self.used.add(digest)
        return digest

    @rule(target=roots, name=st.sampled_from("abc"), digest=digests)
    def set_root(self, name: str, digest: TreeDigest) -> object:
        if digest not in self.artifacts:
            return multiple()
        self.store.set_root(name, digest)
        self.kept[name] = digest
        return name

    @rule(name=consumes(roots))
    def remove_root(self, name: str) -> None:
        if name in self.kept:
            self.store.remove_root(name)
            del self.kept[name]

    @rule(name=consumes(roots))
    def remove_root_by_hand(self, name: str) -> None:
        if name in self.kept:
            (self.root / ".roots" / name).unlink()
            del self.kept[name]

    @rule(digest=digests, number=st.integers(0, 3))
    def build(self, digest: TreeDigest, number: int) -> None:
        if digest in self.artifacts:
            key = BuildKey.of(b"%d" % number)
            self.store.record(Realisation(key, DerivationId(key), "n", {"out": digest}))
            self.built[key] = digest

    @rule()
    def collect(self) -> None:
        live = self.reachable(set(self.kept.values()) | self.used)
        plan = self.store.plan_gc()
        result = self.store.execute_gc(plan)
        assert {each.digest for each in plan.dead} == set(self.artifacts) - live
        assert result.collected == len(self.artifacts) - len(live)
        self.artifacts = {digest: self.artifacts[digest] for digest in live}

    @rule(crash=st.booleans())
    def reopen(self, crash: bool) -> None:
        if crash:
            # A killed process writes nothing more: no checkpoint, and its session file stays behind without its lock.
            self.store.database._pid = 0
        self.store.close()
        self.store = Store.open(self.root)
        self.used = set()

    @rule()
    def checkpoint(self) -> None:
        self.store.database.checkpoint()

    @rule()
    def count_anew(self) -> None:
        for name in set(self.store.roots()) - set(self.kept):
            assert name in self.kept
        assert recount(self.store.layout, self.store.database).corrected == 0

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        assert {each.digest for each in self.store.artifacts()} == set(self.artifacts)
        assert self.store.roots() == self.kept
        for digest, wanted in self.artifacts.items():
            assert set(self.store.references(digest)) == wanted
            assert (self.store.path(digest) / "data").read_bytes() == self.contents[digest]
        for key, digest in self.built.items():
            if self.store.realisation(key) is not None:
                assert digest in self.artifacts
        assert [str(each) for each in self.store.verify()] == []
        for digest in self.artifacts:
            referrers = sum(digest in wanted for wanted in self.artifacts.values())
            recorded = [value for key, value in self.store.database.scan(b"g") if value == digest]
            assert count(self.store.database, digest) == referrers + len(recorded)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.root)


StoreMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStore = StoreMachine.TestCase
