"""The table of all settings. Loader, documentation, JSON Schema, ``options`` and "did you mean" read this one table.

A setting is declared here and nowhere else; its default is the default of the field of the typed configuration
(``config/model.py``) that holds it, its name the name of that field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from nexis_eval.config import errors, model, regions, values
from nexis_eval.config.kinds import Kind, choice, integer, list_of, text
from nexis_eval.config.timezones import TIMEZONE


class Form(StrEnum):
    """How a section is written."""

    TABLE = "table"
    """``[section]``"""
    NAMED = "named"
    """``[section.NAME]``: a table of tables."""
    LIST = "list"
    """``[[section]]``: a list of tables, told apart by one key."""
    FREE = "free"
    """``[section]`` with free keys."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a section."""

    key: str
    kind: Kind
    doc: str
    """What it is for, in whole sentences."""
    used_by: str
    """The module that gives it an effect, below ``nexis_eval``; empty for what has none yet."""
    required: bool = False
    identity: bool = False
    """The key that tells the tables of a list apart; or that must repeat the name of a named table."""
    secret: bool = False
    """Whether no command may show its value."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table, table of tables or list of tables."""

    path: tuple[str, ...]
    form: Form
    doc: str
    settings: Mapping[str, Setting]
    model: type | None = None
    name_kind: Kind | None = None
    """What a NAME can be."""
    free: Kind | None = None
    """The kind of a ``FREE`` section as a whole."""
    used_by: str = ""
    identity: str = "name"
    """The key that tells the items of a ``LIST`` apart."""
    field: str = ""
    """The field that holds it, of the typed configuration or of the section around it; the end of ``path`` if empty."""
    construct: Callable[[dict[str, object]], object] | None = None
    """Makes a ``model`` of checked values; calling it with them, if nothing is named."""

    def value(self, values: dict[str, object]) -> object:
        """The typed form of one table, or of one item, whose values are checked."""
        if self.construct is not None:
            return self.construct(values)
        return values if self.model is None else self.model(**values)

    @property
    def title(self) -> str:
        """As it is written in TOML."""
        dotted = ".".join(self.path)
        return {Form.NAMED: f"[{dotted}.NAME]", Form.LIST: f"[[{dotted}]]"}.get(self.form, f"[{dotted}]")

    def default(self, key: str) -> object:
        """The default of one of its settings; ``dataclasses.MISSING`` where there is none."""
        return _defaults(self.model).get(key, dataclasses.MISSING) if self.model else dataclasses.MISSING


@cache
def _defaults(owner: type) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for each in dataclasses.fields(owner):
        if each.default is not dataclasses.MISSING:
            found[each.name] = each.default
        elif each.default_factory is not dataclasses.MISSING:
            found[each.name] = each.default_factory()
    return found


def _settings(*settings: Setting) -> dict[str, Setting]:
    return {setting.key: setting for setting in settings}


_DEBIAN_PACKAGE = text(
    "a Debian package",
    pattern=r"[a-z0-9{][a-z0-9+.{}-]{1,99}(?::[a-z0-9]{1,20})?(?:=[A-Za-z0-9.+~:-]{1,99})?",
    error=errors.PackageNameError,
    hint="name, or name=version",
)
_WORD = text("a name", pattern=r"[a-z0-9][a-z0-9_.-]{0,99}", hint="lower-case letters, digits, _ . -")

SYSTEM = Section(
    ("system",),
    Form.TABLE,
    "The system as a whole.",
    _settings(
        Setting("hostname", values.HOSTNAME, "The name of the machine (`/etc/hostname`).", "system.boot"),
        Setting(
            "architectures",
            values.ARCHITECTURES,
            "What the system is meant for; every architecture where left out. `check` and `lock` look at these, and "
            "building for another is an error.",
            "config.load",
        ),
        Setting("timezone", TIMEZONE, "Time zone by its IANA name (`/etc/localtime`).", "system.boot"),
        Setting(
            "version",
            values.VERSION,
            "Version of this system, in `/etc/os-release` and the boot menu.",
            "system.boot",
        ),
        Setting(
            "kernel",
            values.PACKAGE_NAME,
            "The package that provides the kernel, by name or name-version. With `kernel_source` it is the name and "
            "version of the kernel that is built from there.",
            "image.kernel",
        ),
        Setting("kernel_source", values.URL, "Where the sources of the kernel are, to build it from.", "config.kernel"),
        Setting("kernel_hash", values.HASH, "Hash of the file at `kernel_source`.", "config.kernel"),
        Setting(
            "kernel_config",
            values.LOCAL_PATH,
            "The kernel's `.config`, or a fragment that is laid over the architecture's default.",
            "config.kernel",
        ),
        Setting(
            "kernel_modules",
            values.KERNEL_MODULES,
            "Kernel modules for the root file system beside those that the other settings need; `*` is all.",
            "system.boot",
        ),
        Setting("kernel_parameters", values.KERNEL_PARAMETERS, "Added to the kernel's command line.", "image.iso"),
        Setting(
            "init",
            choice("auto", "dinit", "busybox"),
            "Process 1: `dinit`, `busybox` (its `init` and `runsv` run the same services), or `auto`: dinit where the "
            "system has a package of that name.",
            "system.services",
        ),
        Setting(
            "root_size_mb",
            integer(0, 1 << 20),
            "Size of `rootfs.ext2` in MiB; 0 is what the content needs and a quarter more.",
            "image.rootfs",
        ),
    ),
    model.System,
)
SELINUX = Section(
    ("system", "selinux"),
    Form.TABLE,
    "Mandatory access control.",
    _settings(
        Setting("enabled", values.BOOLEAN, "Whether policy, labels and the kernel parameters are there.", ""),
        Setting(
            "mode",
            choice("enforcing", "permissive", "disabled"),
            "`enforcing` denies, `permissive` only logs, `disabled` keeps the policy unused.",
            "",
        ),
    ),
    model.SELinux,
)
FIREWALL = Section(
    ("system", "firewall"),
    Form.TABLE,
    "The packet filter. Without this table there is none.",
    _settings(
        Setting(
            "backend",
            choice("nftables", "iptables", "firewalld"),
            "What loads the rules at boot.",
            "system.firewall",
        ),
        Setting("enabled", values.BOOLEAN, "Whether the rules are loaded.", "system.firewall"),
        Setting("allow_tcp", values.PORTS, "TCP ports that others may connect to.", "system.firewall"),
        Setting("allow_udp", values.PORTS, "UDP ports that others may send to.", "system.firewall"),
        Setting("allow_ping", values.BOOLEAN, "Whether the machine answers ICMP echo requests.", "system.firewall"),
    ),
    model.Firewall,
)
LOCALE = Section(
    ("system", "locale"),
    Form.TABLE,
    "Language and keyboard.",
    _settings(
        Setting("lang", regions.LOCALE, "`LANG` for every session.", "system.boot"),
        Setting(
            "keyboard_layout",
            regions.KEYBOARD,
            "Keyboard layout of the console, as XKB names it: `us`, `de`, or with a variant `de(nodeadkeys)`.",
            "system.boot",
        ),
    ),
    model.Locale,
)
USERS = Section(
    ("users",),
    Form.NAMED,
    "One account each.",
    _settings(
        Setting(
            "password_hash",
            values.PASSWORD_HASH,
            "The password as `crypt(5)` has it (`$argon2id$…`, `$6$…`, `$y$…`); without it no password is "
            "accepted, with `!` OpenSSH accepts no key either. Only the images that `build --output` writes hold it.",
            "system.users",
            secret=True,
        ),
        Setting(
            "password_hash_file",
            values.LOCAL_PATH,
            "In place of `password_hash`: a file with it on one line, which nobody but its owner may read.",
            "system.users",
        ),
        Setting("authorized_keys", values.SSH_KEYS, "Public SSH keys that may log in.", "system.users"),
        Setting("uid", integer(0, 4294967294), "User number; chosen from the name where left out.", "system.users"),
        Setting("gid", integer(0, 4294967294), "Number of the user's own group.", "system.users"),
        Setting(
            "groups",
            values.ACCOUNTS,
            "Further groups the user is in: those that every system has, or declared in `[groups.NAME]`.",
            "system.users",
        ),
        Setting("shell", values.FIELD_PATH, "Login shell.", "system.users"),
        Setting(
            "home",
            values.FIELD_PATH,
            "Home directory; where left out `/root` for root, `/home/NAME` for others, `/` for system accounts.",
            "system.users",
        ),
        Setting("description", values.GECOS, "Full name or purpose (the GECOS field).", "system.users"),
        Setting("system", values.BOOLEAN, "Whether it is an account of a service and no person's.", "system.users"),
    ),
    model.User,
    name_kind=values.ACCOUNT,
)
GROUPS = Section(
    ("groups",),
    Form.NAMED,
    "One group each, beside those of users' own and those that every system has.",
    _settings(
        Setting("gid", integer(0, 4294967294), "Group number; chosen from the name where left out.", "system.users"),
    ),
    model.Group,
    name_kind=values.ACCOUNT,
)
NETWORK = Section(
    ("network",),
    Form.TABLE,
    "The network. Without this table only the loopback interface is up.",
    _settings(
        Setting("interface", values.INTERFACE, "Name of the network interface.", "system.network"),
        Setting("dhcp", values.BOOLEAN, "Whether address, gateway and name servers come by DHCP.", "system.network"),
        Setting(
            "static_ip",
            values.INTERFACE_ADDRESS,
            "Address with prefix length, for `dhcp = false`.",
            "system.network",
        ),
        Setting("gateway", values.ADDRESS, "Default route, for `dhcp = false`.", "system.network"),
        Setting("dns", values.ADDRESSES, "Name servers; with DHCP they come first.", "system.network"),
    ),
    model.Network,
)
PACKAGES = Section(
    ("packages",),
    Form.LIST,
    "One package each. Relative paths are relative to the file that holds the table.",
    _settings(
        Setting("name", values.PACKAGE_NAME, "What other packages and commands call it.", "instantiate", True, True),
        Setting(
            "version",
            values.VERSION,
            "Its version; `latest` is looked up by `nexis-eval lock` and pinned in `nexis.lock`.",
            "lock.resolve",
        ),
        Setting(
            "source",
            values.URLS,
            "Where the sources are: URLs that are tried in order, or a git repository. `{version}`, `{tag}` and "
            "`{arch}` expand.",
            "packages.pins",
        ),
        Setting("hash", values.HASH, "Hash of the file at `source`; it wins over `nexis.lock`.", "packages.pins"),
        Setting("prebuilt", values.URLS, "Where an archive of ready-made binaries is, as `source`.", "packages.pins"),
        Setting("prebuilt_hash", values.HASH, "Hash of the file at `prebuilt`.", "packages.pins"),
        Setting(
            "fallback_to_source",
            values.BOOLEAN,
            "Whether to build from `source` where there is no `prebuilt` archive for the architecture.",
            "packages.ready_made",
        ),
        Setting("smoke_test", values.LINE, "Command that proves that the prebuilt binaries run.", "smoke"),
        Setting(
            "debian",
            list_of(_DEBIAN_PACKAGE, "a list of Debian packages"),
            "Debian packages to unpack: `name` or `name=version`; `{debarch}` expands.",
            "packages.debian",
        ),
        Setting("debian_suite", _WORD, "The Debian release they come from.", "lock.resolve"),
        Setting("debian_closure", values.BOOLEAN, "Whether their dependencies come along.", "lock.resolve"),
        Setting("patches", values.LOCAL_PATHS, "Patches (`patch -p1`), in this order.", "packages.build"),
        Setting(
            "pre_build_script",
            values.LOCAL_PATH,
            "Shell script that runs between patching and building.",
            "packages.build",
        ),
        Setting("post_build_script", values.LOCAL_PATH, "Shell script that runs after installing.", "packages.build"),
        Setting("build_system", _WORD, "The rule that builds it; `nexis-eval rules` lists them.", "packages.making"),
        Setting(
            "build_flags",
            values.LINES,
            "Arguments for the build; what they mean is up to the rule.",
            "build_rules.calls",
        ),
        Setting("configure_flags", values.LINES, "Arguments for the configuring step.", "build_rules.calls"),
        Setting(
            "options",
            values.RULE_OPTIONS,
            'Options of the rule; { file = "path" } names a file. Beside `debian`: `remove`, a list of paths.',
            "build_rules.calls",
        ),
        Setting(
            "phases",
            values.TEXTS,
            "Shell text that replaces a phase of the rule; `pre_PHASE` and `post_PHASE` add to it.",
            "build_rules.calls",
        ),
        Setting("check", values.BOOLEAN, "Whether the package's own tests run, and have to pass.", "build_rules.calls"),
        Setting("env", values.ENVIRONMENT, "Environment variables of the build.", "build_rules.calls"),
        Setting("dependencies", values.PACKAGE_NAMES, "Packages needed for building and running.", "instantiate"),
        Setting("build_dependencies", values.PACKAGE_NAMES, "Packages needed for building only.", "instantiate"),
        Setting(
            "native_dependencies",
            values.PACKAGE_NAMES,
            "Packages that run during the build, so are built for the machine that builds.",
            "packages.build",
        ),
        Setting("runtime_dependencies", values.PACKAGE_NAMES, "Packages needed for running only.", "instantiate"),
        Setting(
            "tools",
            list_of(_WORD, "a list of tool sets"),
            "Further tool sets of the pinned toolchain (see [toolchain](toolchain.md)).",
            "packages.build",
        ),
        Setting(
            "context_file",
            values.LOCAL_PATH,
            "SELinux policy module (CIL) with its file contexts; in the system it is in `/usr/share/selinux/packages`.",
            "system.contexts",
        ),
        Setting(
            "runtime_dirs",
            values.RUNTIME_DIRECTORIES,
            "Directories that exist when the package runs; made at boot, those with `$XDG_RUNTIME_DIR` at login.",
            "system.files",
        ),
        Setting(
            "attributes",
            values.ATTRIBUTES,
            'Owner, group and mode of installed paths: `"/usr/bin/x" = "root:mail 2755"`.',
            "packages.build",
        ),
        Setting(
            "install", values.BOOLEAN, "Whether the system has it, or it only helps to build others.", "instantiate"
        ),
        Setting("subdir", values.SUBDIRECTORY, "Directory of the source in which to build.", "build_rules.calls"),
        Setting(
            "allow_missing",
            values.LINES,
            "What the check of installed files may pass over: names of libraries, paths of interpreters or of files; "
            "`*` matches anything.",
            "execute.linkage",
        ),
        Setting(
            "outputs",
            list_of(choice("dev", "doc", "debug"), "a list of outputs"),
            "What is split off what is installed: `dev` (headers, static libraries, what only linking needs), `doc`, "
            "`debug` (debugging information).",
            "build_rules.calls",
        ),
    ),
    model.Package,
    construct=model.package_of,
)
CONFIG_FILES = Section(
    ("config_files",),
    Form.NAMED,
    "One file each, rendered from a Jinja2 template.",
    _settings(
        Setting("path", values.FILE_PATH, "Where it is in the system.", "system.files", True),
        Setting("source", values.LOCAL_PATH, "The template.", "system.files", True),
        Setting("owner", values.ACCOUNT, "Its owner.", "system.files"),
        Setting("group", values.ACCOUNT, "Its group.", "system.files"),
        Setting("mode", values.MODE, "Its permission bits, in octal digits.", "system.files"),
        Setting("variables", values.FREE, "What the template can use, beside `system` and `network`.", "system.files"),
    ),
    model.ConfigFile,
    name_kind=_WORD,
)
_SERVICE = text(
    "the name of a service",
    pattern=r"[a-z0-9][a-z0-9_.-]{0,99}",
    accept=lambda name: name not in ("env", "network.sh"),
    hint="lower-case letters, digits, _ . -; dinit's directory has something else called 'env' and 'network.sh'",
)
SERVICES = Section(
    ("dinit_services",),
    Form.NAMED,
    "One service each, in the words of `dinit-service(5)`.",
    _settings(
        Setting("name", _SERVICE, "The same as NAME; may be left out.", "system.services", identity=True),
        Setting(
            "type",
            choice("process", "bgprocess", "scripted", "internal", "triggered"),
            "`process` stays in the foreground, `bgprocess` forks and writes `pid_file`, `scripted` runs to its end, "
            "`internal` runs nothing, `triggered` waits for an event.",
            "system.services",
        ),
        Setting("command", values.COMMAND, "What it runs.", "system.services"),
        Setting("stop_command", values.COMMAND, "What stops it; a signal where left out.", "system.services"),
        Setting(
            "depends", list_of(_SERVICE, "a list of services"), "Services that start before it.", "system.services"
        ),
        Setting("start_timeout", integer(0), "Seconds it may take to start; 0 is for ever.", "system.services"),
        Setting("stop_timeout", integer(0), "Seconds it may take to stop; 0 is for ever.", "system.services"),
        Setting("working_directory", values.SERVICE_PATH, "Where it runs.", "system.services"),
        Setting("log_file", values.SERVICE_PATH, "Where its output goes.", "system.services"),
        Setting("restart", values.RESTART, "Whether it is started again when it ends.", "system.services"),
        Setting("user", values.ACCOUNT, "The account it runs as; root where left out.", "system.services"),
        Setting("env", values.SERVICE_ENVIRONMENT, "Environment variables it gets.", "system.services"),
        Setting("pid_file", values.SERVICE_PATH, "Where a `bgprocess` writes its number.", "system.services"),
    ),
    model.Service,
    name_kind=_SERVICE,
    field="services",
)
LOG_ROTATION = Section(
    ("log_rotation",),
    Form.LIST,
    "One log file, or directory of log files, each.",
    _settings(
        Setting("path", values.ABSOLUTE_PATH, "The file or directory.", "system.logging", True, True),
        Setting("max_size_mb", integer(1), "Rotate when it is larger, in MiB.", "system.logging"),
        Setting("max_files", integer(1, 1000), "How many old files are kept.", "system.logging"),
        Setting("compress", values.BOOLEAN, "Whether old files are compressed.", "system.logging"),
        Setting("rotate_interval_days", integer(1), "Rotate when it is older, in days.", "system.logging"),
    ),
    model.LogRotation,
    identity="path",
)
SWAP = Section(
    ("swap",),
    Form.LIST,
    "One swap area each. A file is made at the first start, and so is an area on a partition that holds nothing.",
    _settings(
        Setting(
            "path", values.FILE_PATH, "A partition (`/dev/vda2`), or a file below `/var`.", "system.swap", True, True
        ),
        Setting("size_mb", integer(1, 1 << 24), "Size of the file in MiB.", "system.swap"),
        Setting("priority", integer(0, 32767), "Areas with more are used first.", "system.swap"),
    ),
    model.Swap,
    identity="path",
)
MIRRORS = Section(
    ("mirrors",),
    Form.FREE,
    "Mirror sets: `mirror://NAME/path` tries these URLs in order. For `debian` and `debian-security` the machine's own "
    "apt configuration is the default.",
    {},
    free=values.MIRRORS,
    used_by="mirrors",
)
STORE = Section(
    ("store",),
    Form.TABLE,
    "The package store.",
    _settings(
        Setting(
            "profile",
            choice("auto", "desktop", "server"),
            "What a store is made for: `desktop` (metadata in LMDB), `server` (in RocksDB), or `auto`: RocksDB where "
            "the file system shares blocks (XFS, btrfs), else LMDB. A store that is there keeps what it has; "
            "`nexis-store migrate` changes it.",
            "cli.stores",
        ),
    ),
    model.Store,
)
BUILD = Section(
    ("build",),
    Form.TABLE,
    "How packages come about.",
    _settings(
        Setting(
            "prebuilt",
            choice("allowed", "never", "required"),
            "`never` builds from source whatever has one; `required` builds nothing from source that has a `prebuilt` "
            "archive. `nexis-eval build --no-prebuilt` and `--require-prebuilt` are the same for one run.",
            "instantiate",
        ),
        Setting(
            "platform",
            choice("x86_64", "aarch64", "riscv64"),
            "The architecture of the machine that builds run on, whatever they are for. It is part of every recipe. "
            "The tool sets of this version are pinned for `x86_64`.",
            "instantiate",
        ),
    ),
    model.Build,
)
RULES = Section(
    ("rules",),
    Form.TABLE,
    "Rules and tool sets of your own, beside those of the product ([how](extending.md#a-rule)).",
    _settings(
        Setting(
            "paths",
            values.LOCAL_DIRECTORIES,
            "Directories, relative to this file: each `NAME.toml` in one is a rule, `toolchain.toml` defines tool "
            "sets, which `toolchain.lock` pins. They win over the product's of the same name, and a later directory "
            "over an earlier one; those of an included file come first.",
            "evaluation.directories",
        ),
    ),
    model.Rules,
)
CONFLICTS = Section(
    ("conflicts",),
    Form.FREE,
    'Which package wins a path that several own: `"/usr/bin/vi" = "vim"`. A directory stands for all below it; '
    "of several entries the longest that fits decides.",
    {},
    free=values.WINNERS,
    used_by="image.assemble",
)

SECTIONS: tuple[Section, ...] = (
    SYSTEM,
    SELINUX,
    FIREWALL,
    LOCALE,
    USERS,
    GROUPS,
    NETWORK,
    PACKAGES,
    CONFIG_FILES,
    SERVICES,
    LOG_ROTATION,
    SWAP,
    MIRRORS,
    STORE,
    BUILD,
    RULES,
    CONFLICTS,
)
BY_PATH: Mapping[model.KeyPath, Section] = {section.path: section for section in SECTIONS}

INCLUDES = Section(
    ("includes",),
    Form.TABLE,
    "Other files that are part of this configuration.",
    _settings(
        Setting(
            "paths",
            list_of(values.LINE, "a list of paths"),
            "Files, patterns (`*.toml`, `**/*.toml`) and directories (their `*.toml` files), relative to this file.",
            "config.load",
        ),
    ),
)


def _removal(section: Section) -> Setting:
    """The key of ``[remove]`` that takes out items of ``section``."""
    key = section.path[0]
    kind = section.name_kind or section.settings[section.identity].kind
    doc = f"{key.replace('_', ' ').capitalize()}, by {section.identity}."
    return Setting(key, list_of(kind, f"a list of {section.identity}s"), doc, "config.merge")


REMOVE = Section(
    ("remove",),
    Form.TABLE,
    "Takes out what an included file brings.",
    _settings(*map(_removal, (each for each in SECTIONS if each.form in (Form.NAMED, Form.LIST)))),
)
DIRECTIVES: tuple[Section, ...] = (INCLUDES, REMOVE)
"""Tables that steer the loading and are no part of the result."""

PART_DOCS: Mapping[str, str] = {
    "default": "`[default.…]`: weaker than what stands outside; for values that others are meant to replace.",
    "force": "`[force.…]`: stronger than what stands outside; for values that must win.",
    "arch": "`[arch.NAME.…]`: only for that architecture, where it wins over what stands outside.",
    "profile": "`[profile.NAME.…]`: only with `--profile NAME`, where it wins over what stands outside.",
}
"""Parts of a file that hold sections again, with another strength or under a condition."""
