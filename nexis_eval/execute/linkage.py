"""Whether what a build installed can run where it is going to: architecture, libraries, interpreters.

Every ELF file must be for the target. What it needs at run time (``NEEDED`` libraries, the program interpreter) and the
interpreter of each script must be in the package itself or in the closure of its declared run-time dependencies: that
is all that is sure to be there when it is installed.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from nexis_eval.elf import ET_DYN, ET_EXEC, MAGIC, VIRTUAL_MACHINES, Elf, parse_elf
from nexis_eval.platforms import Platform
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError
from nexis_store.store import Store

GRANTED = frozenset(("/bin/sh", "/usr/bin/sh", "/usr/bin/env", "/bin/env"))
"""Interpreters that every system has: POSIX asks for them."""
DATA = ("usr/share/", "usr/include/", "usr/src/")
"""Where scripts are data: examples, macros, test files. Executables there are not commands of the system."""
FROM_THE_COMPILER = {
    "libc6": re.compile(r"ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|anl|mvec)\.so\.[0-9]"),
    "libgcc-s1": re.compile(r"libgcc_s\.so\.1"),
    "libstdc++6": re.compile(r"libstdc\+\+\.so\.6"),
}
"""What every program is linked with that nobody thinks of, and the Debian packages that have it."""
MAX_SHOWN = 8
_MAX_LINE = 512


class WrongArchitectureError(NexisError):
    """A package holds programs or libraries for another architecture than the one it was made for.

    A `prebuilt` archive of this kind is a mistake of its vendor, or `{arch}` in its URL expands to the wrong name. In a
    cross build a Makefile probably calls `gcc` by name instead of `$CC`. Files that are meant to be foreign (boot
    loaders, firmware) are named in `allow_missing`, by path: `allow_missing = ["/usr/lib/firmware/*"]`.
    """

    code = "B0020"


class MissingLibraryError(NexisError):
    """A program or library needs something that its package does not declare to need when it runs.

    The libraries that an ELF file names, its program interpreter and the interpreter of a script (`#!`) must be in the
    package or in the closure of its `dependencies` and `runtime_dependencies`; otherwise it would run only where
    something else happens to bring them. The message names the package that has what is missing, where one of the
    system has it. What is not needed after all goes into `allow_missing`: the name of a library, the path of an
    interpreter, or the path of a file that is not to be looked at (`*` matches anything).
    """

    code = "B0021"


@dataclass(frozen=True, slots=True)
class Demand:
    """What one file needs. ``interpreter`` is a path, or a bare command name where ``env`` looks for it."""

    path: str
    libraries: tuple[str, ...] = ()
    interpreter: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is in an installed tree, by one walk over it."""

    demands: tuple[Demand, ...] = ()
    foreign: tuple[tuple[str, str], ...] = ()
    """Files of another architecture, and which."""
    names: frozenset[str] = frozenset()
    """The base names of all files and links."""


@dataclass(slots=True)
class _Found:
    demands: list[Demand] = field(default_factory=list)
    foreign: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def survey(directory: Path, platform: Platform, unchecked: Sequence[str] = ()) -> Survey:
    """Look through everything below ``directory``; files that match a path of ``unchecked`` are passed over."""
    patterns = [each for each in unchecked if each.startswith("/")]
    found = _Found()
    for path, entry in _walk(str(directory)):
        found.names.add(entry.name)
        if not entry.is_file(follow_symlinks=False) or any(fnmatchcase(f"/{path}", each) for each in patterns):
            continue
        with open(entry.path, "rb") as file:
            head = file.read(4)
            if head == MAGIC:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                    _look(path, parse_elf(view), platform, found)
            elif head[:2] == b"#!" and not path.startswith(DATA) and entry.stat().st_mode & 0o111:
                interpreter = _interpreter((head + file.read(_MAX_LINE)).split(b"\n", 1)[0])
                if interpreter:
                    found.demands.append(Demand(path, interpreter=interpreter))
    return Survey(tuple(found.demands), tuple(found.foreign), frozenset(found.names))


def _walk(top: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    pending = [("", top)]
    while pending:
        prefix, directory = pending.pop()
        with os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                yield prefix + entry.name, entry
                if entry.is_dir(follow_symlinks=False):
                    pending.append((f"{prefix}{entry.name}/", entry.path))


def _look(path: str, elf: Elf | None, platform: Platform, found: _Found) -> None:
    if elf is None or elf.machine in VIRTUAL_MACHINES:
        return
    if elf.machine != platform.elf_machine or elf.bits != 64:
        found.foreign.append((path, elf.machine_name))
    elif elf.kind in (ET_EXEC, ET_DYN) and (elf.needed or elf.interpreter):
        # A library may name the loader as its interpreter, too: what is needed only when it is run as a program.
        found.demands.append(Demand(path, elf.needed, elf.interpreter if not elf.soname else ""))


def _interpreter(line: bytes) -> str:
    """The program that a ``#!`` line names: ``env``'s argument where it is ``env``, nothing for what is granted."""
    words = line[2:].decode(errors="replace").split()
    if not words:
        return ""
    if words[0] in ("/usr/bin/env", "/bin/env"):
        named = [each for each in words[1:] if not each.startswith("-") and "=" not in each]
        return named[0] if named and named[0] != "sh" else ""
    return "" if words[0] in GRANTED else words[0]


def check_linkage(
    store: Store,
    label: str,
    directory: Path,
    platform: Platform,
    references: Iterable[TreeDigest],
    *,
    allowed: Sequence[str] = (),
    packages: Callable[[], Iterable[tuple[str, TreeDigest]]],
) -> None:
    """Look at what a build left in ``directory`` before it lands.

    ``references`` are the outputs of its declared run-time dependencies; ``packages`` lists what the system has by
    name, for the message. Raises ``WrongArchitectureError`` or ``MissingLibraryError``.
    """
    names = lru_cache(maxsize=None)(lambda digest: _names(store, digest))

    def closure() -> Iterator[frozenset[str]]:
        return map(names, store.closure(references))

    def owners(name: str) -> list[str]:
        return [package for package, digest in packages() if name in names(digest)]

    found = survey(directory, platform, allowed)
    check_survey(label, found, platform, allowed=allowed, closure=closure, owners=owners)


def _names(store: Store, digest: TreeDigest) -> frozenset[str]:
    return frozenset(each.path.rpartition("/")[2] for each in store.manifest(digest).entries() if each.kind != "d")


def check_survey(
    label: str,
    found: Survey,
    platform: Platform,
    *,
    allowed: Sequence[str] = (),
    closure: Callable[[], Iterable[frozenset[str]]],
    owners: Callable[[str], Sequence[str]],
) -> None:
    """Compare what a tree needs with what will be there.

    ``closure`` gives the base names of the files of every tree in the run-time closure, and is only called if something
    is needed. ``owners`` gives the packages that have a file of a name, for the message. Raises
    ``WrongArchitectureError`` or ``MissingLibraryError``.
    """
    if found.foreign:
        path, machine = found.foreign[0]
        others = f" and {len(found.foreign) - 1} more files" if len(found.foreign) > 1 else ""
        raise WrongArchitectureError(
            f"{label} was made for {platform.arch}, but /{path} is for {machine}{others}",
            hint="a prebuilt archive: check its URL and {arch}; a build: call the compiler as $CC; if it is meant to "
            f'be so: allow_missing = ["/{path}"]',
        )
    if not found.demands:
        return
    present = found.names.union(*closure())
    lacking: dict[str, str] = {}
    for demand in found.demands:
        wanted = (*demand.libraries, *((demand.interpreter,) if demand.interpreter else ()))
        for name in wanted:
            if name.rsplit("/", 1)[-1] not in present and not any(fnmatchcase(name, each) for each in allowed):
                lacking.setdefault(name, demand.path)
    if lacking:
        raise _missing(label, lacking, owners)


def _missing(label: str, lacking: dict[str, str], owners: Callable[[str], Sequence[str]]) -> MissingLibraryError:
    lines, packages = [], dict[str, None]()
    for name, path in list(lacking.items())[:MAX_SHOWN]:
        has = owners(name.rsplit("/", 1)[-1])
        packages.update(dict.fromkeys(has[:1]))
        provided = f"{' and '.join(has)} provides it" if has else "no package of this system provides it"
        lines.append(f"/{path} needs {name} ({provided})")
    if len(lacking) > MAX_SHOWN:
        lines.append(f"and {len(lacking) - MAX_SHOWN} more")
    listed = ", ".join(f'"{each}"' for each in packages)
    first = next(iter(lacking))
    debian = [package for package, names in FROM_THE_COMPILER.items() if any(map(names.fullmatch, map(_base, lacking)))]
    if packages:
        add = f"add runtime_dependencies = [{listed}]"
    elif debian:
        quoted = ", ".join(f'"{each}"' for each in debian)
        add = (
            "the C library is a package like any other: [[packages]] with "
            f'name = "glibc" and debian = [{quoted}], then `nexis-eval lock`, and here runtime_dependencies = ["glibc"]'
        )
    else:
        add = "add the package that has it to runtime_dependencies"
    return MissingLibraryError(
        f"{label}: its runtime_dependencies lack what it needs: {'; '.join(lines)}",
        hint=f'{add}; or, if it can do without: allow_missing = ["{first}"]',
    )


def _base(path: str) -> str:
    return path.rpartition("/")[2]
