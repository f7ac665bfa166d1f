"""Kills the process at each system call that changes a file, makes each one fail, and looks at what is left.

Every attempt is one child that runs the scenario and one that checks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from nexis_store import fs
from nexis_store.errors import NotInStoreError, StoreError
from nexis_store.layout import Layout
from nexis_store.maintenance import migrate, recover
from nexis_store.store import Store
from tests.crash.children import in_child
from tests.crash.scenario import Run, check

PROFILES = ("desktop", "server")


def acknowledge(step: str) -> None:
    os.write(1, step.encode() + b"\n")


def count_calls(root: Path, profile: str) -> list[str]:
    """The scenario undisturbed: the calls it makes, in order."""

    def body() -> None:
        calls: list[str] = []
        fs.intercept = lambda call, path: calls.append(call)
        Run(root, profile, lambda step: None).all()
        fs.intercept = None
        os.write(1, "\n".join(calls).encode())

    status, output = in_child(body)
    assert status == 0, output
    return output.split("\n")


def survives(root: Path, profile: str, acknowledged: list[str]) -> None:
    status, output = in_child(lambda: check(root, profile, acknowledged))
    assert status == 0, f"after {acknowledged}:\n{output}"


@pytest.mark.crash
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("torn", [False, True], ids=["before", "torn"])
def test_killed_at_every_call(in_memory: Path, profile: str, torn: bool) -> None:
    """``torn``: half of what a write call was to write is on the disk."""
    calls = count_calls(in_memory / "undisturbed", profile)
    assert len(calls) > 200
    points = [number for number, call in enumerate(calls) if not torn or call == "write"]
    for point in points:
        root = in_memory / "store"

        def body(root: Path = root, point: int = point) -> None:
            fs.intercept = kill_at(point, torn)
            Run(root, profile, acknowledge).all()

        status, output = in_child(body)
        assert status == -signal.SIGKILL, f"at call {point} ({calls[point]}):\n{output}"
        try:
            survives(root, profile, output.split())
        except AssertionError as error:
            raise AssertionError(f"killed at call {point} ({calls[point]}): {error}") from None
        shutil.rmtree(root, ignore_errors=True)


def kill_at(point: int, torn: bool) -> Callable[[str, str], None]:
    seen = 0

    def intercept(call: str, path: str) -> None:
        nonlocal seen
        if seen == point:
            if torn:
                write = os.write

                def half(fd: int, data: bytes) -> int:
                    write(fd, bytes(data)[: len(data) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                    return 0

                os.write = half  # type: ignore[assignment]
                return
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    return intercept


@pytest.mark.crash
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EMFILE], ids=errno.errorcode.get)
def test_every_call_fails_once(in_memory: Path, profile: str, code: int) -> None:
    """The step that meets the error reports it; repeated, it succeeds; nothing is damaged."""
    calls = count_calls(in_memory / "undisturbed", profile)
    for point in range(len(calls)):
        root = in_memory / "store"

        def body(root: Path = root, point: int = point) -> None:
            fs.intercept = fail_at(point, code)
            run = Run(root, profile, acknowledge)
            for step in Run.STEPS:
                try:
                    step(run)
                except StoreError:
                    # What failed at its very end has happened all the same: there is no root left to remove.
                    with contextlib.suppress(NotInStoreError if step is Run.unroot_a else ()):
                        step(run)
                acknowledge(step.__name__)

        status, output = in_child(body)
        assert status == 0, f"call {point} ({calls[point]}) failing:\n{output}"
        try:
            survives(root, profile, output.split())
        except AssertionError as error:
            raise AssertionError(f"call {point} ({calls[point]}) failing: {error}") from None
        shutil.rmtree(root, ignore_errors=True)


def fail_at(point: int, code: int) -> Callable[[str, str], None]:
    seen = 0

    def intercept(call: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen == point + 1:
            raise OSError(code, os.strerror(code), path)

    return intercept


@pytest.mark.crash
@pytest.mark.parametrize("profile", PROFILES)
def test_a_disk_that_stays_full(in_memory: Path, profile: str) -> None:
    """From some call on nothing can be written any more; later the disk has room again."""
    calls = count_calls(in_memory / "undisturbed", profile)
    for point in range(len(calls)):
        root = in_memory / "store"

        def body(root: Path = root, point: int = point) -> None:
            seen = 0

            def intercept(call: str, path: str) -> None:
                nonlocal seen
                seen += 1
                if seen > point and call in ("write", "create", "mkdir", "symlink", "link", "clone"):
                    raise OSError(errno.ENOSPC, "disk full", path)

            fs.intercept = intercept
            run = Run(root, profile, acknowledge)
            for step in Run.STEPS:
                try:
                    step(run)
                except StoreError:
                    return
                acknowledge(step.__name__)

        status, output = in_child(body)
        assert status == 0, f"full from call {point} ({calls[point]}):\n{output}"
        try:
            survives(root, profile, output.split())
        except AssertionError as error:
            raise AssertionError(f"full from call {point} ({calls[point]}): {error}") from None
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.crash
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("what", ["migrate", "recover"])
def test_replacing_the_database_killed_at_every_call(in_memory: Path, profile: str, what: str) -> None:
    """A store whose migration was killed works as if nothing had happened; a recovery is started again."""
    made, root = in_memory / "made", in_memory / "store"

    def prepare() -> None:
        run = Run(made, profile, acknowledge)
        for step in (Run.open, Run.add_a, Run.root_a, Run.checkpoint, Run.add_b, Run.record_b, Run.root_b, Run.close):
            step(run)
            acknowledge(step.__name__)

    def replace(point: int) -> None:
        with contextlib.ExitStack() as stack:
            if what == "recover":
                fs.intercept = kill_at(point, torn=False)
                recover(Layout(str(root)))
            else:
                store = stack.enter_context(Store.open(root))
                fs.intercept = kill_at(point, torn=False)
                migrate(store.layout, store.database, "rocksdb" if profile == "desktop" else "lmdb")
        fs.intercept = None

    status, output = in_child(prepare)
    assert status == 0, output
    point, status = 0, -signal.SIGKILL
    while status != 0:
        shutil.copytree(made, root, symlinks=True)
        status, problem = in_child(partial(replace, point))
        assert status in (0, -signal.SIGKILL), problem
        if what == "recover" and status:
            status_again, problem = in_child(partial(replace, -1))
            assert status_again == 0, problem
        try:
            survives(root, profile, output.split())
        except AssertionError as error:
            raise AssertionError(f"killed at call {point}: {error}") from None
        shutil.rmtree(root)
        point += 1
    assert point > 10
