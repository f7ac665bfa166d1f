from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from nexis_eval.execute.runner import PhaseReader, RunResult, SandboxRunner
from nexis_eval.sandbox.errors import SandboxError, SandboxSpecError
from nexis_eval.sandbox.spec import Bind, Limits, Overlay
from tests.eval.processes import processes_with
from tests.eval.sandbox.rooms import Room


def test_exit_code_output_and_times(room: Room) -> None:
    result = room.run("echo to stdout; echo to stderr >&2; for i in {1..20000}; do :; done; echo x > /out/f; exit 7")
    assert (result.exit_code, result.ok, result.reason) == (7, False, "")
    assert room.log == "to stdout\nto stderr\n"
    assert (room.out / "f").read_text() == "x\n"
    assert result.duration_ns > result.cpu_ns // 4 > 0
    assert result.max_rss_bytes > 1 << 20


def test_a_signal_is_reported_as_the_shell_does(room: Room) -> None:
    assert room.run("kill -SEGV $$").exit_code == 128 + 11


def test_standard_input_is_empty_and_pipes_break_as_usual(room: Room) -> None:
    result = room.run("cat; set -o pipefail; yes | head -n1; echo ${PIPESTATUS[0]}")
    assert result.ok
    assert room.log == "y\n141\n"


def test_phases_are_told_as_they_begin(room: Room) -> None:
    seen: list[str] = []
    result = room.run(
        "echo '@nexis phase unpack' >&3; echo noise >&3; echo '@nexis phase build' >&3; false", on_phase=seen.append
    )
    assert seen == ["unpack", "build"]
    assert result.phase == "build"


def test_several_at_once_and_one_after_another(tmp_path: Path, room: Room) -> None:
    async def work() -> list[RunResult]:
        runner = SandboxRunner()
        rooms = [Room.make(tmp_path / str(index)) for index in range(6)]
        try:
            return await asyncio.gather(
                *(runner.run(each.request(f"sleep 0.1; exit {i}")) for i, each in enumerate(rooms))
            )
        finally:
            await runner.close()

    assert [result.exit_code for result in asyncio.run(work())] == [0, 1, 2, 3, 4, 5]


def test_many_start_at_the_same_moment(tmp_path: Path, room: Room) -> None:
    """Also those whose start needs the spawner to start, and in several engines; none waits for another for ever."""

    async def work() -> list[list[RunResult]]:
        rooms = [Room.make(tmp_path / str(index)) for index in range(8)]

        async def engine(share: list[Room]) -> list[RunResult]:
            runner = SandboxRunner()
            try:
                requests = [each.request(f"echo {index} >/out/x; exit {index}") for index, each in enumerate(share)]
                rounds = [request for request in requests for _ in range(12)]
                return await asyncio.gather(*map(runner.run, rounds))
            finally:
                await runner.close()

        return await asyncio.wait_for(asyncio.gather(engine(rooms[:4]), engine(rooms[4:])), 60)

    for results in asyncio.run(work()):
        assert [each.exit_code for each in results] == [index for index in range(4) for _ in range(12)]
        assert {each.reason for each in results} == {""}


def test_cancelling_leaves_no_process(room: Room) -> None:
    async def work() -> None:
        runner = SandboxRunner()
        script = (
            "(trap '' TERM INT HUP; setsid sleep 98765 & setsid nohup sleep 98765) & touch /out/up; wait; sleep 98765"
        )
        task = asyncio.create_task(runner.run(room.request(script)))
        while not (room.out / "up").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert processes_with("98765") == []
        await runner.close()

    asyncio.run(work())


def test_what_a_build_leaves_running_ends_with_it(room: Room) -> None:
    assert room.run("setsid nohup sleep 98764 >/dev/null 2>&1 & disown; exit 0").ok
    assert processes_with("98764") == []


def test_the_engine_dying_kills_the_build(room: Room) -> None:
    async def work() -> None:
        runner = SandboxRunner()
        task = asyncio.create_task(runner.run(room.request("touch /out/up; sleep 98763")))
        while not (room.out / "up").exists():
            await asyncio.sleep(0.01)
        # What a killed engine does to the spawner: the channel closes and nobody says goodbye.
        await runner.close()
        task.cancel()
        await asyncio.wait((task,), timeout=0)

        assert processes_with("98763") == []

    asyncio.run(work())


def test_nothing_piles_up(room: Room) -> None:
    """Descriptors and namespaces of both processes after many builds, some of which used their network."""

    async def work() -> None:
        runner = SandboxRunner()
        script = "exec 4<>/dev/udp/127.0.0.1/9; echo x >&4"
        await runner.run(room.request(script))
        process = runner._spawner._process
        assert process is not None
        places = [Path("/proc/self/fd"), Path(f"/proc/{process.pid}/fd")]
        before = [len(list(place.iterdir())) for place in places]
        for _ in range(10):
            await runner.run(room.request(script))
            await runner.run(room.request("true"))
        await asyncio.gather(*(runner.run(room.request("true")) for _ in range(4)))
        await runner.run(room.request("true"))
        after = [len(list(place.iterdir())) for place in places]
        assert after[0] == before[0]
        assert after[1] <= before[1] + 4
        await runner.close()

    asyncio.run(work())


def test_signals_that_the_engine_ignores_are_not_ignored_by_builds(room: Room) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert room.run("kill -HUP $$; echo alive").exit_code == 128 + signal.SIGHUP
        assert room.run("grep SigIgn /proc/self/status").ok
        ignored = int(room.log.rpartition("SigIgn:")[2], 16)
        # 32 and 33 belong to the C library, which lets nobody set them: they are as this test's own starter left them.
        assert ignored & ~(1 << 31 | 1 << 32) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_build_that_takes_too_long_says_so(room: Room) -> None:
    result = room.run("echo '@nexis phase check' >&3; sleep 98764", limits=Limits(wall_seconds=2))
    assert (result.exit_code, result.reason, result.phase) == (137, "it took longer than 2 s", "check")


def test_a_missing_mount_point_is_named(room: Room) -> None:
    overlay = Overlay("/usr/no-such-triplet", (room.root,))
    with pytest.raises(SandboxSpecError, match="no-such-triplet"):
        room.run("true", overlays=(*room.spec("").overlays, overlay))


def test_a_missing_input_is_named(room: Room) -> None:
    with pytest.raises(SandboxSpecError, match="no/such/file"):
        room.run("true", binds=(Bind("/in/x", Path("/no/such/file")),))


def test_a_missing_command_is_named(room: Room) -> None:
    with pytest.raises(SandboxSpecError, match="/no/such/shell"):
        room.run("", argv=("/no/such/shell",))


def test_the_spawner_dying_is_an_error_and_not_the_end(room: Room) -> None:
    async def work() -> RunResult:
        runner = SandboxRunner()
        task = asyncio.create_task(runner.run(room.request("touch /out/up; sleep 98762")))
        while not (room.out / "up").exists():
            await asyncio.sleep(0.01)
        process = runner._spawner._process
        assert process is not None
        process.kill()
        with pytest.raises(SandboxError, match="ended"):
            await task
        await asyncio.sleep(0.2)
        assert processes_with("98762") == [], "a killed spawner takes its builds along"
        result = await runner.run(room.request("true"))
        await runner.close()
        return result

    assert asyncio.run(work()).ok


@pytest.mark.parametrize("cut", [lambda data: [data], lambda data: [data[i : i + 1] for i in range(len(data))]])
def test_phase_lines_however_they_are_cut(cut: Callable[[bytes], list[bytes]]) -> None:
    seen: list[str] = []
    reader = PhaseReader(seen.append)
    for piece in cut(
        b"@nexis phase a\njunk\n@nexis phase b \x1b[31m\n" + b"x" * 5000 + b"\n@nexis phase c\n@nexis phase d"
    ):
        reader.feed(piece)
    assert seen[:2] == ["a", "b [31m"]
    assert seen[2:] == ["c"]
