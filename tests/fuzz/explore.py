"""Looks for bytes that a reader answers with a fault: new ones each time, for as long as one likes.

    python -m tests.fuzz.explore [--minutes N] [--jobs N] [--seed N] [READER…]

Finds are written to ``tests/fuzz/finds/READER/``, where the fast tests read them again from then on: commit them with
the cure. What led to an answer that was new is kept in ``.fuzz/READER/``, and is where the next exploration begins.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutation import mutated
from tests.fuzz.readers import BY_NAME, READERS, ROOT, Reader, allowed

FINDS = Path(__file__).parent / "finds"
CORPUS = ROOT / ".fuzz"
MAX_CPU_SECONDS = 20
MAX_MEMORY_BYTES = 3 << 30
MAX_FILE_BYTES = 256 << 20
SLICE_SECONDS = 20
MAX_KEPT = 300
"""Further seeds of a reader: more would only dilute them."""


class TooSlowError(BaseException):
    """A reader took too much processor time."""


def _too_slow(*_: object) -> None:
    raise TooSlowError


def limit() -> None:
    """Bound what this process may use, so that a find ends it and not the machine."""
    # Not the address space: LMDB maps a file far larger than the machine's memory.
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGVTALRM, _too_slow)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def attempt(reader: Reader, data: bytes, directory: Path) -> tuple[str, BaseException | None]:
    """Let ``reader`` read ``data``; return a short name of its answer, and the fault if it was one."""
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_SECONDS)
    try:
        reader.read(data, directory)
    except (Exception, TooSlowError) as error:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        frames = traceback.extract_tb(error.__traceback__)
        at = next((frame for frame in reversed(frames) if "/nexis_" in frame.filename), frames[-1])
        answer = f"{type(error).__name__} {Path(at.filename).name}:{at.lineno}"
        return answer, None if allowed(reader, error) else error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return "accepted", None


def keep(directory: Path, data: bytes) -> Path:
    """Write ``data`` into ``directory``, named by its content."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def smaller(reader: Reader, data: bytes, answer: str, directory: Path, seconds: float = 10) -> bytes:
    """Return the shortest bytes found in ``seconds`` that have the same fault."""
    until, size = time.monotonic() + seconds, max(1, len(data) // 2)
    while size and time.monotonic() < until:
        at = 0
        while at < len(data) and time.monotonic() < until:
            shorter = data[:at] + data[at + size :]
            if attempt(reader, shorter, directory)[0] == answer:
                data = shorter
            else:
                at += size
        size //= 2
    return data


@dataclass
class Tally:
    """What came of a reader."""

    examples: int = 0
    answers: int = 0
    finds: int = 0


def _explore(reader: Reader, seeds: list[bytes], rng: random.Random, seconds: float, current: Path, out: int) -> None:
    """Explore in this process for ``seconds``; write the tally to ``out``."""
    limit()
    tally, answers = Tally(), set[str]()
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        directory = Path(name)
        answers.update(attempt(reader, seed, directory)[0] for seed in seeds)
        if "accepted" not in answers:
            raise AssertionError(f"{reader.name} accepts none of its seeds: {answers}")
        while time.monotonic() < until:
            data = mutated(rng, seeds)
            current.write_bytes(data)
            answer, fault = attempt(reader, data, directory)
            tally.examples += 1
            if answer in answers:
                continue
            answers.add(answer)
            if fault is not None:
                path = keep(FINDS / reader.name, smaller(reader, data, answer, directory))
                tally.finds += 1
                print(f"FIND {reader.name}: {answer}: {path}", flush=True)
                traceback.print_exception(fault, limit=-4, file=sys.stdout)
                continue
            kept = CORPUS / reader.name
            if len(seeds) < MAX_KEPT and len(data) < 1 << 16:
                seeds.append(data)
                keep(kept, data)
    tally.answers = len(answers)
    os.write(out, f"{tally.examples} {tally.answers} {tally.finds}\n".encode())


def explore(reader: Reader, seeds: list[bytes], rng: random.Random, seconds: float) -> Tally:
    """Explore in a child, which a find may end."""
    kept = [path.read_bytes() for path in sorted((CORPUS / reader.name).glob("*"))]
    with tempfile.NamedTemporaryFile(prefix="fuzz-current-") as current:
        reading, writing = os.pipe()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(reading)
                _explore(reader, [*seeds, *kept], rng, seconds, Path(current.name), writing)
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.stdout)
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as stream:
            text = stream.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 0 or not text:
            path = keep(FINDS / reader.name, Path(current.name).read_bytes())
            print(f"FIND {reader.name}: ended with {status}: {path}", flush=True)
            return Tally(1, 0, 1)
    return Tally(*map(int, text.split()))


def main() -> int:
    """Explore; return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"one of {', '.join(BY_NAME)} (default: all)")
    parser.add_argument("--minutes", type=float, default=5, help="how long (default: 5)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (default: all)")
    parser.add_argument("--seed", type=int, default=None, help="explore as that run did that printed this seed")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}", flush=True)
    readers = [BY_NAME[name] for name in args.readers] or list(READERS)
    until = time.monotonic() + args.minutes * 60
    children = []
    for job in range(args.jobs):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = _work(readers[job :: args.jobs] or readers, random.Random(seed * 1000 + job), until)
            except BaseException:
                traceback.print_exc(file=sys.stdout)
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def _work(readers: list[Reader], rng: random.Random, until: float) -> int:
    totals = {reader.name: Tally() for reader in readers}
    with tempfile.TemporaryDirectory(prefix="fuzz-seeds-") as name:
        seeds = {}
        for reader in readers:
            place = Path(name) / reader.name
            place.mkdir()
            seeds[reader.name] = list(reader.seeds(place))
    share = max(1.0, min(SLICE_SECONDS, (until - time.monotonic()) / len(readers)))
    while time.monotonic() < until:
        for reader in readers:
            if not seeds[reader.name] or time.monotonic() >= until:
                continue
            tally, total = explore(reader, seeds[reader.name], rng, share), totals[reader.name]
            total.examples += tally.examples
            total.answers = max(total.answers, tally.answers)
            total.finds += tally.finds
    for each, total in totals.items():
        print(f"{each:20} {total.examples:9,} examples, {total.answers:3} answers, {total.finds} finds", flush=True)
    return 1 if any(total.finds for total in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
