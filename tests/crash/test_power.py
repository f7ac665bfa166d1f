"""Cuts the power under a store at every moment of a run, by replaying what its file system wrote to the disk.

One run is recorded (``recording``). What a disk holds after a power cut is what was flushed, and of what was written
since then everything, nothing, the beginning, or any part. Each such disk is mounted, and the store on it checked. Root
only; needs FUSE, loop devices and the file system's tools.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from nexis_store import fs
from tests.crash.children import in_child
from tests.crash.disk import mount, private_mounts, unmount
from tests.crash.recording import Flush, Note, Recorder, Write, record
from tests.crash.scenario import Run, check

SIZE = 320 << 20
SECTOR = 4096
"""What a disk writes wholly or not at all. With 512 bytes ext4 itself is lost: its superblock has 1,024."""

RANGE = os.environ.get("NEXIS_POWER_STATES", "")
"""``from:to`` looks at some of the states only, to see a failure again."""


@dataclass(frozen=True, slots=True)
class State:
    """What may be on the disk: the log up to ``end``, less ``lost`` and with ``torn`` only half written."""

    end: int
    acknowledged: tuple[str, ...]
    last_call: str
    lost: frozenset[int] = frozenset()
    torn: bool = False

    def __str__(self) -> str:
        how = f", of which {sorted(self.lost)} were lost" if self.lost else ", the last one torn" if self.torn else ""
        return f"{self.end} entries of the log{how}; at {self.last_call}, after {list(self.acknowledged)}"


Log = list[Write | Flush | Note]


def flushed_states(log: Log) -> Iterator[State]:
    """The worst cases: of all that was written since a flush nothing is there, whatever was acknowledged since."""
    for end, entry in enumerate(log):
        if isinstance(entry, Flush) and isinstance(log[end - 1], Write | Note):
            yield State(end + 1, *_said(log, _next(log, end, Flush)))


def all_states(log: Log) -> Iterator[State]:
    """The worst cases; what is there after each write; each write torn; and some parts of what was not flushed."""
    dice = random.Random(1)
    start = 0
    yield from flushed_states(log)
    for end, entry in enumerate(log):
        match entry:
            case Write():
                yield State(end + 1, *_said(log, _next(log, end, Write | Flush)))
                if len(entry.data) > SECTOR:
                    yield State(end + 1, *_said(log, end), torn=True)
            case Flush():
                pending = [each for each in range(start, end) if isinstance(log[each], Write)]
                for _ in range(3 if len(pending) > 1 else 0):
                    lost = frozenset(dice.sample(pending, dice.randrange(1, len(pending))))
                    yield State(end, *_said(log, end), lost)
                start = end + 1


def _next(log: Log, after: int, kind: type) -> int:
    return next((at for at in range(after + 1, len(log)) if isinstance(log[at], kind)), len(log))


def _said(log: Log, end: int) -> tuple[tuple[str, ...], str]:
    notes = [entry.text for entry in log[:end] if isinstance(entry, Note)]
    steps = tuple(text[1:] for text in notes if text.startswith("+"))
    return steps, next((text for text in reversed(notes) if not text.startswith("+")), "the beginning")


class Replay:
    """Makes disks of states."""

    def __init__(self, base: Path, log: Log, directory: Path) -> None:
        self._log = log
        self._flushed = directory / "flushed"
        _copy(base, self._flushed)
        self._done = 0
        self._image = directory / "image"
        self._place = directory / "mounted"
        self._place.mkdir()

    def examine(self, state: State, profile: str) -> str:
        """Check the store as a computer finds it that is started with this disk; returns what is wrong."""
        flush = max((at for at in range(state.end) if isinstance(self._log[at], Flush)), default=0)
        if flush < self._done:
            raise ValueError("states must come in the order of their flushes")
        _apply(self._flushed, self._log[self._done : flush])
        self._done = flush
        _copy(self._flushed, self._image)
        entries = [self._log[at] for at in range(flush, state.end) if at not in state.lost]
        if state.torn:
            last = entries.pop()
            assert isinstance(last, Write)
            entries.append(Write(last.offset, last.data[: len(last.data) // 2 // SECTOR * SECTOR]))
        _apply(self._image, entries)
        mount(self._image, self._place)
        try:
            root = self._place / "store"
            (root / ".db/boot").unlink(missing_ok=True)
            status, problem = in_child(partial(check, root, profile, list(state.acknowledged)))
            return problem if status else ""
        finally:
            unmount(self._place)


def _copy(source: Path, target: Path) -> None:
    """Copy an image without its holes: it is a few megabytes in hundreds."""
    target.unlink(missing_ok=True)
    size = source.stat().st_size
    with open(source, "rb", buffering=0) as reading, open(target, "xb", buffering=0) as writing:
        os.truncate(writing.fileno(), size)
        end = 0
        while True:
            try:
                start = os.lseek(reading.fileno(), end, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(reading.fileno(), start, os.SEEK_HOLE)
            os.pwrite(writing.fileno(), os.pread(reading.fileno(), end - start, start), start)


def _apply(image: Path, entries: Log) -> None:
    fd = os.open(image, os.O_WRONLY)
    for entry in entries:
        if isinstance(entry, Write):
            os.pwrite(fd, entry.data, entry.offset)
    os.close(fd)


def record_run(base: Path, directory: Path, profile: str) -> Log:
    """Run the scenario once on a disk that begins as ``base``; returns the log."""
    image, place = directory / "recorded", directory / "store"
    _copy(base, image)
    recorder = record(image, directory / "device")
    place.mkdir()
    mount(directory / "device", place)
    ours, theirs = socket.socketpair()

    def say(text: str) -> None:
        theirs.sendall(text.encode() + b"\n")
        assert theirs.recv(1)

    def body() -> None:
        ours.close()
        recorder.disown()
        fs.intercept = lambda call, path: say(f"{call} {path}")
        Run(place / "store", profile, lambda step: say(f"+{step}")).all()
        fs.intercept = None

    listener = threading.Thread(target=_listen, args=(ours, recorder))
    listener.start()
    status, output = in_child(body)
    theirs.close()
    listener.join()
    assert status == 0, output
    log = list(recorder.log)
    unmount(place)
    recorder.close()
    return log


def _listen(connection: socket.socket, recorder: Recorder) -> None:
    """Note each line before the one who sent it goes on."""
    with connection, connection.makefile("r") as lines:
        for line in lines:
            recorder.note(line.rstrip("\n"))
            connection.sendall(b".")


@pytest.fixture(params=["ext4", "xfs"])
def base(request: pytest.FixtureRequest, in_memory: Path) -> Path:
    """An empty file system in a file; the directory that holds it is for more such files."""
    private_mounts()
    image = in_memory / "base"
    with open(image, "wb") as file:
        file.truncate(SIZE)
    if shutil.which(f"mkfs.{request.param}") is None:
        pytest.skip(f"mkfs.{request.param} is not installed")
    subprocess.run([f"mkfs.{request.param}", "-q", str(image)], check=True)
    return image


def examine(base: Path, profile: str, states: Callable[[Log], Iterator[State]]) -> None:
    log = record_run(base, base.parent, profile)
    steps, _ = _said(log, len(log))
    assert steps == tuple(step.__name__ for step in Run.STEPS)
    chosen = sorted(enumerate(states(log)), key=lambda each: (_flushes(log, each[1].end), each[0]))
    first, last = map(int, RANGE.split(":")) if RANGE else (0, len(chosen))
    replay = Replay(base, log, base.parent)
    for number, (_, state) in enumerate(chosen[first:last], first):
        problem = replay.examine(state, profile)
        if number % 50 == 0:
            print(f"state {number} of {len(chosen)}", flush=True)
        assert not problem, f"state {number} of {len(chosen)}: {state}\n{problem}"
    print(f"{len(chosen)} states of {sum(isinstance(each, Write) for each in log)} writes")


def _flushes(log: Log, end: int) -> int:
    return sum(isinstance(each, Flush) for each in log[:end])


@pytest.mark.crash
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_power_cuts_that_lose_all_that_was_not_flushed(base: Path, profile: str) -> None:
    examine(base, profile, flushed_states)


@pytest.mark.exhaustive
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_power_cuts_at_every_write(base: Path, profile: str) -> None:
    examine(base, profile, all_states)
