"""examples/packages, booted: the packages built from source do their work in the running system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.machine import LOGIN_SECONDS, Machine

# Building all of them takes too long for `make boot`.
pytestmark = [pytest.mark.cross, pytest.mark.timeout(7200)]

PASSWORD = "nexis"

WORK = (
    ("bash", """bash -c 'a=(x y z); echo "${MACHTYPE%%-*} ${#a[@]}"'""", "{arch} 3"),
    ("readline", "bash -c 'bind -P' 2>/dev/null | grep -c '^reverse-search-history '", "1"),
    ("C.UTF-8", r"""bash -c 'x=$(printf "\303\244"); echo ${#x}'""", "1"),
    ("bzip2", "bzip2 -9 </etc/motd | bzip2 -dc | cmp - /etc/motd && echo same", "same"),
    (
        "curl",
        "httpd -p 127.0.0.1:8000 -h /etc && curl -s http://127.0.0.1:8000/motd | cmp - /etc/motd && echo same",
        "same",
    ),
    ("curl and mbedtls", "curl --version | grep -o 'mbedTLS/[0-9.]*'", "mbedTLS/2.28.3"),
    (
        "e2fsprogs",
        "mke2fs -q -F -t ext4 /tmp/disk 4M >/dev/null && e2fsck -fn /tmp/disk >/dev/null 2>&1 && echo clean",
        "clean",
    ),
    ("fuse3", "stat -c %a /usr/bin/fusermount3", "4755"),
    ("go-md2man", "printf '# NAME\\n' | go-md2man | grep -c '^.TH NAME'", "1"),
    ("jq", """echo '{"a": [1, 41]}' | jq '.a | add'""", "42"),
    ("jq and oniguruma", """echo '"a1b22"' | jq -c '[scan("[0-9]+")]'""", '["1","22"]'),
    ("less", "less -FX /etc/motd | cmp - /etc/motd && echo same", "same"),
    ("lz4", "lz4 -c /etc/motd | lz4 -dc | cmp - /etc/motd && echo same", "same"),
    ("nano", "nano --version | grep -o 'version 7.2'", "version 7.2"),
    ("ncurses", "tput -T xterm-256color colors", "256"),
    ("pkgconf", "pkgconf --version", "1.8.1"),
    ("sqlite", "sqlite3 /tmp/db 'create table t(n); insert into t values(6),(7); select min(n)*max(n) from t'", "42"),
    ("strace", "strace -f -e trace=uname -o /tmp/trace uname >/dev/null && grep -c sysname /tmp/trace", "1"),
    ("tree", "mkdir -p /tmp/a/b && tree --noreport -i /tmp/a | tail -n 1", "b"),
    ("tzdata", "TZ=Asia/Kolkata date +%Z", "IST"),
    ("vim", "echo one >/tmp/text && vim -es -c '%s/one/two/' -c wq /tmp/text; cat /tmp/text", "two"),
    ("xz", "xz -c /etc/motd | xz -dc | cmp - /etc/motd && echo same", "same"),
    ("zstd", "zstd -qc /etc/motd | zstd -dqc | cmp - /etc/motd && echo same", "same"),
)
"""What it shows, a command, and what that prints."""


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        pytest.param("x86_64", ("--iso",), id="x86_64-bios"),
        pytest.param("aarch64", (), id="aarch64-direct"),
        pytest.param("riscv64", (), id="riscv64-direct"),
    ],
)
def test_packages_work_in_the_running_system(images: Callable[..., Path], arch: str, options: tuple[str, ...]) -> None:
    with Console([str(images(arch, "packages") / "run-qemu.sh"), *options]) as console:
        console.wait_for(r"NEXIS-HEARTBEAT started", LOGIN_SECONDS, consume=False)
        machine = Machine(console)
        machine.log_in("root", PASSWORD)
        assert machine.run("hostname") == "packages"
        found = {name: machine.run(command, check=False) for name, command, _ in WORK}
        assert found == {name: printed.format(arch=arch) for name, _, printed in WORK}
        console.send("poweroff\n")
        assert console.ended(120) == 0
