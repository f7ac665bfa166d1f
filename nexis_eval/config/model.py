"""The typed configuration: what crosses the boundary from TOML to everything else. Frozen values, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

from nexis_eval.keypath import KeyPath as KeyPath
from nexis_eval.platforms import DEFAULT_BUILD_ARCH
from nexis_eval.secrets import Secret
from nexis_store.errors import Place


@dataclass(frozen=True, slots=True)
class LocalPath:
    """A path that the configuration names, relative to the file that names it, already made absolute."""

    written: str
    path: Path


@dataclass(frozen=True, slots=True)
class SELinux:
    """``[system.selinux]``"""

    enabled: bool = False
    mode: str = "enforcing"


@dataclass(frozen=True, slots=True)
class Firewall:
    """``[system.firewall]``"""

    backend: str = "nftables"
    enabled: bool = True
    allow_tcp: tuple[int, ...] = ()
    allow_udp: tuple[int, ...] = ()
    allow_ping: bool = True


@dataclass(frozen=True, slots=True)
class Locale:
    """``[system.locale]``"""

    lang: str = "C.UTF-8"
    keyboard_layout: str = "us"


@dataclass(frozen=True, slots=True)
class System:
    """``[system]``"""

    hostname: str = "nexisos"
    architectures: tuple[str, ...] = ()
    """What it is meant for; empty is every architecture."""
    timezone: str = "UTC"
    version: str = "0.1.0"
    kernel: str = "linux"
    """Name, or name-version, of the package that provides the kernel."""
    kernel_source: str | None = None
    kernel_hash: str | None = None
    kernel_config: LocalPath | None = None
    kernel_modules: tuple[str, ...] = ()
    """Extra modules for the root file system, beside those the system parts ask for; ``*`` is all."""
    kernel_parameters: tuple[str, ...] = ()
    init: str = "auto"
    """``auto`` (dinit where a dinit package is there, else busybox), ``dinit`` or ``busybox``."""
    root_size_mb: int = 0
    """Size of ``rootfs.ext2``; 0 is content plus a quarter."""
    selinux: SELinux = field(default_factory=SELinux)
    firewall: Firewall | None = None
    locale: Locale = field(default_factory=Locale)


@dataclass(frozen=True, slots=True)
class User:
    """``[users.NAME]``"""

    name: str
    password_hash: Secret | str | None = None
    """What is no secret is ``!`` or ``*``: no password is accepted."""
    authorized_keys: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None
    groups: tuple[str, ...] = ()
    shell: str = "/bin/sh"
    home: str | None = None
    description: str = ""
    system: bool = False
    password_hash_file: LocalPath | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """``[groups.NAME]``"""

    name: str
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """``[network]``"""

    interface: str = "eth0"
    dhcp: bool = True
    static_ip: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Package:
    """``[[packages]]``. Relative paths are relative to the file that holds the table.

    Without slots, so that what a table says can be taken over as it is (``package_of``).
    """

    name: str
    version: str = ""
    source: tuple[str, ...] = ()
    """URL templates, tried in order; a string in TOML is a list of one."""
    hash: str | None = None
    prebuilt: tuple[str, ...] = ()
    prebuilt_hash: str | None = None
    fallback_to_source: bool = False
    smoke_test: str | None = None
    debian: tuple[str, ...] = ()
    """Debian packages to unpack: ``name``, ``name=version``; ``{debarch}`` expands."""
    debian_suite: str = "bookworm"
    debian_closure: bool = True
    """Whether the dependencies of ``debian`` come along."""
    patches: tuple[LocalPath, ...] = ()
    pre_build_script: LocalPath | None = None
    post_build_script: LocalPath | None = None
    build_system: str | None = None
    build_flags: tuple[str, ...] = ()
    configure_flags: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    """Options of the rule (``rules/build/*.toml`` declares them), e.g. a Kconfig fragment."""
    phases: Mapping[str, str] = field(default_factory=dict)
    """Per-phase shell text that replaces the rule's; ``pre_X`` and ``post_X`` add to it."""
    check: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    build_dependencies: tuple[str, ...] = ()
    """For the target, when building only."""
    native_dependencies: tuple[str, ...] = ()
    """Built for the build machine and put into its root (code generators)."""
    runtime_dependencies: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    """Extra tool sets of the pinned toolchain (``rules/toolchain.toml``)."""
    context_file: LocalPath | None = None
    runtime_dirs: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    """``path = "owner:group mode"`` for what a build without privileges cannot set."""
    install: bool = True
    """Whether the package is part of the system, or only there for others to build with."""
    subdir: str = ""
    """Directory of the source in which to build."""
    allow_missing: tuple[str, ...] = ()
    """What the check of installed files may pass over: names of libraries, paths of interpreters and files."""
    outputs: tuple[str, ...] = ()
    """What is split off the installed files: ``dev``, ``doc``, ``debug``."""

    @property
    def all_outputs(self) -> tuple[str, ...]:
        """The names of everything that its build makes."""
        return ("out", *self.outputs)


_NOTHING: Mapping[str, object] = {}
for _field in fields(Package):
    if _field.default is MISSING and _field.default_factory is not MISSING:
        setattr(Package, _field.name, _NOTHING)


def package_of(table: dict[str, object]) -> Package:
    """The package that a table describes, whose keys are checked; the table must not change any more.

    There are tens of thousands, of which each sets a few of thirty keys. The others are those of the class: calling it
    would set them one by one, which takes ten times as long.
    """
    made = object.__new__(Package)
    object.__setattr__(made, "__dict__", table)
    return made


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """``[config_files.NAME]``"""

    name: str
    path: str
    source: LocalPath
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    variables: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    """``[dinit_services.NAME]``"""

    name: str
    type: str = "process"
    command: str = ""
    stop_command: str | None = None
    depends: tuple[str, ...] = ()
    start_timeout: int | None = None
    stop_timeout: int | None = None
    working_directory: str | None = None
    log_file: str | None = None
    restart: str = "false"
    user: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    pid_file: str | None = None


@dataclass(frozen=True, slots=True)
class LogRotation:
    """``[[log_rotation]]``"""

    path: str
    max_size_mb: int | None = None
    max_files: int = 5
    compress: bool = False
    rotate_interval_days: int | None = None


@dataclass(frozen=True, slots=True)
class Swap:
    """``[[swap]]``"""

    path: str
    size_mb: int | None = None
    """Of a file."""
    priority: int | None = None
    """``None`` leaves it to the kernel, which prefers what was there first."""


@dataclass(frozen=True, slots=True)
class Store:
    """``[store]``"""

    profile: str = "auto"


@dataclass(frozen=True, slots=True)
class Build:
    """``[build]``"""

    prebuilt: str = "allowed"
    """Whether packages may come from ``prebuilt`` archives: ``allowed``, ``never`` or ``required``."""
    platform: str = DEFAULT_BUILD_ARCH
    """The architecture of the machine that builds run on."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``[rules]``"""

    paths: tuple[LocalPath, ...] = ()
    """Directories of the user's own rules and tool sets; a later one wins."""


def nowhere(_path: KeyPath) -> Place | None:
    """For configurations that were not read from files."""
    return None


@dataclass(frozen=True, slots=True)
class Sections:
    """What a configuration says beside its packages, for one architecture, defaults filled in.

    A section of the table of settings has the field here that is named like it (``Section.field``).
    """

    file: Path
    """The file that was given."""
    files: tuple[Path, ...]
    """Every file that was read, in order."""
    arch: str
    system: System = field(default_factory=System)
    users: Mapping[str, User] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    network: Network | None = None
    config_files: Mapping[str, ConfigFile] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    log_rotation: Mapping[str, LogRotation] = field(default_factory=dict)
    """By path."""
    swap: Mapping[str, Swap] = field(default_factory=dict)
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    store: Store = field(default_factory=Store)
    build: Build = field(default_factory=Build)
    rules: Rules = field(default_factory=Rules)
    conflicts: Mapping[str, str] = field(default_factory=dict)
    """``[conflicts]``: path → the package that wins there."""
    place: Callable[[KeyPath], Place | None] = field(default=nowhere, compare=False, repr=False)
    """Where a value was set: ``place(("packages", "zlib", "hash"))``. Worked out only when asked."""


@dataclass(frozen=True, slots=True)
class Config(Sections):
    """A whole system as configured for one architecture."""

    packages: Mapping[str, Package] = field(default_factory=dict)

    def sections(self) -> Sections:
        """All but the packages."""
        return Sections(**{each.name: getattr(self, each.name) for each in fields(Sections)})
