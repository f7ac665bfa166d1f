"""Cuts the power under a store: the file system is shut down with all it had not written, then mounted again.

``EXT4_IOC_SHUTDOWN`` (XFS has the same) drops every dirty page and every journal entry that no sync has forced out, as
losing power does. Needs root, a loop device and the file system's tools.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from nexis_store import fs
from tests.crash.disk import Disk, make_disk
from tests.crash.scenario import Run, check
from tests.crash.test_crash import acknowledge, count_calls, in_child

STRIDE = int(os.environ.get("NEXIS_POWER_STRIDE", "7"))
"""Every how manieth call the power is cut; 1 takes many minutes."""


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk = make_disk(request.param, tmp_path)
    yield disk
    disk.unmount()


def cut_at(point: int, disk: Disk) -> Callable[[str, str], None]:
    seen = 0

    def intercept(call: str, path: str) -> None:
        nonlocal seen
        if seen == point:
            disk.cut_power()
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    return intercept


@pytest.mark.crash
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_power_cuts(disk: Disk, profile: str) -> None:
    calls = count_calls(disk.place / "undisturbed", profile)
    for point in range(0, len(calls), STRIDE):
        root = disk.place / f"store-{point}"

        def body(root: Path = root, point: int = point) -> None:
            fs.intercept = cut_at(point, disk)
            Run(root, profile, acknowledge).all()

        status, output = in_child(body)
        assert status == -signal.SIGKILL, f"at call {point} ({calls[point]}):\n{output}"
        disk.unmount()
        disk.mount()
        # The machine was started again, as far as the store can tell.
        (root / ".db/boot").unlink(missing_ok=True)
        status, problem = in_child(partial(check, root, profile, output.split()))
        assert status == 0, f"power cut at call {point} ({calls[point]}) after {output.split()}:\n{problem}"
        shutil.rmtree(root, ignore_errors=True)
