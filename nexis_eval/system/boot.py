"""``[system]`` and ``[system.locale]``: the skeleton of the root file system, names, and how busybox starts it."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.graph.derivation import Entry
from nexis_eval.quoting import assignments, shell
from nexis_eval.system.context import System
from nexis_eval.system.templates import render, text
from nexis_store.digest import DerivationId

DIRECTORIES = (
    "dev",
    "etc/profile.d",
    "home",
    "mnt",
    "opt",
    "proc",
    "run",
    "srv",
    "sys",
    "usr/bin",
    "usr/lib",
    "usr/sbin",
    "var/cache",
    "var/lib",
    "var/log",
    "var/spool",
)
LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "etc/mtab": "../proc/self/mounts",
    "etc/os-release": "../usr/lib/os-release",
    "var/lock": "../run/lock",
    "var/run": "../run",
}
"""Merged /usr (https://uapi-group.org/specifications/specs/linux_file_system_hierarchy), and old names of /run."""

SHELLS = "/bin/sh\n/bin/ash\n/bin/bash\n"


def _os_release(system: System) -> str:
    """os-release(5)."""
    version = system.config.system.version
    return assignments(
        {
            "NAME": "NexisOS",
            "ID": "nexisos",
            "VERSION": version,
            "VERSION_ID": version,
            "PRETTY_NAME": f"NexisOS {version}",
        }.items()
    )


def _skeleton(system: System) -> Iterator[Entry]:
    for path in DIRECTORIES:
        yield Entry(path)
    yield Entry("root", mode=0o700)
    yield Entry("tmp", mode=0o1777)
    yield Entry("var/tmp", mode=0o1777)
    for path, target in LINKS.items():
        yield Entry(path, target=target)
    if system.platform.arch == "x86_64":
        yield Entry("usr/lib64")
        yield Entry("lib64", target="usr/lib64")
    yield Entry("etc/shells", text=SHELLS)
    yield Entry("etc/profile", text=text("profile"))
    yield Entry("etc/fstab", text="# What is always there is mounted without being listed here.\n")


def _names(system: System) -> Iterator[Entry]:
    settings = system.config.system
    yield Entry("etc/hostname", text=settings.hostname + "\n")
    yield Entry("etc/hosts", text=f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {settings.hostname}\n")
    yield Entry("usr/lib/os-release", text=_os_release(system))
    yield Entry("etc/issue", text=f"NexisOS {settings.version} \\n \\l\n\n")
    yield Entry("etc/locale.conf", text=assignments([("LANG", settings.locale.lang)]))
    yield Entry("etc/profile.d/locale.sh", text=f"export LANG={shell(settings.locale.lang)}\n")
    yield Entry("etc/vconsole.conf", text=assignments([("KEYMAP", settings.locale.keyboard_layout)]))
    yield Entry("etc/timezone", text=settings.timezone + "\n")


def _busybox(system: System) -> Iterator[Entry]:
    terminals = (system.platform.console, "tty1")
    yield Entry("etc/inittab", text=render("inittab.j2", terminals=terminals))
    yield Entry("etc/init.d/rcS", text=text("rcS"), mode=0o755)
    yield Entry("etc/init.d/rcK", text=text("rcK"), mode=0o755)
    yield Entry("usr/libexec/nexis/terminal", text=text("terminal"), mode=0o755)


def skeleton(system: System) -> DerivationId:
    """Directories, links and files that every system has alike."""
    return system.files("system-skeleton", _skeleton(system))


def names(system: System) -> DerivationId:
    """Host name, version, time zone, locale."""
    return system.files("system-names", _names(system))


def init(system: System) -> DerivationId:
    """What process 1 runs before the services, and at the end."""
    if system.init == "dinit":
        return system.files("system-init", _dinit(system))
    return system.files("system-init", _busybox(system))


def _dinit(system: System) -> Iterator[Entry]:
    """dinit starts the service ``boot``; what busybox's inittab would do is three services that it waits for."""
    yield Entry("usr/sbin/init", text=text("dinit-init"), mode=0o755)
    yield Entry("etc/init.d/rcS", text=text("rcS"), mode=0o755)
    yield Entry("etc/init.d/rcK", text=text("rcK"), mode=0o755)
    yield Entry("usr/libexec/nexis/terminal", text=text("terminal"), mode=0o755)
    early = (
        "type = scripted\ncommand = /etc/init.d/rcS\nstop-command = /etc/init.d/rcK\noptions = starts-rwfs starts-log\n"
    )
    yield Entry("etc/dinit.d/early", text=early)
    for terminal in (system.platform.console, "tty1"):
        command = f"/usr/libexec/nexis/terminal {terminal}"
        service = f"type = process\ncommand = {command}\nrestart = yes\nrestart-limit-count = 0\ndepends-on: early\n"
        yield Entry(f"etc/dinit.d/terminal-{terminal}", text=service)
