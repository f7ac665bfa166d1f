"""Profiles and their generations: numbered roots, of which one is current. Symlinks that a person can read.

``.generations/desktop/3`` points to an artifact and keeps it, ``.generations/desktop/current`` points to ``3``. Each
step is one rename of a durable symlink, so a kill leaves the state before or after it. A number is never given twice
while a higher one exists.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from nexis_store import fs, roots
from nexis_store.database import Database
from nexis_store.digest import TreeDigest
from nexis_store.errors import NotInStoreError, StoreError, cannot_read
from nexis_store.layout import Layout
from nexis_store.records import ARTIFACT, ArtifactRecord

CURRENT = "current"

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a profile. ``made_ns`` is when it was made, in nanoseconds since the epoch."""

    profile: str
    number: int
    digest: TreeDigest
    name: str
    made_ns: int
    current: bool

    @property
    def root(self) -> str:
        """The root that keeps it."""
        return f"{roots.GENERATIONS}{self.profile}/{self.number}"


def _check(profile: str) -> str:
    if not _PROFILE.fullmatch(profile):
        raise StoreError(
            f"{profile!r} cannot name a profile", hint="use letters, digits and +._- only, for example desktop"
        )
    return profile


def profiles(layout: Layout) -> list[str]:
    """The names of all profiles, in order."""
    try:
        return sorted(name for name in os.listdir(layout.generations) if _PROFILE.fullmatch(name))
    except FileNotFoundError:
        return []


def generations(layout: Layout, database: Database, profile: str) -> list[Generation]:
    """The generations of a profile, oldest first; none for a profile that is not there."""
    directory = f"{layout.generations}/{_check(profile)}"
    chosen = _current(directory)
    found: list[Generation] = []
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    for number in sorted(int(name) for name in names if name.isascii() and name.isdigit()):
        with contextlib.suppress(OSError):
            place = f"{directory}/{number}"
            digest = roots.digest_in(os.readlink(place))
            stored = database.get(ARTIFACT + digest) if digest is not None else None
            if digest is not None and stored is not None:
                name = ArtifactRecord.decode(stored).name
                made = os.lstat(place).st_mtime_ns
                found.append(Generation(profile, number, digest, name, made, number == chosen))
    return found


def _current(directory: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(os.readlink(f"{directory}/{CURRENT}"))
    return None


def check_current(layout: Layout, profile: str) -> None:
    """Raise ``StoreError`` if nothing says which generation of a profile is current: then none may be ended."""
    link = f"{layout.generations}/{_check(profile)}/{CURRENT}"
    try:
        target = os.readlink(link)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise cannot_read(error, link) from error
    if not target.isascii() or not target.isdigit():
        raise StoreError(
            f"{link} points to {target!r}, which is not a generation",
            hint=f"choose the current one: 'nexis-store generations {profile} --switch NUMBER'",
        )


def add(layout: Layout, database: Database, profile: str, digest: TreeDigest) -> Generation:
    """Make an artifact the newest generation of a profile and switch to it; returns it.

    What the newest generation is already gets no second number.
    """
    _check(profile)
    with database.alone():
        there = generations(layout, database, profile)
        if there and there[-1].digest == digest:
            number = there[-1].number
        else:
            number = max([0, _current(f"{layout.generations}/{profile}") or 0, *(each.number for each in there)]) + 1
            roots.set_root(layout, database, f"{roots.GENERATIONS}{profile}/{number}", digest)
        return _switch(layout, database, profile, number)


def switch(layout: Layout, database: Database, profile: str, number: int) -> Generation:
    """Make another generation the current one; raises ``NotInStoreError`` if there is none of that number."""
    with database.alone():
        return _switch(layout, database, profile, number)


def roll_back(layout: Layout, database: Database, profile: str) -> Generation:
    """Switch to the generation before the current one; raises ``NotInStoreError`` if there is none."""
    with database.alone():
        there = generations(layout, database, profile)
        at = next((index for index, each in enumerate(there) if each.current), len(there))
        if at == 0 or not there:
            raise NotInStoreError(
                f"the profile {profile} has no older generation", hint="'nexis-store generations' lists them"
            )
        return _switch(layout, database, profile, there[at - 1].number)


def _switch(layout: Layout, database: Database, profile: str, number: int) -> Generation:
    _find(generations(layout, database, profile), profile, number)
    directory = f"{layout.generations}/{profile}"
    if _current(directory) != number:
        roots.replace_link(str(number), f"{directory}/{CURRENT}", f"{layout.root}/.roots.new")
        fs.sync_path(directory)
    return _find(generations(layout, database, profile), profile, number)


def _find(there: Iterable[Generation], profile: str, number: int) -> Generation:
    for each in there:
        if each.number == number:
            return each
    raise NotInStoreError(
        f"the profile {profile} has no generation {number}", hint="'nexis-store generations' lists them"
    )


def remove(layout: Layout, database: Database, profile: str, numbers: Iterable[int]) -> None:
    """Forget generations; what only they keep is garbage then. The current one cannot be removed."""
    with database.alone():
        check_current(layout, profile)
        there = generations(layout, database, profile)
        chosen = [_find(there, profile, number) for number in numbers]
        for each in chosen:
            if each.current:
                raise StoreError(
                    f"generation {each.number} of {profile} is the current one", hint="switch to another one first"
                )
        for each in chosen:
            roots.remove_root(layout, database, each.root)


def outdated(
    there: Iterable[Generation], *, keep: int | None = None, older_than_ns: int | None = None
) -> list[Generation]:
    """Those generations of one profile that need not be kept, oldest first. The current one is never among them.

    ``keep`` spares the newest ones, ``older_than_ns`` those made less than so long ago. With both, a generation goes
    that neither spares.
    """
    ordered = sorted(there, key=lambda each: each.number)
    if keep is None and older_than_ns is None:
        return []
    spared = set(ordered[max(0, len(ordered) - (keep or 0)) :])
    now = time.time_ns()
    return [
        each
        for each in ordered
        if not each.current and each not in spared and (older_than_ns is None or now - each.made_ns >= older_than_ns)
    ]
