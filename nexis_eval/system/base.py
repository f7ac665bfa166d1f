"""The skeleton of the root file system: directories, merged /usr, names, time zone, locale."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

DIRECTORIES = ("dev", "home", "mnt", "proc", "run", "sys", "var/cache", "var/lib", "var/log", "var/spool")

SHELLS = "/bin/sh\n/bin/bash\n"

PROFILE = """\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
export PS1='\\u@\\h:\\w\\$ '
[ -r /etc/locale.conf ] && . /etc/locale.conf && export LANG
for file in /etc/profile.d/*.sh; do [ -r "$file" ] && . "$file"; done
unset file
"""


def _entries(system: System) -> Iterator[Entry]:
    settings = system.config.system
    for path in DIRECTORIES:
        yield Entry(path)
    yield Entry("root", mode=0o700)
    yield Entry("tmp", mode=0o1777)
    yield Entry("var/tmp", mode=0o1777)
    for link in ("bin", "sbin", "lib"):
        yield Entry(link, target=f"usr/{link}")
    for path in ("usr/bin", "usr/sbin", "usr/lib", "etc/profile.d"):
        yield Entry(path)
    if system.platform.arch == "x86_64":
        yield Entry("lib64", target="usr/lib64")
        yield Entry("usr/lib64")
    yield Entry("var/run", target="../run")
    yield Entry("etc/hostname", text=settings.hostname + "\n")
    yield Entry("etc/hosts", text=f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {settings.hostname}\n")
    yield Entry("etc/shells", text=SHELLS)
    yield Entry("etc/profile", text=PROFILE)
    yield Entry("etc/fstab", text="# The initramfs and /etc/init.d/rcS mount what there is.\n")
    yield Entry("etc/mtab", target="/proc/self/mounts")
    yield Entry("etc/issue", text=f"NexisOS {settings.version} \\n \\l\n\n")
    yield Entry(
        "etc/os-release",
        text=(
            f'NAME="NexisOS"\nID=nexisos\nVERSION_ID="{settings.version}"\nPRETTY_NAME="NexisOS {settings.version}"\n'
        ),
    )
    yield Entry("etc/locale.conf", text=f"LANG={settings.locale.lang}\n")
    yield Entry("etc/vconsole.conf", text=f"KEYMAP={settings.locale.keyboard_layout}\n")
    yield Entry("etc/timezone", text=settings.timezone + "\n")
    yield Entry("etc/localtime", target=f"/usr/share/zoneinfo/{settings.timezone}")
    if settings.timezone == "UTC":
        yield Entry("etc/TZ", text="UTC0\n")


def base(system: System) -> DerivationId:
    """The skeleton as a part."""
    return system.files("system-base", _entries(system))
