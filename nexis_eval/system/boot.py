"""``[system]`` and ``[system.locale]``: the skeleton of the root file system, names, and how busybox starts it."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.graph.derivation import Entry
from nexis_eval.quoting import assignments, shell, table_row
from nexis_eval.system.contribution import Contribution, Need
from nexis_eval.system.templates import render, text
from nexis_eval.system.view import SystemView

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


def _os_release(view: SystemView) -> str:
    """os-release(5)."""
    version = view.config.system.version
    return assignments(
        {
            "NAME": "NexisOS",
            "ID": "nexisos",
            "VERSION": version,
            "VERSION_ID": version,
            "PRETTY_NAME": f"NexisOS {version}",
        }.items()
    )


def _skeleton(view: SystemView) -> Iterator[Entry]:
    for path in DIRECTORIES:
        yield Entry(path)
    yield Entry("root", mode=0o700)
    yield Entry("tmp", mode=0o1777)
    yield Entry("var/tmp", mode=0o1777)
    for path, target in LINKS.items():
        yield Entry(path, target=target)
    if view.platform.arch == "x86_64":
        yield Entry("usr/lib64")
        yield Entry("lib64", target="usr/lib64")
    yield Entry("etc/profile", text=text("profile"))


def _names(view: SystemView) -> Iterator[Entry]:
    settings = view.config.system
    yield Entry("etc/hostname", text=settings.hostname + "\n")
    yield Entry("etc/hosts", text=f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {settings.hostname}\n")
    yield Entry("usr/lib/os-release", text=_os_release(view))
    yield Entry("etc/issue", text=f"NexisOS {settings.version} \\n \\l\n\n")
    yield Entry("etc/locale.conf", text=assignments([("LANG", settings.locale.lang)]))
    yield Entry("etc/profile.d/locale.sh", text=f"export LANG={shell(settings.locale.lang)}\n")
    yield Entry("etc/vconsole.conf", text=assignments([("KEYMAP", settings.locale.keyboard_layout)]))
    yield Entry("etc/timezone", text=settings.timezone + "\n")


def _busybox(view: SystemView) -> Iterator[Entry]:
    terminals = (view.platform.console, "tty1")
    yield Entry("etc/inittab", text=render("inittab.j2", terminals=terminals))
    yield Entry("etc/init.d/rcS", text=text("rcS"), mode=0o755)
    yield Entry("etc/init.d/rcK", text=text("rcK"), mode=0o755)
    yield Entry("usr/libexec/nexis/terminal", text=text("terminal"), mode=0o755)


def skeleton(view: SystemView) -> Contribution:
    """Directories, links and files that every system has alike."""
    return Contribution(files=tuple(_skeleton(view)), shells=("/bin/sh",))


def tables(_view: SystemView, everything: Contribution) -> Iterator[Entry]:
    """Login shells, shells(5), and file systems, fstab(5)."""
    yield Entry("etc/shells", text="".join(f"{shell}\n" for shell in dict.fromkeys(everything.shells)))
    lines = ["# What is always there is mounted without being listed here.\n"]
    lines += [table_row(each.source, each.path, each.type, each.options, 0, 0) for each in everything.mounts]
    yield Entry("etc/fstab", text="".join(lines))


def names(view: SystemView) -> Contribution:
    """Host name, version, time zone, locale."""
    return Contribution(files=tuple(_names(view)))


def init(view: SystemView) -> Contribution:
    """What process 1 runs before the services, and at the end; and the kernel modules that somebody asks for."""
    place = view.config.place(("system", "init")) or view.config.place(("system",))
    reasons = {"busybox": "is the program of the initramfs and, with it, starts the system"}
    if view.init == "dinit":
        reasons["dinit"] = 'is process 1 where [system] has init = "dinit"'
    hint = 'declare it: [[packages]] name = "{}"; examples/minimal/system.toml has one'
    return Contribution(
        files=tuple(_dinit(view) if view.init == "dinit" else _busybox(view)),
        needs=tuple(Need((name,), why, hint.format(name), place, by_name=True) for name, why in reasons.items()),
        required_modules=view.config.system.kernel_modules,
    )


def _dinit(view: SystemView) -> Iterator[Entry]:
    """dinit starts the service ``boot``; what busybox's inittab would do is three services that it waits for."""
    yield Entry("usr/sbin/init", text=text("dinit-init"), mode=0o755)
    yield Entry("etc/init.d/rcS", text=text("rcS"), mode=0o755)
    yield Entry("etc/init.d/rcK", text=text("rcK"), mode=0o755)
    yield Entry("usr/libexec/nexis/terminal", text=text("terminal"), mode=0o755)
    early = (
        "type = scripted\ncommand = /etc/init.d/rcS\nstop-command = /etc/init.d/rcK\noptions = starts-rwfs starts-log\n"
    )
    yield Entry("etc/dinit.d/early", text=early)
    for terminal in (view.platform.console, "tty1"):
        command = f"/usr/libexec/nexis/terminal {terminal}"
        service = f"type = process\ncommand = {command}\nrestart = yes\nrestart-limit-count = 0\ndepends-on: early\n"
        yield Entry(f"etc/dinit.d/terminal-{terminal}", text=service)
