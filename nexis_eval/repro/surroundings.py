"""What a build could learn about the machine it ran on: the values to look for when two outputs differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nexis_eval.repro.findings import Cause


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One build's view. Empty and ``None`` values are not known."""

    hostname: str = ""
    user: str = ""
    uid: int | None = None
    gid: int | None = None
    umask: int | None = None
    home: str = ""
    locale: str = ""
    timezone: str = ""
    cpus: int | None = None
    kernel: str = ""
    directory: str = ""
    """The work directory outside the sandbox."""
    noise: str = ""
    """The value of a variable that was set for no other reason."""
    clock: tuple[float, float] | None = None
    """First and last second, since the epoch, that the build's clock showed."""
    fill: tuple[int, ...] = ()
    """The byte values that memory held before the build wrote to it."""

    def words(self) -> Iterator[tuple[Cause, str, str]]:
        """Cause, what it is, and the text under which it would show."""
        yield Cause.IDENTITY, "the host name", self.hostname
        yield Cause.IDENTITY, "the user name", self.user
        yield Cause.PATH, "the home directory", self.home
        yield Cause.PATH, "the work directory outside the sandbox", self.directory
        yield Cause.LOCALE, "the locale", self.locale
        yield Cause.TIMESTAMP, "the time zone", self.timezone
        yield Cause.KERNEL, "the kernel's release", self.kernel
        yield Cause.ENVIRONMENT, "a variable set to tell the builds apart", self.noise

    def numbers(self) -> Iterator[tuple[Cause, str, tuple[str, ...]]]:
        """Cause, what it is, and the spellings under which it would show as a word of its own."""
        if self.uid is not None:
            yield Cause.IDENTITY, "the user id", (str(self.uid),)
        if self.gid is not None:
            yield Cause.IDENTITY, "the group id", (str(self.gid),)
        if self.umask is not None:
            spelt = f"{self.umask:o}"
            made = [f"{mode & ~self.umask:o}" for mode in (0o666, 0o777)]
            spellings = {width for each in (spelt, *made) for width in (each, each.zfill(3), each.zfill(4))}
            yield Cause.PERMISSIONS, "the umask or a mode made by it", tuple(sorted(spellings))
        if self.cpus is not None:
            yield Cause.CPU, "the number of processors", (str(self.cpus),)


Sides = tuple[Surroundings, Surroundings]
UNKNOWN_SIDES: Sides = (Surroundings(), Surroundings())
