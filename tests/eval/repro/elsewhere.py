"""What checks have on another file system, beside those of others who are at work at the same time."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from nexis_eval.repro.rebuild import ELSEWHERE


def elsewhere_now() -> set[Path]:
    return set(Path("/dev/shm").glob(f"{ELSEWHERE}*"))


def is_held(path: Path) -> bool:
    """Whether it is somebody else's who is at work at the same time."""
    try:
        with (path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return not path.exists()
    return False


def expect_nothing_since(before: set[Path]) -> None:
    """Assert that what came since then is gone, or somebody else's."""
    # One that another process has just made is not locked yet.
    deadline = time.monotonic() + 10
    while not all(is_held(each) for each in elsewhere_now() - before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
