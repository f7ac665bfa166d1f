"""Builds start as the memory allows that they needed before."""

from __future__ import annotations

import asyncio
from pathlib import Path

from nexis_eval.schedule.memory import UNKNOWN_BYTES, MemoryPool, spare_bytes


def test_no_more_than_there_is_and_in_order() -> None:
    async def work() -> None:
        pool = MemoryPool(100)
        started: list[int] = []
        used = most = 0

        async def build(number: int, wanted: int) -> None:
            nonlocal used, most
            await pool.acquire(wanted)
            started.append(number)
            used += wanted
            most = max(most, used)
            await asyncio.sleep(0.001)
            used -= wanted
            pool.release(wanted)

        await asyncio.gather(*(build(number, 10 + 15 * (number % 4)) for number in range(24)))
        assert started == list(range(24)), "a large one is not overtaken for ever by small ones"
        assert 70 < most <= 100

    asyncio.run(work())


def test_a_build_larger_than_everything_runs_alone() -> None:
    async def work() -> None:
        pool = MemoryPool(100)
        await pool.acquire(500)
        other = asyncio.create_task(pool.acquire(1))
        await asyncio.sleep(0)
        assert not other.done()
        pool.release(500)
        await other

    asyncio.run(work())


def test_who_gives_up_keeps_nobody_waiting() -> None:
    async def work() -> None:
        pool = MemoryPool(UNKNOWN_BYTES)
        await pool.acquire(0)
        first = asyncio.create_task(pool.acquire(0))
        second = asyncio.create_task(pool.acquire(0))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        pool.release(0)
        await asyncio.wait_for(second, 1)

    asyncio.run(work())


def test_what_the_machine_has(tmp_path: Path) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal:       24684096 kB\nMemAvailable:   11000000 kB\n")
    assert spare_bytes(file) == 11_000_000 * 1024
    assert spare_bytes() > 1 << 20
