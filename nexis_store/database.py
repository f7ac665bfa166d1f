"""The metadata as the rest of the store sees it: reads at any time, writes in transactions of one process at a time.

What the journal says stands before what the database says (``docs/store.md``). Each process follows the journal's tail.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator

from nexis_store import fs
from nexis_store.errors import RECOVER, DamagedStoreError, StoreError, cannot_write, writing
from nexis_store.journal import (
    SEAL,
    SYNCED,
    Segment,
    create_segment,
    decode_changes,
    encode_changes,
    has_records,
    segment_path,
    segments,
)
from nexis_store.metadata.base import Backend
from nexis_store.overlay import Overlay, Snapshot, merged

APPLIED = b"sapplied"
"""Key of the number of the last segment that is wholly in the database."""

CHECKPOINT_BYTES = 2 << 20
"""A segment of this size is moved into the database: replaying one takes some ten milliseconds at most."""

CLOSE_BYTES = 32 << 10
"""A store that is closed checkpoints a segment of at least this size, if nobody else is writing."""


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


class Transaction:
    """A set of changes that become visible and durable together. It sees its own changes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reader: Snapshot | None = None
        # By table: scanning one must not cost what all changes cost.
        self._tables: dict[bytes, dict[bytes, bytes | None]] = {}

    @property
    def changes(self) -> dict[bytes, bytes | None]:
        """Everything this transaction would change."""
        return {key: value for table in self._tables.values() for key, value in table.items()}

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key`` as this transaction would leave it."""
        table = self._tables.get(key[:1])
        if table is not None and key in table:
            return table[key]
        return self._reader.get(key) if self._reader is not None else self._database.look_up(key)

    @contextlib.contextmanager
    def many(self) -> Iterator[None]:
        """Make looking up many keys cheap. Keep it short: other threads of this process cannot read meanwhile."""
        with self._database.snapshot() as snapshot:
            self._reader = snapshot
            try:
                yield
            finally:
                self._reader = None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs below ``prefix`` as this transaction would leave them, in order."""
        table = self._tables.get(prefix[:1], {}) if prefix else self.changes
        mine = {key: value for key, value in table.items() if key.startswith(prefix)}
        pairs = (self._reader or self._database).scan(prefix)
        return merged(pairs, mine) if mine else pairs

    def put(self, key: bytes, value: bytes) -> None:
        """Set ``key``."""
        self._tables.setdefault(key[:1], {})[key] = value

    def delete(self, key: bytes) -> None:
        """Remove ``key`` if it is there."""
        self._tables.setdefault(key[:1], {})[key] = None


class Database:
    """One store's metadata. ``before_checkpoint`` is called with what is about to leave the journal.

    ``after_restart`` says that the machine was restarted since somebody last wrote: the journal may lack what was not
    synced. Otherwise anything but the torn record of a killed writer is damage, which raises ``DamagedStoreError``.
    """

    def __init__(
        self,
        backend: Backend,
        directory: str,
        *,
        readonly: bool = False,
        after_restart: bool = False,
        before_checkpoint: Callable[[dict[bytes, bytes | None]], None] | None = None,
    ) -> None:
        self._backend = backend
        self._after_restart = after_restart
        self._tail_seen = (0, 0, 0)
        self._journal = f"{directory}/journal"
        self.readonly = readonly
        self._pid = os.getpid()
        self._before_checkpoint = before_checkpoint
        self._writing = threading.RLock()
        self._held = False
        self._reading = threading.RLock()
        self._durability = threading.Condition()
        self._durable = (0, 0)
        self._marked = (0, 0)
        self._syncing = False
        self._sealed = Overlay()
        self._overlay = Overlay()
        self._format = f"{directory}/format.json"
        self._format_seen = _identity(self._format)
        self._lock_fd = -1 if readonly else fs.open_regular(f"{directory}/lock", os.O_RDWR | os.O_CREAT)
        try:
            self._segment = self._reload()
        except BaseException:
            if not readonly:
                os.close(self._lock_fd)
            raise

    # Reading

    def get(self, key: bytes) -> bytes | None:
        """The value of ``key``, as of now in all processes."""
        with self._reading:
            if self._segment.has_more():
                self._follow()
            return self.look_up(key)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Look up many keys as of one moment. Keep it short: other threads of this process wait."""
        with self._reading:
            if self._segment.has_more():
                self._follow()
            with self._backend.reading() as reading:
                yield Snapshot(self._overlay, self._sealed, reading)

    def look_up(self, key: bytes) -> bytes | None:
        """The value of ``key`` as far as the journal has been read: all of it, for whoever holds the lock."""
        with self._reading:
            if key in self._overlay:
                return self._overlay[key]
            if key in self._sealed:
                return self._sealed[key]
            return self._backend.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs below ``prefix`` in order, as of now."""
        with self._reading:
            if self._segment.has_more():
                self._follow()
            changes = self._sealed.below(prefix) | self._overlay.below(prefix)
            pairs = self._backend.scan(prefix)
        return merged(pairs, changes) if changes else pairs

    def _reload(self) -> Segment:
        """Start from the database: forget the journal and read what the database does not have."""
        while True:
            self._backend.refresh()
            number = self._applied() + 1
            self._sealed, self._overlay = Overlay(), Overlay()
            try:
                self._segment = Segment(self._journal, number, readonly=self.readonly)
            except FileNotFoundError:
                # Another process finished a checkpoint between the two steps; or the journal is gone for good.
                self._backend.refresh()
                if self._applied() + 1 == number:
                    raise self._missing(number) from None
                continue
            self._follow()
            self._go_on_behind_lost_seal()
            return self._segment

    def _missing(self, number: int) -> DamagedStoreError:
        return DamagedStoreError(
            f"the journal segment {segment_path(self._journal, number)} is missing", hint="run 'nexis-store recover'"
        )

    def _go_on_behind_lost_seal(self) -> None:
        """A power cut may lose a seal that nobody waited for; records in the next segment prove that there was one."""
        while has_records(self._journal, self._segment.number + 1):
            segment = self._segment
            self._follow()
            if self._segment is not segment:
                # It was sealed a moment ago.
                continue
            if not self._after_restart:
                raise DamagedStoreError(
                    f"{segment.path} is damaged at byte {segment.offset}: its end is lost", hint=RECOVER
                )
            segment.sealed = True
            self._follow()

    def strays(self) -> list[str]:
        """The paths beside the journal's segments that do not belong to it; what a killed process left is not told."""
        with self._reading:
            # Behind the current one there may be one more: a checkpoint begins with it.
            last = self._segment.number + 1
        own = {os.path.basename(segment_path(self._journal, each)) for each in segments(self._journal) if each <= last}
        names = sorted(os.listdir(self._journal))
        return [f"{self._journal}/{name}" for name in names if name not in own and not name.endswith(".new")]

    def check(self) -> None:
        """Prove what the database itself holds; raises ``StoreError``."""
        with self._reading:
            self._backend.check()

    def _applied(self) -> int:
        return int(self._backend.get(APPLIED) or 0)

    def _follow(self) -> None:
        """Read what has been appended, by whomever, going on to later segments."""
        if len(self._sealed):
            self._backend.refresh()
            if self._applied() >= self._segment.number - 1:
                self._sealed = Overlay()
        while True:
            for payload in self._segment.read():
                changes = decode_changes(payload)
                changes.pop(SYNCED, None)
                self._overlay.update(changes)
            if not self._segment.sealed:
                if self._segment.has_more():
                    self._judge_tail()
                return
            number = self._segment.number + 1
            try:
                following = Segment(self._journal, number, readonly=self.readonly)
            except FileNotFoundError:
                # Another process has finished two checkpoints; or the journal is gone for good.
                self._backend.refresh()
                if self._applied() < number:
                    raise self._missing(number) from None
                self._segment.close()
                self._reload()
                return
            self._segment.close()
            self._segment = following
            self._sealed.update(self._overlay.all())
            self._overlay = Overlay()

    def _judge_tail(self) -> None:
        """Tell a torn tail from damage, once. Raises ``DamagedStoreError``.

        Somebody may be writing just now; then there is nothing to judge yet, and the next look comes back here.
        """
        segment = self._segment
        seen = (segment.number, segment.offset, os.fstat(segment.fd).st_size)
        if seen == self._tail_seen:
            return
        with contextlib.ExitStack() as stack:
            if not self._held:
                try:
                    fd = os.open(f"{os.path.dirname(self._journal)}/lock", os.O_RDONLY | os.O_CLOEXEC)
                    stack.callback(os.close, fd)
                    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
                except OSError:
                    pass
            if segment.check_tail(after_restart=self._after_restart):
                self._tail_seen = seen

    # Writing

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        """Change the metadata; nothing of it happens if the block raises. Other writers wait meanwhile.

        On return the changes are on the disk, unless ``durable`` is false: then they will be with the next that are.
        """
        position = None
        with self._locked():
            transaction = Transaction(self)
            yield transaction
            changes = transaction.changes
            if changes:
                try:
                    position = self._append(changes)
                except OSError as error:
                    raise cannot_write(error, "the store's journal") from error
        if position is not None and durable:
            self._wait_until_durable(position)
        if self._segment.offset > CHECKPOINT_BYTES:
            self.checkpoint()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if self.readonly:
            raise StoreError("the store was opened for reading only")
        if os.getpid() != self._pid:
            # The lock belongs to the open file, which parent and child would share: it would keep neither out.
            raise StoreError("the store was opened before this process was forked", hint="open it in each process")
        with self._writing:
            if self._held:
                # Within a step of this thread that must be one for others.
                yield
                return
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
            self._held = True
            try:
                if _identity(self._format) != self._format_seen:
                    raise StoreError(
                        "the store's database was replaced while this program used it", hint="start it again"
                    )
                with self._reading:
                    self._follow()
                    self._segment.cut_torn_tail()
                    # What comes from now on was written since the restart.
                    self._after_restart = False
                yield
            finally:
                self._held = False
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _append(self, changes: dict[bytes, bytes | None]) -> tuple[int, int]:
        with self._reading:
            number, synced = self._durable
            marks = {SYNCED: b"%d" % synced} if number == self._segment.number and synced else {}
            self._segment.append(encode_changes({**changes, **marks}))
            self._marked = self._durable
            self._overlay.update(changes)
            return self._segment.number, self._segment.offset

    def _wait_until_durable(self, position: tuple[int, int]) -> None:
        """Group commit: one thread syncs for all that have appended before it began."""
        with self._durability:
            while self._durable < position and self._syncing:
                self._durability.wait()
            if self._durable >= position:
                return
            self._syncing = True
        reached = None
        try:
            with self._reading:
                reached = (self._segment.number, self._segment.offset)
                fd = os.dup(self._segment.fd)
                path = self._segment.path
            try:
                # A later segment exists only after the earlier ones were synced by the checkpoint that sealed them.
                fs.sync_data(fd, path)
            finally:
                os.close(fd)
        except OSError as error:
            reached = None
            self._give_up_segment(error)
        finally:
            with self._durability:
                self._syncing = False
                if reached is not None:
                    self._durable = max(self._durable, reached)
                self._durability.notify_all()

    def _give_up_segment(self, error: OSError) -> None:
        """After a failed sync nothing says which bytes are on the disk: write all anew, elsewhere, and say so."""
        with contextlib.suppress(StoreError):
            self.checkpoint()
        raise StoreError(
            f"the store's journal could not be written: {error.strerror}",
            hint="the last operation may be lost: free disk space or check the disk, then repeat it",
        ) from error

    def sync(self) -> None:
        """Return when all transactions that this process has finished are on the disk."""
        with self._reading:
            position = (self._segment.number, self._segment.offset)
        self._wait_until_durable(position)

    def checkpoint(self) -> None:
        """Move what the journal says into the database and begin a new segment."""
        with writing("the store's database"), self._locked():
            self._checkpoint()

    def _checkpoint(self) -> None:
        old = self._segment
        create_segment(self._journal, old.number + 1)
        fresh = Segment(self._journal, old.number + 1)
        try:
            old.append(SEAL)
        except OSError:
            fresh.close()
            raise
        # From here on others append to the fresh segment, so this process must as well, whatever fails below. A failed
        # sync of the old one does no harm as long as the database takes all of it.
        with contextlib.suppress(OSError):
            old.sync()
        with self._reading:
            self._segment = fresh
            self._sealed.update(self._overlay.all())
            self._overlay = Overlay()
            old.close()
        changes = dict(self._sealed.all())
        if self._before_checkpoint is not None:
            self._before_checkpoint(changes)
        self._backend.apply({**changes, APPLIED: b"%d" % old.number})
        with self._reading:
            self._sealed = Overlay()
        with self._durability:
            self._durable = max(self._durable, (fresh.number, 0))
        for number in segments(self._journal):
            if number <= old.number:
                with contextlib.suppress(FileNotFoundError):
                    fs.unlink(segment_path(self._journal, number))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else change anything while the block runs; transactions in it are steps of one change."""
        with self._locked():
            yield

    def pass_by(self) -> None:
        """Wait until every change that has begun is over."""
        with self._writing:
            fcntl.flock(self._lock_fd, fcntl.LOCK_SH)
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release everything; a journal worth it is moved into the database first, if nobody is writing."""
        if not self.readonly:
            # In a fork the lock is the parent's: trying to take it would give it up.
            if os.getpid() == self._pid:
                with contextlib.suppress(OSError, StoreError):
                    self._finish()
            os.close(self._lock_fd)
        self._segment.close()
        self._backend.close()

    def _finish(self) -> None:
        full = self._segment.offset > CLOSE_BYTES
        # Nobody waits for the mark: it tells those who come after a restart that what is before it is no hole.
        unmarked = self._marked < self._durable and self._durable[0] == self._segment.number
        if full or unmarked:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
        if full:
            self.checkpoint()
        elif unmarked:
            with self._locked():
                self._append({})
