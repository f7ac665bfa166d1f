"""Committing several artifacts, and what goes with them, as one: two syncs of the disk whatever their number.

A build writes and hashes what it made when it ends (a ``Part``); nothing of that is durable or visible. When some have
come together, ``commit_together`` syncs the bytes of all, shows them, and appends one record to the journal: the order
of a single commit (``docs/store.md``), and its promises.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

from nexis_store.database import Transaction
from nexis_store.digest import TreeDigest
from nexis_store.ingest import Writer
from nexis_store.publish import Artifact, Host, publish_in, withdraw
from nexis_store.tree import Manifest


class Part(Writer):
    """A writer whose ``commit`` only ends the writing. ``commit_together`` or ``close`` must follow."""

    manifest: Manifest
    wanted: tuple[TreeDigest, ...] = ()

    @property
    def digest(self) -> TreeDigest:
        """The address that the tree will have."""
        return self.manifest.digest

    def commit(self, references: Iterable[TreeDigest] = ()) -> Artifact:
        """End the writing; what this returns is not there yet."""
        self.manifest = Manifest.of(self._entries.values())
        self.wanted = tuple(dict.fromkeys(references))
        place = Path(self._layout.artifact(self.digest, self.name))
        return Artifact(self.digest, self.name, place, self.manifest.size_bytes, self.wanted)

    def __enter__(self) -> Part:
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            super().__exit__(kind, error, traceback)

    def refer_to(self, references: Iterable[TreeDigest]) -> None:
        """Let the artifact have these references."""
        self.wanted = tuple(dict.fromkeys(references))

    @property
    def tree(self) -> Path:
        """Where its files are until it is committed."""
        return Path(f"{self._staging}/tree")

    def close(self) -> None:
        """Remove what is left of the staged tree."""
        super().__exit__(None, None, None)

    def abandon(self) -> None:
        """The same after a failure: a tree that could not be taken back needs its staging to be collected."""
        if os.path.exists(f"{self._staging}/tree"):
            self.close()

    def must_stage(self) -> bool:
        """Whether the tree must be staged."""
        return self._must_stage(self.manifest)

    def stage(self, added_ns: int) -> None:
        """Write what publishing needs."""
        self._stage(self.manifest, self.wanted, added_ns)

    def publish(self, host: Host, transaction: Transaction, added_ns: int) -> Artifact:
        """Show the tree."""
        assert self._staging is not None
        return publish_in(
            host, transaction, self.manifest, self.name, self.wanted, self._staging, added_ns, mend=self._mends
        )

    def withdraw(self, host: Host) -> None:
        """Take back the tree, if it was shown and the journal could not take it."""
        assert self._staging is not None
        withdraw(host, self.digest, self.name, self._staging)

    def share(self, path: Path) -> None:
        """Offer its contents to later artifacts."""
        self._contents.offer(path)


def commit_together(
    host: Host, parts: Sequence[Part], also: Callable[[Transaction], None] | None = None
) -> list[Artifact]:
    """Make the parts durable and visible. ``also`` may add to the record; if it or anything raises, none is added."""
    try:
        if [each for each in parts if host.session.protect(each.digest)]:
            # A collection that has not seen the new temporary roots must be over before we look what is there.
            host.database.pass_by()
        added_ns = time.time_ns()
        missing = [each for each in parts if each.must_stage()]
        with host.durability.put_off():
            for each in missing:
                each.stage(added_ns)
        if missing:
            host.durability.sync()
        artifacts = _publish(host, parts, added_ns, also)
        for each, artifact in zip(parts, artifacts, strict=True):
            each.share(artifact.path)
    except BaseException:
        for each in parts:
            each.abandon()
        raise
    for each in parts:
        each.close()
    return artifacts


def _publish(
    host: Host, parts: Sequence[Part], added_ns: int, also: Callable[[Transaction], None] | None
) -> list[Artifact]:
    try:
        with host.database.transaction() as transaction:
            artifacts = [each.publish(host, transaction, added_ns) for each in parts]
            if also is not None:
                also(transaction)
            return artifacts
    except BaseException:
        for each in parts:
            each.withdraw(host)
        raise
