"""Busybox as process 1: inittab, what runs once at the start, what runs at the end."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

RC_START = """\
#!/bin/sh
# Runs once, before the services.
export PATH=/usr/sbin:/usr/bin
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mountpoint -q /dev/pts || mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mountpoint -q /dev/shm || mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
mountpoint -q /run || mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mount -o remount,rw / 2>/dev/null
hostname -F /etc/hostname
# Drivers of the devices that are there, by the aliases in modules.alias.
find /sys/devices -name modalias -exec cat {} + 2>/dev/null | sort -u | xargs modprobe -q -a -b 2>/dev/null
for part in /etc/rc.d/*; do [ -x "$part" ] && "$part"; done
syslogd -s 1000 -b 3
klogd
/etc/init.d/network
[ -d /var/spool/cron/crontabs ] && crond
true
"""

RC_STOP = """\
#!/bin/sh
# Runs at shutdown.
export PATH=/usr/sbin:/usr/bin
for service in /etc/sv/*; do [ -d "$service" ] && sv -w 5 force-stop "$service" >/dev/null; done
sync
umount -a -r 2>/dev/null
true
"""


def _entries(console: str) -> Iterator[Entry]:
    inittab = (
        "::sysinit:/etc/init.d/rcS\n"
        "::respawn:/usr/bin/runsvdir -P /etc/sv\n"
        f"{console}::respawn:/sbin/getty -L 115200 {console} vt100\n"
        "tty1::respawn:/sbin/getty 38400 tty1\n"
        "::ctrlaltdel:/sbin/reboot\n"
        "::shutdown:/etc/init.d/rcK\n"
        "::restart:/sbin/init\n"
    )
    yield Entry("etc/inittab", text=inittab)
    yield Entry("etc/init.d/rcS", text=RC_START, mode=0o755)
    yield Entry("etc/init.d/rcK", text=RC_STOP, mode=0o755)
    yield Entry("etc/rc.d")


def init(system: System) -> DerivationId:
    """The start of the system as a part."""
    return system.files("system-init", _entries(system.platform.console))
