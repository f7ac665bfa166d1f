"""What a build sees: root, writable places, devices, identity, and what it does not see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexis_eval.sandbox.spec import Bind, Identity, Overlay
from tests.eval.sandbox.rooms import Room


def test_layers_merge_with_the_first_on_top(room: Room) -> None:
    upper, lower = room.path / "upper", room.path / "lower"
    for layer in (upper, lower):
        (layer / "etc").mkdir(parents=True)
        (layer / "etc/both").write_text(layer.name)
        (layer / f"etc/{layer.name}").write_text("")
    overlays = (Overlay("/", (upper, lower, room.root)), Overlay("/usr", (Path("/usr"),)))
    assert room.run("cat /etc/both; echo; ls /etc", overlays=overlays).ok
    assert room.log.split() == ["upper", "both", "lower", "upper"]


@pytest.mark.parametrize("count", [300, 1100], ids=["one overlay", "more than one can have"])
def test_many_layers_with_long_paths(room: Room, count: int) -> None:
    layers = []
    for index in range(count):
        layer = room.path / ("long" * 30) / str(index)
        (layer / "etc").mkdir(parents=True)
        (layer / f"etc/file-{index}").write_text("")
        (layer / "etc/all").write_text(str(index))
        layers.append(layer)
    overlays = (Overlay("/", (*layers, room.root)), Overlay("/usr", (Path("/usr"),)))
    assert room.run("ls /etc | wc -l; cat /etc/all; test -c /dev/null && ls /dev/shm", overlays=overlays).ok
    assert room.log.split() == [str(count + 1), "0"]


def test_a_layer_below_the_root(room: Room) -> None:
    (room.root / "etc/sub").mkdir()
    first, second = room.path / "first", room.path / "second"
    for layer in (first, second):
        layer.mkdir()
        (layer / layer.name).write_text("")
    overlays = (*room.spec("").overlays, Overlay("/etc/sub", (first, second)))
    assert room.run("ls /etc/sub", overlays=overlays).ok
    assert room.log.split() == ["first", "second"]


def test_a_link_in_a_layer_cannot_lead_a_mount_outside(room: Room) -> None:
    outside = room.path / "outside"
    outside.mkdir()
    (room.root / "etc/sub").symlink_to(outside)
    overlays = (*room.spec("").overlays, Overlay("/etc/sub", (room.root,)))
    with pytest.raises(Exception, match="/etc/sub"):
        room.run("true", overlays=overlays)


def test_inputs_are_bound_below_in(room: Room) -> None:
    directory = room.path / "source"
    directory.mkdir()
    (directory / "file").write_text("content")
    binds = (Bind("/in/source", directory), Bind("/in/deep/er/file", directory / "file"))
    assert room.run("cat /in/source/file /in/deep/er/file; ls /in", binds=binds).ok
    assert room.log.split() == ["contentcontentdeep", "source"]


@pytest.mark.parametrize(
    "path",
    ["/x", "/usr/x", "/etc/x", "/in/x", "/in/source/x", "/in/source/file", "/dev/x", "/proc/sys/kernel/hostname"],
)
def test_nothing_else_is_writable(room: Room, path: str) -> None:
    source = room.path / "source"
    source.mkdir(mode=0o777)
    (source / "file").write_text("content")
    (source / "file").chmod(0o666)
    assert not room.run(f"echo x >{path}", binds=(Bind("/in/source", source),)).ok
    assert "Read-only file system" in room.log or "Permission denied" in room.log
    assert (source / "file").read_text() == "content"


@pytest.mark.parametrize("path", ["/build/x", "/out/x", "/tmp/x", "/dev/shm/x", "/dev/null"])
def test_writable_places(room: Room, path: str) -> None:
    assert room.run(f"echo x >{path}").ok, room.log


def test_what_is_built_belongs_to_the_caller(room: Room) -> None:
    assert room.run("mkdir /out/d; echo x >/out/d/f; chmod 0750 /out/d/f; stat -c %u:%g /out/d/f").ok
    status = (room.out / "d/f").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (os.geteuid(), os.getegid(), 0o750)
    assert room.log.strip() == "1000:1000"


def test_identity(room: Room) -> None:
    assert room.run("id -u; id -g; hostname; umask; pwd; cat /proc/sys/kernel/domainname; uname -n").ok
    assert room.log.split() == ["1000", "1000", "nexis", "0022", "/build", "nexis"]


def test_another_identity(room: Room) -> None:
    identity = Identity(hostname="elsewhere", uid=4321, gid=1234, umask=0o077, kernel_2_6=True)
    assert room.run("id -u; id -g; hostname; umask; uname -r; touch /out/x", identity=identity).ok
    uid, gid, host, umask, release = room.log.split()
    assert (uid, gid, host, umask, release[:4]) == ("4321", "1234", "elsewhere", "0077", "2.6.")
    assert (room.out / "x").stat().st_mode & 0o777 == 0o600


def test_root_inside_is_the_caller_outside(room: Room) -> None:
    identity = Identity(user="root", uid=0, gid=0)
    assert room.run("id -u; touch /out/x; chown 0:0 /out/x; chown 1:1 /out/x", identity=identity).exit_code == 1
    assert room.log.startswith("0\n")
    assert (room.out / "x").stat().st_uid == os.geteuid()


def test_environment_is_exactly_the_given_one(room: Room) -> None:
    assert room.run("", argv=("/usr/bin/env",), env=(("B", "2"), ("A", "ä"))).ok
    assert sorted(room.log.splitlines()) == ["A=ä", "B=2"]


def test_addresses_are_the_same_in_every_run(room: Room) -> None:
    script = "grep -m1 stack /proc/self/maps"
    room.run(f"{script}; {script}")
    same = set(room.log.split("\n")[:2])
    assert len(same) == 1
    (room.path / "log").unlink()
    room.run(f"{script}; {script}", identity=Identity(aslr=True))
    assert set(room.log.split("\n")[:2]).isdisjoint(same)


def test_number_of_processors(room: Room) -> None:
    assert room.run("nproc", cpus=1).ok
    assert room.log.strip() == "1"


def test_the_clock_that_can_be_shifted_is_shifted(room: Room) -> None:
    room.run("cut -d. -f1 /proc/uptime", identity=Identity(clock_offset_seconds=86400 * 400))
    assert int(room.log) > 86400 * 400


def test_descriptors(room: Room) -> None:
    room.run("", argv=("/usr/bin/ls", "/proc/self/fd"))
    assert room.log.split() == ["0", "1", "2", "3", "4"]  # 4 is the directory being listed


def test_own_processes_only_and_not_the_first(room: Room) -> None:
    room.run("ls -d /proc/[0-9]*; cat /proc/1/cmdline")
    assert room.log.startswith("/proc/2\ncat: /proc/1/cmdline: ")


def test_terminals_can_be_made(room: Room) -> None:
    room.run("script -qec 'tty' /dev/null </dev/null")
    assert room.log.strip() == "/dev/pts/0"


def test_only_a_loopback_interface_and_it_is_up(room: Room) -> None:
    room.run("tail -n+3 /proc/net/dev | cut -d: -f1; (echo >/dev/tcp/127.0.0.1/9) 2>&1; cat /proc/net/route | wc -l")
    assert room.log.split()[0] == "lo"
    assert "Connection refused" in room.log


def test_jobserver_fifo(room: Room) -> None:
    fifo = room.path / "jobs"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    os.write(descriptor, b"+")
    assert room.run(
        "exec 4<>/in/jobserver; read -rn1 token <&4; echo got $token; echo -n $token >&4", jobserver=fifo
    ).ok
    assert room.log == "got +\n"
    assert os.read(descriptor, 1) == b"+"
    os.close(descriptor)
