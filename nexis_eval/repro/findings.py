"""What a comparison finds, as data: differences, the views into them, and the evidence for a cause. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Cause(StrEnum):
    """Why two builds of one recipe came out differently."""

    TIMESTAMP = "timestamp"
    PATH = "path"
    ORDER = "order"
    RANDOMNESS = "randomness"
    IDENTITY = "user or host"
    LOCALE = "locale"
    CPU = "processors"
    UNINITIALISED = "uninitialised data"
    ADDRESS = "memory addresses"
    PERMISSIONS = "permissions"
    KERNEL = "kernel"
    FILESYSTEM = "file system"
    ENVIRONMENT = "environment"
    RECIPE = "recipe"
    INPUT = "input"
    UNKNOWN = "unknown"


CURES: dict[Cause, str] = {
    Cause.TIMESTAMP: "take the time from SOURCE_DATE_EPOCH (it is set in every build) or leave it out: "
    "`gzip -n`, `tar --mtime=@$SOURCE_DATE_EPOCH`, `date -u -d @$SOURCE_DATE_EPOCH`, `TZ=UTC`",
    Cause.PATH: "do not record where the build ran: `-ffile-prefix-map=$PWD=.`, relative paths, no names from `mktemp`",
    Cause.ORDER: "sort what has no order of its own: `sort` with LC_ALL=C, `$(sort $(wildcard …))`, "
    "`tar --sort=name`, `sorted()` around sets and directory listings; let parallel jobs write separate files",
    Cause.RANDOMNESS: "derive names and identifiers from the content or fix the seed: `-frandom-seed=`, "
    "PYTHONHASHSEED=0, a UUID of version 5, a fixed salt",
    Cause.IDENTITY: "do not record who built it and where: no `whoami`, `hostname`, `id`; "
    "`tar --owner=0 --group=0 --numeric-owner`, KBUILD_BUILD_USER and KBUILD_BUILD_HOST",
    Cause.LOCALE: "set the locale inside the recipe where it matters: `LC_ALL=C sort`, `export LC_ALL=C.UTF-8`",
    Cause.CPU: "do not let the number of processors decide: fix thread and part counts, "
    "`xz -T1`, no `-march=native`, no `nproc` in what is installed",
    Cause.UNINITIALISED: "initialise before writing: `memset` or `= {0}` for structures with padding, `calloc` for "
    "buffers; `valgrind` and `-fsanitize=memory` find the place",
    Cause.ADDRESS: "do not print or sort by pointers; sort by name or number instead",
    Cause.PERMISSIONS: "set modes yourself: `install -m`, `tar --mode=`, or `umask 022` in the recipe",
    Cause.KERNEL: "do not record `uname`: take versions from the target's headers",
    Cause.FILESYSTEM: "do not record inode numbers, block counts or sizes of directories",
    Cause.ENVIRONMENT: "record named variables only, never all of `env`",
    Cause.RECIPE: "build both from one configuration and one nexis.lock; a change that is meant needs no cure",
    Cause.INPUT: "nothing to cure here: it follows from an input that differs",
    Cause.UNKNOWN: "compare the two by hand, with diffoscope for example (`repro check --keep DIR` keeps both sides)",
}
"""For each cause how it is usually cured."""


class Strength(IntEnum):
    """How much a piece of evidence weighs."""

    FOLLOWS = 0
    """A checksum, a size, a build id: differs because something else does."""
    HINT = 1
    LIKELY = 2
    PROOF = 3
    """The very values that were varied were found in the two outputs."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reason to believe in a cause."""

    cause: Cause
    strength: Strength
    why: str


@dataclass(frozen=True, slots=True)
class View:
    """One differing thing, opened as far as its format is known: an archive's parts are views again.

    ``kind`` is the format (``elf``, ``tar``, ``text``, ``bytes`` …), ``field`` for a value with a name, or ``order``.
    ``before`` and ``after`` are set for single values, ``diff`` holds the lines of a listing in unified-diff form.
    """

    title: str
    kind: str
    before: str = ""
    after: str = ""
    diff: tuple[str, ...] = ()
    parts: tuple[View, ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def all_evidence(self) -> Iterator[Evidence]:
        """The evidence of this view and of everything in it."""
        yield from self.evidence
        for part in self.parts:
            yield from part.all_evidence()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cause that is believed in, with the reasons, the strongest first."""

    cause: Cause
    why: tuple[str, ...] = ()
    culprits: tuple[str, ...] | None = None
    """The variations that make the difference, as the bisection found them; ``None`` where none was made, empty where
    the outputs differ without any variation."""

    @property
    def cure(self) -> str:
        """How causes of this kind are usually cured."""
        return CURES[self.cause]


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that differs between two trees. ``change`` is ``added``, ``removed``, ``name``, ``content``, ``kind``,
    ``target``, ``mode``, ``owner`` or ``attributes``; a ``name`` changed if each side has one file more in a directory.
    """

    path: str
    change: str
    before: str = ""
    after: str = ""
    view: View | None = None
    verdict: Verdict | None = None
    more_verdicts: tuple[Verdict, ...] = ()
    """Further causes that act on the same path, as the bisection found them."""

    @property
    def key(self) -> str:
        """What this is in another comparison of the same recipe: the path, or the directory if the name changes."""
        return f"{self.path.rpartition('/')[0]}/*" if self.change == "name" else self.path

    def verdicts(self) -> tuple[Verdict, ...]:
        """All of them."""
        return (self.verdict, *self.more_verdicts) if self.verdict else ()
