from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from nexis_eval.execute.runner import SandboxRunner
from nexis_eval.schedule.jobserver import TokenPool
from tests.eval.sandbox.rooms import ENVIRONMENT, Room, require_sandbox


def tokens(pool: TokenPool) -> int:
    """How many tokens are in the fifo (they are put back)."""
    try:
        found = os.read(pool._fifo, 1000)
    except BlockingIOError:
        return 0
    os.write(pool._fifo, found)
    return len(found)


def test_no_more_than_jobs_at_a_time_and_in_order(tmp_path: Path) -> None:
    async def work() -> None:
        running: list[int] = []
        order: list[int] = []
        most = 0

        async def build(pool: TokenPool, number: int) -> None:
            nonlocal most
            await pool.acquire()
            running.append(number)
            order.append(number)
            most = max(most, len(running))
            await asyncio.sleep(0.002)
            running.remove(number)
            pool.release()

        with TokenPool(tmp_path, 3) as pool:
            await asyncio.gather(*(build(pool, number) for number in range(20)))
            assert (most, order, tokens(pool)) == (3, list(range(20)), 3)

    asyncio.run(work())


def test_cancelled_waiters_lose_no_token(tmp_path: Path) -> None:
    async def work() -> None:
        with TokenPool(tmp_path, 1) as pool:
            await pool.acquire()
            waiting = [asyncio.create_task(pool.acquire()) for _ in range(4)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            waiting[2].cancel()
            pool.release()
            await waiting[1]
            assert tokens(pool) == 0
            pool.release()
            await waiting[3]
            pool.release()
            assert tokens(pool) == 1

    asyncio.run(work())


def test_lost_and_invented_tokens_are_set_right_when_nothing_runs(tmp_path: Path) -> None:
    async def work() -> None:
        with TokenPool(tmp_path, 4) as pool:
            await pool.acquire()
            assert os.read(pool._fifo, 2) == b"++"
            assert tokens(pool) == 1
            pool.release()
            assert tokens(pool) == 4
            await pool.acquire()
            os.write(pool._fifo, b"x" * 70000)
            pool.release()
            assert tokens(pool) == 4

    asyncio.run(work())


def test_builds_that_start_after_one_invented_tokens_keep_to_their_share(tmp_path: Path) -> None:
    """Forty recipes, with three jobs, beside somebody who writes tokens as fast as it can."""
    require_sandbox()
    if shutil.which("make", path="/usr/bin") is None:
        pytest.skip("no /usr/bin/make")
    targets = " ".join(f"t{index}" for index in range(40))
    note = "date +'%s %%s%%N' >>/out/times"
    makefile = f"all: {targets}\n{targets}:\n\t@{note % '+'}; sleep 0.05; {note % '-'}\n"
    told: list[str] = []

    async def work() -> list[str]:
        executor = SandboxRunner()
        good, bad = (Room.make(tmp_path / name) for name in ("good", "bad"))
        (good.build / "Makefile").write_text(makefile)
        with TokenPool(tmp_path, 3, lambda: told.append("misuse")) as pool:
            env = (*ENVIRONMENT, *pool.environment.items())
            first = pool.path

            async def build(room: Room, script: str) -> bool:
                await pool.acquire()
                try:
                    return (await executor.run(room.request(script, jobserver=pool.path, env=env))).ok
                finally:
                    pool.release()

            inventing = asyncio.create_task(build(bad, "while :; do printf %100s >&4 || :; done"))
            while not told:
                await asyncio.sleep(0.01)
            assert pool.path != first
            assert await build(good, "make")
            inventing.cancel()
            await asyncio.gather(inventing, return_exceptions=True)
            assert tokens(pool) == 3
        await executor.close()
        return (good.out / "times").read_text().splitlines()

    running = most = 0
    for line in sorted(asyncio.run(work()), key=lambda line: line.split()[1]):
        running += 1 if line.startswith("+") else -1
        most = max(most, running)
    assert told == ["misuse"]
    assert most <= 2


def test_make_takes_part_in_two_sandboxes(tmp_path: Path) -> None:
    """Two makes with eight slow targets each and three tokens: three recipes at a time at most, and at times."""
    require_sandbox()
    if shutil.which("make", path="/usr/bin") is None:
        pytest.skip("no /usr/bin/make")
    targets = " ".join(f"t{index}" for index in range(8))
    makefile = f"all: {targets}\n{targets}:\n\t@date +'+ %s%N' >>/out/times; sleep 0.1; date +'- %s%N' >>/out/times\n"

    async def work() -> list[str]:
        runner = SandboxRunner()
        rooms = [Room.make(tmp_path / name) for name in ("one", "two")]
        with TokenPool(tmp_path, 3) as pool:

            async def build(room: Room) -> None:
                (room.build / "Makefile").write_text(makefile)
                env = (*ENVIRONMENT, *pool.environment.items())
                await pool.acquire()
                result = await runner.run(room.request("make", jobserver=pool.path, env=env))
                pool.release()
                assert result.ok, room.log
                assert not re.search("warning|jobserver", room.log), room.log

            await asyncio.gather(*map(build, rooms))
            assert tokens(pool) == 3
        await runner.close()
        return [line for room in rooms for line in (room.out / "times").read_text().splitlines()]

    running = most = 0
    for line in sorted(asyncio.run(work()), key=lambda line: line.split()[1]):
        running += 1 if line.startswith("+") else -1
        most = max(most, running)
    assert most == 3
