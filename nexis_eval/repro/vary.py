"""The variations by name, and what each changes in a sandbox. Pure, but for the files that ``prepare`` writes.

Three kinds of setting are told apart for each variation: *natural*, as every build runs; *varied*; and *pinned*, fixed
even where a natural build is left to chance (the clock stands still, listings are sorted, random numbers are seeded).
A check compares a natural build with a varied one. A bisection compares pinned builds that vary in a few points only.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from nexis_eval.repro.surroundings import Surroundings
from nexis_eval.sandbox.spec import Bind, Identity, Overlay, SandboxSpec
from nexis_store.errors import NexisError
from nexis_store.suggest import did_you_mean

SHIM_AT = "/in/vary/shim.so"
LOCALES_AT = "/in/vary/locale"
PRELOAD = "etc/ld.so.preload"
RANDOM_BYTES = 1 << 20

CLOCK_OFFSET_SECONDS = 400 * 86400 + 5 * 3600 + 13 * 60 + 7
FROZEN_AHEAD_SECONDS = 30 * 86400
"""Both lie ahead by more than the week for which the shim takes a file's time to be of this build."""
MONOTONIC_OFFSET_SECONDS = 3 * 86400

VARIED_HOSTNAME = "vary-host"
VARIED_USER, VARIED_UID, VARIED_GID = "varyuser", 54321, 54320
VARIED_UMASK = 0o077
VARIED_HOME = "/tmp"
VARIED_TIMEZONE = "NXT-13:37"
VARIED_LOCALE = "et_EE.UTF-8"
PLAIN_LOCALE = "C"
NOISE_NAME = "NEXIS_NOISE"
FILLS = (0xA5, 0x5B)


@dataclass(frozen=True, slots=True)
class Variation:
    """One thing that may differ between two machines."""

    name: str
    summary: str
    needs_shim: bool = False
    """Only the preloaded library can do it, so statically linked programs do not notice."""


VARIATIONS: tuple[Variation, ...] = (
    Variation("time", "the wall clock is 400 days ahead", needs_shim=True),
    Variation("timezone", "the time zone is 13:37 hours east of UTC"),
    Variation("path", "the work directory outside the sandbox has another name and depth"),
    Variation("home", "HOME is another directory"),
    Variation("hostname", "the machine has another name"),
    Variation("user", "the user has another name, user id and group id"),
    Variation("umask", "files are made with umask 077"),
    Variation("locale", "Estonian locale (z sorts before t, decimal comma); plain C where it cannot be had"),
    Variation("cpus", "another number of processors and of jobs"),
    Variation("order", "directories list their entries in reverse or shuffled", needs_shim=True),
    Variation("kernel", "the kernel calls itself 2.6 (UNAME26)"),
    Variation("filesystem", "the build directory lies on a file system of another type"),
    Variation("environment", "the environment has a variable more"),
    Variation("aslr", "addresses are randomised, which they are not otherwise"),
    Variation("memory", "fresh heap and stack hold another byte than zero", needs_shim=True),
    Variation("random", "random numbers come from the kernel, instead of a seed while bisecting", needs_shim=True),
    Variation("engine", "the engine has another locale, time zone, home and umask itself"),
)
NAMES: tuple[str, ...] = tuple(each.name for each in VARIATIONS)


class UnknownVariationError(NexisError):
    """``--vary`` names something that is no variation.

    ``nexis-eval repro check --vary help`` lists them. ``--vary time,cpus`` varies only these, ``--vary=-kernel`` all
    but this one.
    """

    code = "R0001"
    exit_code = 2


def parse_names(text: str | None) -> frozenset[str]:
    """The variations listed in ``--vary``: names, or ``-name`` for all but these; ``None`` is all."""
    if not text:
        return frozenset(NAMES)
    chosen: set[str] = set()
    words = [word.strip() for word in text.split(",") if word.strip()]
    if all(word.startswith("-") for word in words):
        chosen = set(NAMES)
    for word in words:
        name = word.lstrip("-")
        if name not in NAMES:
            hint = did_you_mean(name, NAMES, f"variations: {', '.join(NAMES)}")
            raise UnknownVariationError(f"there is no variation '{name}'", hint=hint)
        if word.startswith("-"):
            chosen.discard(name)
        else:
            chosen.add(name)
    return frozenset(chosen)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the variations need beside the sandbox. Each may be absent; ``possible`` says what is left then."""

    shim: Path | None = None
    """The preload library made from ``shim/vary.c``."""
    locale: Path | None = None
    """A directory that holds the compiled locale ``et_EE.utf8``."""
    other_file_system: Path | None = None
    """A directory on a file system of another type than the work directory's."""
    disorderfs: Path | None = None
    """The program that shows a directory with its entries in another order, if it is to be used."""

    def possible(self, names: Iterable[str]) -> frozenset[str]:
        """Those of ``names`` that can be varied here."""
        needs_shim = {each.name for each in VARIATIONS if each.needs_shim}
        return frozenset(
            name
            for name in names
            if not (name in needs_shim and self.shim is None and not (name == "order" and self.disorderfs))
            and not (name == "filesystem" and self.other_file_system is None)
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """How one build is run: what is varied, and whether the rest is natural or pinned."""

    varied: frozenset[str] = frozenset()
    pinned: bool = False
    round: int = 1
    """Chooses among several ways to vary: reversed or shuffled listings, fewer or more processors."""
    frozen_at: int = 0
    """What the pinned clock shows, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine is, as far as builds can see it."""

    cpus: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    kernel: str = field(default_factory=lambda: os.uname().release)


@dataclass(frozen=True, slots=True)
class Conditions:
    """A setup worked out: what to hand to staging, and what to look for in the output."""

    setup: Setup
    identity: Identity
    jobs: int
    cpus: int | None
    run_time: Mapping[str, str]
    settings: tuple[str, ...]
    """The lines for the shim; none, and it is not loaded."""
    surroundings: Surroundings
    extra_locale: bool
    on_other_file_system: bool
    deep_directory: bool


def conditions(setup: Setup, base: Identity, jobs: int, tools: Tools, machine: Machine, started: int) -> Conditions:
    """Work out ``setup`` for a build whose natural identity is ``base``, on ``jobs`` jobs, that starts now."""
    varied = tools.possible(setup.varied)
    identity, locale = _identity(varied, base, tools)
    cpus, jobs = _processors("cpus" in varied, setup, jobs, machine)
    noise = uuid.UUID(int=Random(setup.round).getrandbits(128)).hex if "environment" in varied else ""
    return Conditions(
        setup=setup,
        identity=identity,
        jobs=jobs,
        cpus=cpus,
        run_time={**({NOISE_NAME: noise} if noise else {}), **({"LOCPATH": LOCALES_AT} if locale else {})},
        settings=_settings(varied, setup, started) if tools.shim else (),
        surroundings=Surroundings(
            hostname=identity.hostname,
            user=identity.user,
            uid=identity.uid,
            gid=identity.gid,
            umask=identity.umask,
            home=identity.home,
            locale=identity.locale,
            timezone=identity.timezone.partition("-")[0],
            cpus=cpus or machine.cpus,
            kernel=kernel_2_6(machine.kernel) if identity.kernel_2_6 else machine.kernel,
            noise=noise,
            clock=None,
            fill=_fills(varied, setup) if tools.shim else (),
        ),
        extra_locale=locale,
        on_other_file_system="filesystem" in varied,
        deep_directory="path" in varied,
    )


def _identity(varied: frozenset[str], base: Identity, tools: Tools) -> tuple[Identity, bool]:
    identity, locale = base, False
    if "hostname" in varied:
        identity = replace(identity, hostname=VARIED_HOSTNAME)
    if "user" in varied and base.uid != 0:
        identity = replace(identity, user=VARIED_USER, uid=VARIED_UID, gid=VARIED_GID)
    if "umask" in varied:
        identity = replace(identity, umask=VARIED_UMASK)
    if "home" in varied:
        identity = replace(identity, home=VARIED_HOME)
    if "timezone" in varied:
        identity = replace(identity, timezone=VARIED_TIMEZONE)
    if "locale" in varied:
        locale = tools.locale is not None
        identity = replace(identity, locale=VARIED_LOCALE if locale else PLAIN_LOCALE)
    if "kernel" in varied:
        identity = replace(identity, kernel_2_6=True)
    if "aslr" in varied:
        identity = replace(identity, aslr=True)
    if "time" in varied:
        identity = replace(identity, clock_offset_seconds=MONOTONIC_OFFSET_SECONDS)
    return identity, locale


def _processors(varied: bool, setup: Setup, jobs: int, machine: Machine) -> tuple[int | None, int]:
    """Processors to show and jobs to tell. Pinned is one of each, so that nothing races."""
    if setup.pinned:
        return (None, max(jobs, machine.cpus) + 1) if varied else (1, 1)
    if not varied:
        return None, jobs
    # The first round takes processors away, the second adds jobs: either may hide what the other shows.
    return (1, 1 if jobs > 1 else 3) if setup.round % 2 else (None, jobs + 1)


def _settings(varied: frozenset[str], setup: Setup, started: int) -> tuple[str, ...]:
    lines = []
    if "time" in varied:
        lines += [f"offset {CLOCK_OFFSET_SECONDS}", f"started {started}"]
    elif setup.pinned:
        lines += [f"frozen {setup.frozen_at}", f"started {started}"]
    if "order" in varied:
        lines.append("order reversed" if setup.round == 1 else f"order {setup.round}")
    elif setup.pinned:
        lines.append("order sorted")
    if setup.pinned and "random" not in varied:
        lines.append("seed 1")
    fills = _fills(varied, setup)
    if fills:
        lines.append(f"fill {fills[0]}")
    elif setup.pinned:
        lines.append("fill 0")
    return tuple(lines)


def _fills(varied: frozenset[str], setup: Setup) -> tuple[int, ...]:
    """What stack and heap hold, and the complement, which freed memory holds."""
    return (FILLS[setup.round % 2], FILLS[setup.round % 2] ^ 255) if "memory" in varied else ()


def disorder(given: Conditions) -> tuple[str, ...]:
    """The options of disorderfs that list directories as the shim does; none if this build lists them as usual."""
    if "order" not in given.setup.varied:
        return ()
    return ("--sort-dirents=yes", "--reverse-dirents=yes") if given.setup.round == 1 else ("--shuffle-dirents=yes",)


def kernel_2_6(release: str) -> str:
    """What ``UNAME26`` makes of a kernel release: its minor version plus 60, behind 2.6 (personality(2))."""
    match = re.match(r"(\d+)\.(\d+)(?:\.\d+)?(.*)", release)
    return f"2.6.{int(match[2]) + 60}{match[3]}" if match else release


def clock_shown(given: Conditions, started: float, ended: float) -> tuple[float, float]:
    """The span of time that the build could see on its clock."""
    for line in given.settings:
        name, _, value = line.partition(" ")
        if name == "frozen":
            return float(value), float(value)
        if name == "offset":
            return started + float(value), ended + float(value)
    return started, ended


def prepare(spec: SandboxSpec, given: Conditions, tools: Tools, directory: Path) -> SandboxSpec:
    """Change a staged sandbox as ``given`` asks; needed files are written below ``directory``, which is fresh."""
    top = directory / "top"
    binds = list(spec.binds)
    root = spec.overlays[0]
    if given.settings and tools.shim is not None:
        settings, numbers, identifier = directory / "settings", directory / "random", directory / "uuid"
        settings.write_text("\n".join((*given.settings, "")), encoding="utf-8")
        numbers.write_bytes(Random(1).randbytes(RANDOM_BYTES))
        identifier.write_text(f"{uuid.UUID(int=Random(2).getrandbits(128))}\n", encoding="ascii")
        for path in (settings, numbers, identifier):
            path.chmod(0o644)
        _write(top / PRELOAD, f"{SHIM_AT}\n")
        binds += [
            Bind(SHIM_AT, tools.shim),
            Bind("/in/vary/settings", settings),
            Bind("/in/vary/random", numbers),
            Bind("/in/vary/uuid", identifier),
        ]
    if given.identity.user == VARIED_USER:
        line = f"{VARIED_USER}:x:{VARIED_UID}:{VARIED_GID}::{given.identity.home}:/bin/bash\n"
        _write(top / "etc/passwd", _text_of(root, "etc/passwd") + line)
        _write(top / "etc/group", _text_of(root, "etc/group") + f"{VARIED_USER}:x:{VARIED_GID}:\n")
    if given.extra_locale and tools.locale is not None:
        binds.append(Bind(LOCALES_AT, tools.locale))
    for path in (top, *top.rglob("*")) if top.is_dir() else ():
        path.chmod(0o755 if path.is_dir() else 0o644)
    layers = (top, *root.layers) if top.is_dir() else root.layers
    return replace(spec, overlays=(Overlay("/", layers), *spec.overlays[1:]), binds=tuple(binds), cpus=given.cpus)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _text_of(root: Overlay, path: str) -> str:
    for layer in root.layers:
        if (layer / path).is_file():
            return (layer / path).read_text(encoding="utf-8")
    return ""


def describe(names: Collection[str]) -> str:
    """Variation names in the order of the table."""
    return ", ".join(name for name in NAMES if name in names)
