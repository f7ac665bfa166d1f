from __future__ import annotations

import asyncio
import threading

from nexis_eval import events
from nexis_eval.execute.following import follow
from nexis_eval.realise import Options
from nexis_store.store import Store
from tests.eval.test_realise import Bench, bench, root

__all__ = ["bench", "root"]


def test_a_log_is_read_while_it_is_written(bench: Bench) -> None:
    """By another process, as far as the store can tell: from the first line on, until the build is in the store."""
    text = "echo one; i=0; while [ $i -lt 300 ]; do sleep 0.02; i=$((i + 1)); [ $i -ne 40 ] || echo two; [ $i -lt 60 ] "
    text += "|| break; done; echo -n three; mkdir /out/usr"
    slow = bench.script("slow", text)
    seen: list[tuple[bytes, bool]] = []
    told: list[bool] = []

    def read_along() -> None:
        with Store.open(bench.store.root) as other:
            while not any(isinstance(each, events.PlanReady) for each in list(bench.seen)):
                pass
            for data in follow(other, "slow", slow, lambda: told.append(True)):
                seen.append((data, other.realised(slow) is not None))
            assert other.realised(slow) is not None

    reader = threading.Thread(target=read_along)
    reader.start()
    assert bench.build(slow).failed == ()
    reader.join(20)
    assert not reader.is_alive()
    # What comes before is bash, which misses a locale in this root.
    assert b"".join(data for data, _ in seen).endswith(b"one\ntwo\nthree")
    assert len(seen) >= 2, "it came in pieces"
    assert not seen[0][1], "the first line was read before the build was done"


def test_there_is_nothing_to_follow_when_nobody_works(bench: Bench) -> None:
    quick = bench.script("quick", "mkdir /out/usr")
    assert list(follow(bench.store, "quick", quick)) == []
    bench.build(quick)
    assert list(follow(bench.store, "quick", quick)) == []


def test_a_failing_build_is_followed_to_its_end(bench: Bench) -> None:
    broken = bench.script("broken", "echo before; sleep 0.6; echo reason; exit 1")
    seen: list[bytes] = []

    async def work() -> None:
        building = asyncio.create_task(bench.realise(broken, options=Options(jobs=1)))
        while not bench.started():
            await asyncio.sleep(0.01)
        seen.extend(await asyncio.to_thread(lambda: list(follow(bench.store, "broken", broken))))
        assert (await building).failed == ("broken",)

    asyncio.run(work())
    assert b"".join(seen).endswith(b"before\nreason\n")
