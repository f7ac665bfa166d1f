"""Builds that try to do harm. Each test tries for real and then looks whether the harm was done."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval.execute.runner import RunResult, SandboxRun, SandboxRunner
from nexis_eval.sandbox import seccomp
from nexis_eval.sandbox.defaults import OUTPUT_BYTES, counts_processes_by_namespace, machine_memory, resolved
from nexis_eval.sandbox.spec import Identity, Limits, Overlay
from nexis_eval.sandbox.wire import MORE_PROCESSES
from tests.eval.sandbox.rooms import Room

AS_ROOT = Identity(user="root", uid=0, gid=0)
MIB = 1 << 20


@pytest.fixture(params=[Identity(), AS_ROOT], ids=["build", "root"])
def identity(request: pytest.FixtureRequest) -> Identity:
    value: Identity = request.param
    return value


@pytest.fixture
def perl() -> str:
    found = shutil.which("perl", path="/usr/bin")
    if found is None:
        pytest.skip("no /usr/bin/perl to make system calls with")
    return found


def test_cannot_see_the_hosts_files(room: Room, identity: Identity) -> None:
    secret = room.path / "secret"
    secret.write_text("hosts-secret")
    script = f"""
        cat {secret} /proc/1/root{secret} /proc/self/root{secret} /proc/self/fd/1/../secret /../..{secret}
        for pid in /proc/[0-9]*; do cat $pid/root{secret} $pid/cwd/../secret; done
        nsenter --target 1 --mount cat {secret}
        unshare --user --map-root-user --mount cat {secret}
        cd / && exec 5</ && chroot /build cat /proc/self/fd/5/..{secret}
        find / -xdev -name secret
        cat /proc/1/environ /proc/1/maps
        ls /root /home
        true
    """
    assert room.run(script, identity=identity).ok
    assert "hosts-secret" not in room.log
    assert "/secret\n" not in room.log


def test_cannot_reach_a_server_on_the_hosts_loopback(room: Room) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("127.0.0.1", 0))
        datagrams.setblocking(False)
        server.setblocking(False)
        tcp, udp = server.getsockname()[1], datagrams.getsockname()[1]
        assert not room.run(f"echo x >/dev/udp/127.0.0.1/{udp}; echo x >/dev/tcp/127.0.0.1/{tcp}").ok
        with pytest.raises(BlockingIOError):
            server.accept()
        with pytest.raises(BlockingIOError):
            datagrams.recv(1)


def test_cannot_reach_an_abstract_socket_of_the_host(room: Room, perl: str) -> None:
    name = f"nexis-test-{os.getpid()}"
    program = r'use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un("\0$ARGV[0]")) or exit 3'
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(f"\0{name}")
        server.listen()
        assert room.run("", argv=(perl, "-e", program, name)).exit_code == 3


def test_cannot_reach_the_network_or_the_hypervisor(room: Room, perl: str) -> None:
    # 17: raw packets; 40: vsock, which network namespaces do not confine; 38: the kernel's crypto.
    program = "for (17, 38, 40) { print $!+0, qq(\\n) unless socket(my $s, $_, 3, 0) or socket($s, $_, 1, 0) }"
    assert room.run("", argv=(perl, "-e", f"use Socket; {program}")).ok
    assert room.log.split() == ["97", "97", "97"]
    assert room.run("getent hosts example.org; exec 4<>/dev/tcp/192.0.2.1/53").exit_code == 1


@pytest.mark.parametrize("command", ["echo x >{}", "rm {}", "chmod 777 {}", "mv {} /tmp/", "touch {}", "ln {} /out/x"])
def test_cannot_change_the_store_through_its_layers(room: Room, identity: Identity, command: str) -> None:
    file = room.root / "etc/file"
    file.write_text("kept")
    file.chmod(0o666)
    (room.root / "etc").chmod(0o777)
    other = room.path / "other"
    other.mkdir()
    before = file.stat()
    overlays = (Overlay("/", (other, room.root)), Overlay("/usr", (Path("/usr"),)))
    for layers in (overlays, room.spec("").overlays):
        assert not room.run(command.format("/etc/file"), overlays=layers, identity=identity).ok
        room.run(
            "mount -o remount,rw / ; exec 5</etc/file; echo x >/proc/self/fd/5", overlays=layers, identity=identity
        )
    after = file.stat()
    assert file.read_text() == "kept"
    assert (before.st_mode, before.st_mtime_ns, before.st_nlink) == (after.st_mode, after.st_mtime_ns, after.st_nlink)


def test_cannot_write_anywhere_else(room: Room, identity: Identity) -> None:
    """Every directory that it can see is tried; what is left are its own, and the files of its own processes."""
    script = """
        find / -xdev -type d 2>/dev/null >/build/places
        find /proc /dev /in /tmp /sys -maxdepth 2 -type d 2>/dev/null >>/build/places
        while read -r place; do
            if { true >"$place/intruder"; } 2>/dev/null; then echo "$place"; fi
        done </build/places | grep -vE '^/(build|out|tmp|dev/shm)(/|$)'
        for file in /etc/passwd /in/script /usr/bin/true /dev/intruder /proc/sys/kernel/hostname; do
            if (echo x >>"$file") 2>/dev/null; then echo "wrote $file"; fi
        done
        ! mkdir /new /usr/new /in/new 2>/dev/null || echo made
        true
    """
    assert room.run(script, identity=identity).ok, room.log
    assert room.log == ""
    assert not (room.root / "intruder").exists()


def test_cannot_outlive_its_build(room: Room, identity: Identity) -> None:
    """Whatever it leaves running, in sessions of its own or deaf to every signal, is gone when it has ended."""
    script = """
        daemon() {
            trap '' HUP INT TERM QUIT USR1
            exec 0<&- 1>&- 2>&- 3>&-
            while :; do echo x >>/out/alive; sleep 0.01; done
        }
        (setsid bash -c "$(declare -f daemon); daemon" &) &
        (daemon &) &
        nohup setsid sleep 98751 &
        disown -a
        sleep 0.1
    """
    assert room.run(script, identity=identity).ok
    size = (room.out / "alive").stat().st_size
    assert size > 0
    time.sleep(0.3)
    assert (room.out / "alive").stat().st_size == size
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(b"98751" in command for command in commands)


def test_a_set_user_id_program_gains_nothing(room: Room) -> None:
    assert room.run(
        "cp /usr/bin/id /build/id && chmod 4755 /build/id && /build/id -u; grep NoNewPrivs /proc/self/status"
    ).ok
    assert room.log.split() == ["1000", "NoNewPrivs:", "1"]


def test_cannot_change_the_kernels_settings(room: Room, identity: Identity) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    script = (
        "for f in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sys/kernel/hostname; do echo x >$f; done"
    )
    assert not room.run(script, identity=identity).ok
    assert not room.run("echo h >/proc/sysrq-trigger", identity=identity).ok
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_cannot_disturb_the_first_process(room: Room, identity: Identity) -> None:
    assert room.run("kill -9 1; kill -INT 1; kill -TERM 1; sleep 0.05; exit 5", identity=identity).exit_code == 5


def test_cannot_look_into_the_first_process(room: Room, perl: str, identity: Identity) -> None:
    """That one shares the build's user namespace, and knows what the sandbox was told."""
    ptrace, read_memory = (101, 310) if platform.machine() == "x86_64" else (117, 270)
    attach, seize = 16, 0x4206
    program = f"""
        for ({attach}, {seize}) {{ print "traced\\n" if syscall({ptrace}, $_, 1, 0, 0) == 0 }}
        my $buffer = "x" x 4096;
        my $ours = pack("PQ", $buffer, 4096);
        for my $at (0x400000, 0x555555554000, 0x7ffff7fc0000) {{
            print "read\\n" if syscall({read_memory}, 1, $ours, 1, pack("QQ", $at, 4096), 1, 0) > 0;
        }}
        for (qw(mem maps environ fd root cwd exe stat)) {{ print "saw $_\\n" if -e "/proc/1/$_" }}
        opendir my $all, "/proc"; print "listed\\n" if grep {{ $_ eq "1" }} readdir $all;
        print "tried\\n";
    """
    assert room.run("", argv=(perl, "-e", program), identity=identity).ok
    assert room.log.split() == ["tried"]


def test_refused_system_calls(room: Room, perl: str, identity: Identity) -> None:
    column = 0 if platform.machine() == "x86_64" else 1
    denied = {name: each[column] for name, each in seccomp._DENIED.items() if each[column] >= 0}
    unknown = {name: each[column] for name, each in seccomp._UNKNOWN.items()}
    numbers = " ".join(map(str, [*denied.values(), *unknown.values()]))
    program = "for (@ARGV) { syscall($_, 0, 0, 0, 0, 0); print $!+0, qq(\\n) }"
    assert room.run(f"perl -e '{program}' {numbers}", identity=identity).ok
    answers = dict(zip([*denied, *unknown], map(int, room.log.split()), strict=True))
    assert {name: answers[name] for name in denied} == dict.fromkeys(denied, 1)
    assert {name: answers[name] for name in unknown} == dict.fromkeys(unknown, 38)


def test_cannot_make_namespaces_but_threads(room: Room, perl: str, identity: Identity) -> None:
    for flag in ("--user", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--time"):
        assert not room.run(f"unshare {flag} true", identity=identity).ok, flag
    assert "Operation not permitted" in room.log
    assert room.run("xargs -P4 -n1 true <<<'1 2 3 4'", identity=identity).ok


def test_memory_of_one_process(room: Room, perl: str) -> None:
    result = room.run("", argv=(perl, "-e", "push @x, 'x' x 1e6 while 1"), limits=Limits(memory_bytes=96 * MIB))
    assert not result.ok
    assert result.reason == "it used more than 96 MiB of memory"
    assert result.max_rss_bytes < 256 * MIB


def test_memory_of_many_processes_and_of_tmp(room: Room, perl: str) -> None:
    many = "for i in {1..8}; do perl -e '$x = q(x) x 30e6; sleep 60' & done; wait"
    assert room.run(many, limits=Limits(memory_bytes=128 * MIB)).reason == "it used more than 128 MiB of memory"
    fill = "head -c 200M /dev/zero >/tmp/x; sleep 60"
    assert room.run(fill, limits=Limits(memory_bytes=128 * MIB)).reason == "it used more than 128 MiB of memory"


@pytest.mark.parametrize(
    "program",
    [
        "import mmap; m = mmap.mmap(-1, 300 << 20); [m.write(b'x' * (1 << 20)) for _ in range(300)]",
        "import os; f = os.memfd_create('x'); [os.write(f, b'x' * (1 << 20)) for _ in range(300)]",
    ],
    ids=["shared", "nameless file"],
)
def test_memory_that_is_no_process_own(room: Room, program: str) -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no /usr/bin/python3")
    argv = ("/usr/bin/python3", "-c", f"import time; {program}; time.sleep(60)")
    assert (
        room.run("", argv=argv, limits=Limits(memory_bytes=128 * MIB)).reason == "it used more than 128 MiB of memory"
    )


def test_memory_in_segments(room: Room, perl: str) -> None:
    one = "my $id = shmget(0, 40e6, 0600) // die $!; shmwrite($id, q(x) x 40e6, 0, 40e6) or die $!"
    program = f"for (1..8) {{ {one} }} sleep 60"
    result = room.run("", argv=(perl, "-e", program), limits=Limits(memory_bytes=200 * MIB))
    assert result.reason == "it used more than 200 MiB of memory", room.log


def test_memory_shared_after_fork_counts_once(room: Room, perl: str) -> None:
    program = "$x = q(x) x 40e6; for (1..8) { unless (fork) { sleep 1; exit } } 1 while wait > 0"
    result = room.run("", argv=(perl, "-e", program), limits=Limits(memory_bytes=160 * MIB))
    assert (result.exit_code, result.reason) == (0, "")


def test_a_fork_bomb(room: Room, identity: Identity) -> None:
    result = room.run("bomb() { bomb | bomb & }; bomb; sleep 60", limits=Limits(processes=64), identity=identity)
    assert result.reason == "it had more than 64 processes"


def test_the_kernel_stops_a_fork_bomb_before_anybody_looks(room: Room, perl: str, identity: Identity) -> None:
    """Watching takes 50 ms to see anything, in which thousands of processes can be born."""
    if not counts_processes_by_namespace():
        pytest.skip("before Linux 5.14 all processes of a user count together")
    program = """
        open my $count, ">", "/out/count";
        while (defined(my $child = fork)) { sleep 60, exit unless $child; syswrite $count, "x" }
        syswrite $count, "refused";
        sleep 60;
    """
    result = room.run("", argv=(perl, "-e", program), limits=Limits(processes=64), identity=identity)
    assert result.reason == "it had more than 64 processes"
    # The build itself is one of them, and so is the first process of the sandbox.
    assert (room.out / "count").read_text().count("x") <= 64 + MORE_PROCESSES - 2
    # However fast the watch is: fewer than it looks for are refused, too.
    room.run("ulimit -u 20; for i in {1..40}; do sleep 9 & done; kill -9 $$", identity=identity)
    assert "fork: retry: Resource temporarily unavailable" in room.log


def test_each_build_has_processes_of_its_own(room: Room, tmp_path: Path) -> None:
    """What other builds of the same user have does not count."""
    if not counts_processes_by_namespace():
        pytest.skip("before Linux 5.14 all processes of a user count together")
    rooms = [Room.make(tmp_path / str(number)) for number in range(3)]

    async def work() -> list[RunResult]:
        runner = SandboxRunner()
        script = "for i in {1..40}; do sleep 2 & done; wait"
        try:
            requests = [each.request(script, limits=Limits(processes=60)) for each in rooms]
            return await asyncio.gather(*map(runner.run, requests))
        finally:
            await runner.close()

    assert [(each.exit_code, each.reason) for each in asyncio.run(work())] == [(0, "")] * 3


def test_limits_hold_where_nobody_asked_for_any(room: Room, identity: Identity) -> None:
    """Kilobytes, of files and of /tmp, and processes."""
    limits = resolved(Limits())
    assert None not in (limits.processes, limits.memory_bytes, limits.output_bytes, limits.log_bytes)
    script = "ulimit -f; ulimit -u; df --output=size -k /tmp | tail -n1"
    assert room.run(script, identity=identity).ok
    file, processes, temporary = room.log.split()
    assert int(file) == OUTPUT_BYTES // 1024
    if counts_processes_by_namespace():
        assert int(processes) <= (limits.processes or 0) + MORE_PROCESSES
    assert int(temporary) * 1024 <= machine_memory() // 2 + 4096


def test_nobody_is_the_machines_root(room: Room, identity: Identity) -> None:
    """Root without any power still owns what the kernel shows in /proc."""
    readable = [path for path in ("/proc/slabinfo", "/proc/kpagecount", "/proc/vmallocinfo") if Path(path).exists()]
    before = {path: path.stat().st_mode for path in Path("/proc").iterdir() if path.is_file()}
    script = f"""
        read -r _ outside _ </proc/self/uid_map; [[ $outside != 0 ]] || (( {os.geteuid()} )) || echo "is root"
        for file in /proc/*; do
            [[ $file == /proc/[0-9]* || -L $file ]] || ! chmod 0666 "$file" 2>/dev/null || echo "changed $file"
        done
        for file in {" ".join(readable)}; do ! head -c1 "$file" >/dev/null 2>&1 || echo "read $file"; done
        echo again >/dev/stderr; echo x >/out/x; mkdir /out/d
        stat -c %u /out/d /build /out /tmp /in /dev /dev/shm /etc /in
    """
    assert room.run(script, identity=identity).ok
    user = "0" if identity is AS_ROOT else "1000"
    assert room.log.split() == ["again", *[user] * 9]
    assert before == {path: path.stat().st_mode for path in before}


def test_one_large_file(room: Room) -> None:
    result = room.run("head -c 64M /dev/zero >/build/big; exit 1", limits=Limits(output_bytes=8 * MIB))
    assert result.reason == "it wrote a file of 8 MiB or more: /build/big"
    assert (room.build / "big").stat().st_size == 8 * MIB


def test_an_endless_log(room: Room) -> None:
    result = room.run("yes", limits=Limits(output_bytes=4 * MIB))
    assert result.exit_code == 128 + 25
    assert result.reason == "it wrote a log of 4 MiB or more"
    assert (room.path / "log").stat().st_size == 4 * MIB
    result = room.run("yes", limits=Limits(log_bytes=4 * MIB))
    assert result.reason == "it wrote a log of 4 MiB or more"


def test_many_files(room: Room) -> None:
    script = "for i in {1..40}; do head -c 1M /dev/zero >/{}/$i; done"
    result = room.run(script.replace("{}", "out"), limits=Limits(output_bytes=16 * MIB))
    assert (result.ok, result.reason) == (False, "it wrote more than 16 MiB to /out")
    result = room.run(f"{script.replace('{}', 'build')}; sleep 60", limits=Limits(disk_bytes=16 * MIB))
    assert result.reason == "it wrote more than 16 MiB to disk"


@pytest.mark.parametrize(
    ("place", "limits", "reason"),
    [
        ("/build", Limits(disk_bytes=8 * MIB), "it wrote more than 8 MiB to disk"),
        ("/out", Limits(output_bytes=8 * MIB), "it wrote more than 8 MiB to /out"),
        ("/tmp", Limits(memory_bytes=48 * MIB), "it used more than 48 MiB of memory"),
    ],
)
def test_files_without_content_count_too(room: Room, perl: str, place: str, limits: Limits, reason: str) -> None:
    """Inodes run out before the blocks do, and on a tmpfs they are memory."""
    program = f"for (1..60000) {{ open F, '>', qq({place}/$_) or die }} sleep 60"
    assert room.run("", argv=(perl, "-e", program), limits=limits).reason == reason


def test_root_without_another_user_to_build_as(room: Room, tmp_path: Path) -> None:
    """Some file systems cannot be shown as somebody else's: what is the machine's is closed all the same."""
    program = shutil.which("disorderfs")
    if os.geteuid() != 0 or program is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs root and disorderfs")
    place = tmp_path / "elsewhere"
    place.mkdir()
    other = Room(place)

    async def work() -> RunResult:
        runner = SandboxRunner((program, str(room.path), str(place), "--sort-dirents=yes"))
        script = """
            for file in /proc/*; do
                [[ $file == /proc/[0-9]* || -L $file ]] || ! chmod 0666 "$file" 2>/dev/null || echo "changed $file"
            done
            cat /proc/slabinfo /proc/kpagecount /proc/vmallocinfo 2>/dev/null
            head -n1 /proc/meminfo >/out/seen; echo x >/proc/self/comm
        """
        spec = replace(room.spec(script), build_directory=other.build, out_directory=other.out)
        try:
            return await runner.run(SandboxRun(spec, room.path / "log"))
        finally:
            await runner.close()

    assert asyncio.run(work()).ok
    assert room.log == ""
    assert (room.out / "seen").read_text().startswith("MemTotal:")


def test_a_file_of_holes_counts_as_what_it_claims(room: Room, perl: str) -> None:
    program = "open F, '>', '/out/holes'; truncate F, 1 << 42 or die; sleep 1"
    result = room.run("", argv=(perl, "-e", program), limits=Limits(output_bytes=8 * MIB))
    assert not result.ok
    assert not (room.out / "holes").exists() or (room.out / "holes").stat().st_size <= 8 * MIB
    many = "for (1..5) { open F, '>', qq(/out/$_); truncate F, 6 << 20 or die }"
    result = room.run("", argv=(perl, "-e", many), limits=Limits(output_bytes=16 * MIB))
    assert result.reason == "it wrote more than 16 MiB to /out"


def test_a_file_with_many_names_counts_once(room: Room) -> None:
    script = "head -c 8M /dev/zero >/out/x; for i in {1..20}; do ln /out/x /out/$i; done"
    assert room.run(script, limits=Limits(output_bytes=16 * MIB, disk_bytes=16 * MIB)).ok


def test_device_nodes_cannot_be_made(room: Room, perl: str, identity: Identity) -> None:
    number = 133 if platform.machine() == "x86_64" else 33
    arguments = "" if platform.machine() == "x86_64" else "-100, "
    program = (
        f"my $at = '/out/null'; syscall({number}, {arguments}$at, 020666, 259) == 0 and print 'made'; print 'tried'"
    )
    assert room.run("", argv=(perl, "-e", program), identity=identity).ok
    assert room.log == "tried"
    assert not (room.out / "null").exists()


def test_files_deeper_than_a_path_can_tell(room: Room, perl: str) -> None:
    program = "$d = q(d) x 30; for (1..300) { mkdir $d; chdir $d } open F, q(>f); print F q(x) x 32e6; sleep 60"
    result = room.run("", argv=(perl, "-e", program), limits=Limits(disk_bytes=16 * MIB))
    assert result.reason == "it wrote more than 16 MiB to disk"


def test_generous_limits_change_nothing(room: Room) -> None:
    limits = Limits(wall_seconds=60, memory_bytes=1 << 30, processes=500, output_bytes=1 << 30, disk_bytes=1 << 30)
    result = room.run("(setsid sleep 0.1 &); sleep 0.3; echo done >/out/x; exit 3", limits=limits)
    assert (result.exit_code, result.reason) == (3, "")
