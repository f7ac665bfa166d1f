"""Rules between keys: what no single value can say. Reads the finished configuration; every rule is one function."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nexis_eval.config import errors
from nexis_eval.config.accounts import GROUPS, SERVICES, USERS, home_of, may_be_a_home
from nexis_eval.config.errors import ConfigError
from nexis_eval.config.kernel import kernel_name, name_and_version
from nexis_eval.config.model import Config, KeyPath, LocalPath, Package
from nexis_eval.config.origin import Origins, Problem, Spot, shown_path
from nexis_eval.config.passwords import read_password
from nexis_eval.config.settings import PACKAGES
from nexis_eval.graph.target import RESERVED_NAMES
from nexis_eval.mirrors import DEBIAN_ARCHIVES, SCHEME
from nexis_eval.platforms import platform_named
from nexis_eval.templates import fields_of, values
from nexis_store.suggest import did_you_mean, nearest

DEPENDENCY_KEYS = ("dependencies", "build_dependencies", "native_dependencies", "runtime_dependencies")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What is not in the configuration, and why."""

    removed: Mapping[KeyPath, Spot]
    """Named by ``[remove]``."""
    inactive: Mapping[KeyPath, Spot]
    """Declared for other architectures or profiles."""


class _Checker:
    def __init__(self, origins: Origins, problems: list[Problem], elsewhere: Elsewhere) -> None:
        self.origins = origins
        self.report = problems.append
        self.elsewhere = elsewhere
        self.wrong = origins.keys_of(problems)
        unclear = (errors.ConflictingValuesError, errors.DuplicateEntryError)
        self.unclear = {path[:-1] for path in origins.keys_of(each for each in problems if each.error in unclear)}
        """Tables of which it is not known what they say."""

    def problem(
        self,
        error: type[ConfigError],
        message: str,
        hint: str | None,
        path: KeyPath,
        notes: Sequence[tuple[KeyPath | Spot, str]] = (),
        *,
        missing: KeyPath | None = None,
    ) -> None:
        """Report; ``missing`` names the key whose absence is complained about: if it was given, but wrongly, it has
        an error of its own and there is nothing to say.
        """
        if missing in self.wrong or (self.unclear and any(map(self._is_unclear, (path, *(note for note, _ in notes))))):
            return
        spots = tuple((other if isinstance(other, Spot) else self.origins.spot(other), text) for other, text in notes)
        self.report(Problem(error, message, hint, self.origins.spot(path), spots))

    def _is_unclear(self, place: KeyPath | Spot) -> bool:
        if isinstance(place, Spot):
            return False
        return any(place[:length] in self.unclear for length in range(1, len(place) + 1))


def check(config: Config, origins: Origins, problems: list[Problem], elsewhere: Elsewhere) -> None:
    """Add to ``problems`` everything in ``config`` that contradicts itself or leads nowhere."""
    checker = _Checker(origins, problems, elsewhere)
    _dependencies(config, checker)
    _packages(config, checker)
    _services(config, checker)
    _kernel(config, checker)
    _network(config, checker)
    _users(config, checker)
    _passwords(config, checker)
    _accounts(config, checker)
    _config_files(config, checker)
    _conflicts(config, checker)
    _urls(config, checker)
    _local_files(config, checker)
    _rule_directories(config, checker)
    _context_files(config, checker)


def check_each_package(config: Config, origins: Origins, problems: list[Problem]) -> None:
    """The rules that look at one package at a time."""
    checker = _Checker(origins, problems, Elsewhere({}, {}))
    _packages(config, checker)
    _owners(config, _Accounts(config, checker))
    _urls(config, checker)
    _local_files(config, checker)
    _context_files(config, checker)


def find_cycles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The circles in a graph, one for each group of nodes that reach each other; names that are no key are ignored.

    Each starts with its smallest name. Without recursion: chains may be tens of thousands long.
    """
    done: set[str] = set()
    on_path: dict[str, int] = {}
    path: list[str] = []
    cycles: list[list[str]] = []
    for root in edges:
        if root in done:
            continue
        stack: list[tuple[str, Iterator[str]]] = [(root, iter(edges[root]))]
        on_path[root] = 0
        path.append(root)
        while stack:
            node, following = stack[-1]
            for each in following:
                if each in done or each not in edges:
                    continue
                if each in on_path:
                    cycle = path[on_path[each] :]
                    start = cycle.index(min(cycle))
                    cycles.append(cycle[start:] + cycle[:start])
                    continue
                on_path[each] = len(path)
                path.append(each)
                stack.append((each, iter(edges[each])))
                break
            else:
                stack.pop()
                path.pop()
                del on_path[node]
                done.add(node)
    unique: dict[tuple[str, ...], list[str]] = {}
    for cycle in cycles:
        unique.setdefault(tuple(cycle), cycle)
    return list(unique.values())


def _dependencies(config: Config, checker: _Checker) -> None:
    packages = config.packages
    edges: dict[str, tuple[str, ...]] = {}
    for name, package in packages.items():
        needed = package.dependencies
        if package.build_dependencies or package.native_dependencies or package.runtime_dependencies:
            needed += package.build_dependencies + package.native_dependencies + package.runtime_dependencies
        edges[name] = needed
        for each in needed:
            if each not in packages:
                _unknown_dependency(package, each, packages, checker)
    for cycle in find_cycles(edges):
        _dependency_cycle(cycle, packages, checker)


def _unknown_dependency(package: Package, name: str, packages: Mapping[str, Package], checker: _Checker) -> None:
    for key in DEPENDENCY_KEYS:
        names: tuple[str, ...] = getattr(package, key)
        if name in names:
            others = (each for each in packages if each != package.name)
            hint = did_you_mean(name, others, f'declare it: [[packages]] name = "{name}" …')
            notes = []
            removed = checker.elsewhere.removed.get(("packages", name))
            inactive = checker.elsewhere.inactive.get(("packages", name))
            if removed is not None:
                hint, notes = "keep it, or remove what depends on it as well", [(removed, "it is removed here")]
            elif inactive is not None:
                hint = "declare it for every architecture and profile, or move the dependency into the same part"
                notes = [(inactive, "it is declared only here, in a part that does not count")]
            checker.problem(
                errors.UnknownDependencyError,
                f"package '{package.name}' depends on '{name}', which is not declared",
                hint,
                ("packages", package.name, key, names.index(name)),
                notes,
            )


def _needs_at(package: Package, name: str) -> KeyPath:
    for key in DEPENDENCY_KEYS:
        names: tuple[str, ...] = getattr(package, key)
        if name in names:
            return ("packages", package.name, key, names.index(name))
    return ("packages", package.name)


def _dependency_cycle(cycle: list[str], packages: Mapping[str, Package], checker: _Checker) -> None:
    if len(cycle) == 1:
        checker.problem(
            errors.DependencyCycleError,
            f"package '{cycle[0]}' depends on itself",
            "delete it from its own list",
            _needs_at(packages[cycle[0]], cycle[0]),
        )
        return
    following = [*cycle[1:], cycle[0]]
    notes = [
        (_needs_at(packages[name], needed), f"'{name}' needs '{needed}'")
        for name, needed in zip(cycle[1:], following[1:], strict=True)
    ]
    checker.problem(
        errors.DependencyCycleError,
        f"packages depend on each other in a circle: {' → '.join([*cycle, cycle[0]])}",
        "one of them has to be built without the other first: split a package, or drop a dependency",
        _needs_at(packages[cycle[0]], cycle[1]),
        notes,
    )


class Kind(StrEnum):
    """What a package is made of."""

    SOURCE = "source"
    PREBUILT = "prebuilt"
    DEBIAN = "debian"


_BUILT = frozenset((Kind.SOURCE, Kind.PREBUILT))
EFFECTIVE: Mapping[str, frozenset[Kind]] = {
    **dict.fromkeys(("name", "version", "dependencies", "runtime_dependencies", "install"), frozenset(Kind)),
    **dict.fromkeys(("context_file", "runtime_dirs"), frozenset(Kind)),
    **dict.fromkeys(("source", "hash", "build_system"), frozenset((Kind.SOURCE,))),
    **dict.fromkeys(("prebuilt", "prebuilt_hash", "smoke_test"), frozenset((Kind.PREBUILT,))),
    **dict.fromkeys(("debian", "debian_suite", "debian_closure"), frozenset((Kind.DEBIAN,))),
    "fallback_to_source": frozenset((Kind.SOURCE,)),
    "options": frozenset(Kind),
    **dict.fromkeys(("patches", "pre_build_script", "post_build_script", "phases", "check", "env", "tools"), _BUILT),
    # Which rules take these is up to the rules: ``build_rules/checking.py``.
    **dict.fromkeys(("build_flags", "configure_flags", "subdir", "outputs", "attributes", "allow_missing"), _BUILT),
    **dict.fromkeys(("build_dependencies", "native_dependencies"), _BUILT),
}
"""For which kinds of packages a key has an effect: of several kinds that a package is, for one of them."""
_LACKING = {
    "prebuilt_hash": ("prebuilt", "delete it, or add prebuilt = …"),
    "hash": ("source", "delete it, or add source = …"),
    "fallback_to_source": ("source", "add source = …"),
    "smoke_test": ("prebuilt", "use check = true for built packages"),
    "debian_suite": ("debian", "delete it, or add debian = […]"),
    "debian_closure": ("debian", "delete it, or add debian = […]"),
    "build_system": ("source", "delete it, or add source = …: a 'prebuilt' archive has a rule of its own"),
}
"""The key that another one is nothing without, and what to do."""
DEBIAN_OPTIONS = ("remove",)
"""Options of Debian packages, which no rule builds."""


def _kinds(package: Package) -> frozenset[Kind]:
    return frozenset(kind for kind in Kind if getattr(package, kind))


def _packages(config: Config, checker: _Checker) -> None:
    for name, package in config.packages.items():
        at: KeyPath = ("packages", name)
        if name in RESERVED_NAMES:
            checker.problem(
                errors.ReservedNameError,
                f"package '{name}' bears the name of a part of the system, which would hide it",
                f"name it otherwise, for example '{name}-files'",
                (*at, "name"),
            )
        kinds = _kinds(package)
        for key, value in vars(package).items():
            # What has no kind at all is told elsewhere, once; what says what holds anyway does no harm.
            if kinds.isdisjoint(EFFECTIVE[key]) and (kinds or key in _LACKING) and value != PACKAGES.default(key):
                _without_effect(package, key, kinds, checker)
        if package.debian:
            _debian(package, checker)
        if package.hash and package.source and _is_repository(package.source[0]):
            checker.problem(
                errors.PackageKeysError,
                f"package '{name}' has a 'hash', but its source is a repository, which has none",
                "delete it: 'nexis-eval lock' pins the commit and all that is in it",
                (*at, "hash"),
            )


def _without_effect(package: Package, key: str, kinds: frozenset[Kind], checker: _Checker) -> None:
    at: KeyPath = ("packages", package.name)
    lacking, hint = _LACKING.get(key, (None, None))
    if lacking == "source" and kinds == {Kind.DEBIAN}:
        lacking = None
    if lacking is not None:
        message = f"package '{package.name}' has '{key}' but no '{lacking}'"
    else:
        message = f"package '{package.name}' has '{key}', which does nothing beside '{min(kinds)}'"
        hint = f"delete it, {_DEBIAN_WAY}"
    checker.problem(
        errors.PackageKeysError, message, hint, (*at, key), missing=None if lacking is None else (*at, lacking)
    )


_DEBIAN_WAY = (
    'or build the .deb (source = "mirror://debian/pool/….deb"), which runs hooks and phases: '
    "'nexis-eval rules' lists what build_system can be"
)


def _debian(package: Package, checker: _Checker) -> None:
    at: KeyPath = ("packages", package.name)
    for other in ("source", "prebuilt"):
        if getattr(package, other):
            checker.problem(
                errors.PackageKeysError,
                f"package '{package.name}' has both 'debian' and '{other}'",
                "it is either built or unpacked: keep one, or make two packages",
                (*at, "debian"),
                [((*at, other), f"'{other}' is here")],
            )
            return
    for option, value in package.options.items():
        if option not in DEBIAN_OPTIONS:
            checker.problem(
                errors.PackageKeysError,
                f"package '{package.name}': Debian packages have no option '{option}'",
                did_you_mean(option, DEBIAN_OPTIONS, f"options beside 'debian': {', '.join(DEBIAN_OPTIONS)}"),
                (*at, "options", option),
            )
        elif not isinstance(value, tuple) or not all(isinstance(each, str) and each for each in value):
            checker.problem(
                errors.PackageKeysError,
                f"package '{package.name}': option '{option}' must be a list of strings",
                "paths, or shell patterns, relative to the root of the package",
                (*at, "options", option),
            )


def _is_repository(url: str) -> bool:
    return url.startswith(("git+", "git://")) or url.partition("#")[0].partition("?")[0].endswith(".git")


def _services(config: Config, checker: _Checker) -> None:
    services = config.services
    for name, service in services.items():
        at: KeyPath = ("dinit_services", name)
        if service.type in ("process", "bgprocess", "scripted") and not service.command:
            checker.problem(
                errors.ServiceError,
                f"service '{name}' of type '{service.type}' has no 'command'",
                'add command = …, or type = "internal" for a service that runs nothing',
                at,
                missing=(*at, "command"),
            )
        if service.type == "bgprocess" and not service.pid_file:
            checker.problem(
                errors.ServiceError,
                f"service '{name}' of type 'bgprocess' has no 'pid_file'",
                'add pid_file = …, or type = "process" if the command stays in the foreground',
                (*at, "type"),
                missing=(*at, "pid_file"),
            )
        for index, each in enumerate(service.depends):
            if each not in services:
                checker.problem(
                    errors.UnknownServiceError,
                    f"service '{name}' depends on '{each}', which is not defined",
                    did_you_mean(each, services, f"define it: [dinit_services.{each}]"),
                    (*at, "depends", index),
                )
    for cycle in find_cycles({name: service.depends for name, service in services.items()}):
        following = [*cycle[1:], cycle[0]]

        def at_link(name: str, needed: str) -> KeyPath:
            return ("dinit_services", name, "depends", services[name].depends.index(needed))

        checker.problem(
            errors.ServiceCycleError,
            f"services depend on each other in a circle: {' → '.join([*cycle, cycle[0]])}",
            "drop one of the dependencies",
            at_link(cycle[0], following[0]),
            [
                (at_link(name, needed), f"'{name}' needs '{needed}'")
                for name, needed in zip(cycle[1:], following[1:], strict=True)
            ],
        )


def kernel_package(config: Config) -> Package | None:
    """The declared package that ``[system] kernel`` names, by name or by name-version."""
    packages = config.packages
    name = kernel_name(config.system.kernel, lambda name: packages[name].version if name in packages else None)
    return None if name is None else packages[name]


def _kernel(config: Config, checker: _Checker) -> None:
    system = config.system
    at: KeyPath = ("system", "kernel")
    for key in ("kernel_hash", "kernel_config"):
        if getattr(system, key) and not system.kernel_source:
            checker.problem(
                errors.KernelError,
                f"there is '{key}' but no 'kernel_source'",
                "delete it, or add kernel_source = …",
                ("system", key),
                missing=("system", "kernel_source"),
            )
    if system.kernel_source:
        name = name_and_version(system.kernel)[0]
        if name in config.packages:
            checker.problem(
                errors.KernelError,
                f"'kernel_source' defines package '{name}', but [[packages]] already has one",
                "keep one of the two: the package, or kernel_source",
                ("system", "kernel_source"),
                [(("packages", name, "name"), "the package is here")],
            )
        return
    if not checker.origins.setters(at) or kernel_package(config) is not None:
        return
    name = system.kernel.partition("-")[0]
    other = config.packages.get(name)
    if other is not None:
        message = f"there is no kernel '{system.kernel}': package '{name}' has version '{other.version}'"
        hint = f'write kernel = "{name}"'
    else:
        message = f"kernel '{system.kernel}' is not a declared package"
        hint = did_you_mean(system.kernel, config.packages, "declare it with [[packages]], or set kernel_source")
    checker.problem(errors.KernelError, message, hint, at, missing=("system", "kernel_source"))


def _network(config: Config, checker: _Checker) -> None:
    network = config.network
    if network is None:
        return
    if network.dhcp:
        for key in ("static_ip", "gateway"):
            if getattr(network, key) is not None:
                message = f"'{key}' is set, but the address comes by DHCP"
                checker.problem(errors.NetworkError, message, "add dhcp = false, or delete it", ("network", key))
        return
    if network.static_ip is None:
        hint = 'add static_ip = "192.168.1.100/24", or dhcp = true'
        checker.problem(
            errors.NetworkError,
            "without DHCP there has to be a 'static_ip'",
            hint,
            ("network", "dhcp"),
            missing=("network", "static_ip"),
        )
        return
    if network.gateway is not None:
        import ipaddress

        inside = ipaddress.ip_interface(network.static_ip).network
        gateway = ipaddress.ip_address(network.gateway)
        # IPv6 routers are commonly reached by their link-local address.
        if gateway not in inside and not (gateway.version == 6 and gateway.is_link_local):
            checker.problem(
                errors.NetworkError,
                f"the gateway {gateway} is not in the network {inside}",
                "correct the address, or the prefix length of static_ip",
                ("network", "gateway"),
                [(("network", "static_ip"), "the network is set here")],
            )


def _users(config: Config, checker: _Checker) -> None:
    by_number: dict[int, str] = {}
    by_home: dict[str, str] = {}
    for name, user in config.users.items():
        if not user.system or (user.home and user.authorized_keys):
            home = home_of(user)
            if (first := by_home.setdefault(home, name)) != name:
                whose, other = (name, first) if user.home else (first, name)
                checker.problem(
                    errors.AccountError,
                    f"{home} is the home of '{other}' as well, and only one of the two could use it",
                    "name another directory, or delete 'home'",
                    ("users", whose, "home"),
                    [(("users", other), f"'{other}' is declared here")],
                )
        # Services without keys get no directory of their own: they may have any of the system's.
        if user.home and (not user.system or user.authorized_keys) and not may_be_a_home(user.home):
            checker.problem(
                errors.AccountError,
                f"{user.home} is of the whole system, and a home belongs to its user alone",
                f"name a directory that nothing else has, such as {'/root' if name == 'root' else f'/home/{name}'}",
                ("users", name, "home"),
            )
        if user.uid is None:
            continue
        if (name == "root") != (user.uid == 0):
            message = "root has the number 0" if name == "root" else "the number 0 is root's"
            checker.problem(errors.AccountError, message, "delete uid, and one is chosen", ("users", name, "uid"))
            continue
        first = by_number.setdefault(user.uid, name)
        if first != name:
            checker.problem(
                errors.AccountError,
                f"users '{first}' and '{name}' have the same number {user.uid}",
                "change one, or delete it and one is chosen",
                ("users", name, "uid"),
                [(("users", first, "uid"), f"the number of '{first}'")],
            )


def _passwords(config: Config, checker: _Checker) -> None:
    for name, user in config.users.items():
        file, at = user.password_hash_file, ("users", name, "password_hash_file")
        if file is None:
            continue
        if user.password_hash is not None:
            checker.problem(
                errors.AccountError,
                f"the password of '{name}' is given twice",
                "delete password_hash or password_hash_file",
                at,
                [(("users", name, "password_hash"), "the other one is here")],
            )
        elif os.path.isfile(file.path):  # noqa: PTH113 - as in _local_files
            try:
                read_password(file)
            except errors.PasswordFileError as error:
                checker.problem(errors.PasswordFileError, error.message, error.hint, at)


class _Accounts:
    """Looks for accounts by their names."""

    def __init__(self, config: Config, checker: _Checker) -> None:
        taken = {*GROUPS.values(), *(group.gid for group in config.groups.values() if group.gid is not None)}
        self._checker = checker
        self._users = {*USERS, *SERVICES, *config.users}
        self._groups = {*GROUPS, *SERVICES, *config.groups}
        # Whose number is that of another group has none of the own name.
        self._groups |= {name for name, user in config.users.items() if user.gid not in taken}

    def user(self, name: str, at: KeyPath) -> None:
        """See that there is a user of this name."""
        self._look("user", name, self._users, f"declare it: [users.{name}] system = true", at)

    def group(self, name: str, at: KeyPath) -> None:
        """The same for a group."""
        self._look("group", name, self._groups, f"declare it: [groups.{name}]", at)

    def _look(self, what: str, name: str, known: set[str], otherwise: str, at: KeyPath) -> None:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean '{near}'? If not, {otherwise}" if near else otherwise
            self._checker.problem(errors.UnknownAccountError, f"there is no {what} '{name}'", hint, at)


def _accounts(config: Config, checker: _Checker) -> None:
    accounts = _Accounts(config, checker)
    for name, user in config.users.items():
        for index, group in enumerate(user.groups):
            accounts.group(group, ("users", name, "groups", index))
    for name, file in config.config_files.items():
        accounts.user(file.owner, ("config_files", name, "owner"))
        accounts.group(file.group, ("config_files", name, "group"))
    for name, service in config.services.items():
        if service.user is not None:
            accounts.user(service.user, ("dinit_services", name, "user"))
    _owners(config, accounts)
    by_number = {number: name for name, number in GROUPS.items()}
    for name, declared in config.groups.items():
        if declared.gid is None:
            continue
        first = by_number.setdefault(declared.gid, name)
        if first != name or GROUPS.get(name, declared.gid) != declared.gid:
            message = f"groups '{first}' and '{name}' have the same number {declared.gid}"
            if name in GROUPS:
                message = f"the group '{name}' has the number {GROUPS[name]} in every system"
            checker.problem(
                errors.AccountError, message, "change it, or delete it and one is chosen", ("groups", name, "gid")
            )


def _owners(config: Config, accounts: _Accounts) -> None:
    """Who owns installed paths."""
    for name, package in config.packages.items():
        for path, text in package.attributes.items():
            owner, _, group = text.partition(" ")[0].partition(":")
            accounts.user(owner, ("packages", name, "attributes", path))
            if group != owner:
                accounts.group(group, ("packages", name, "attributes", path))


def _config_files(config: Config, checker: _Checker) -> None:
    by_path: dict[str, str] = {}
    for name, file in config.config_files.items():
        first = by_path.setdefault(file.path, name)
        if file.path.rstrip("-") in ("/etc/shadow", "/etc/gshadow"):
            checker.problem(
                errors.SecretFileError,
                f"{file.path} holds what no store may have, and a configured file is in the store",
                "delete the table; [users.NAME] password_hash or password_hash_file brings a password into images",
                ("config_files", name, "path"),
            )
        if file.path.rstrip("-") in ("/etc/passwd", "/etc/group"):
            checker.problem(
                errors.AccountError,
                f"{file.path} is made of [users] and [groups]: a configured file would replace all accounts",
                "delete the table, and declare the accounts in [users.NAME] and [groups.NAME]",
                ("config_files", name, "path"),
            )
        if first != name:
            checker.problem(
                errors.SamePathError,
                f"config files '{first}' and '{name}' write the same path {file.path}",
                "delete one, or change its path",
                ("config_files", name, "path"),
                [(("config_files", first, "path"), f"the path of '{first}'")],
            )


def _conflicts(config: Config, checker: _Checker) -> None:
    for path, winner in config.conflicts.items():
        if winner not in config.packages:
            checker.problem(
                errors.WinnerError,
                f"[conflicts] chooses '{winner}' for {path}, but no package '{winner}' is declared",
                did_you_mean(winner, config.packages, "name a declared package"),
                ("conflicts", path),
            )


def _urls(config: Config, checker: _Checker) -> None:
    """Mirror sets and fields of templates that URLs use."""
    mirrors = {*config.mirrors, *DEBIAN_ARCHIVES}
    fields = values(name="", version="", platform=platform_named(config.arch))
    good: set[str] = set()
    """Most packages share a few templates."""

    def look(urls: Iterable[str], at: KeyPath) -> None:
        for index, url in enumerate(urls):
            if url in good:
                continue
            mirror = url[len(SCHEME) :].partition("/")[0] if url.startswith(SCHEME) else None
            unknown = fields_of(url) - fields.keys() if "{" in url else frozenset()
            if not unknown and (mirror is None or mirror in mirrors):
                good.add(url)
            if mirror is not None and mirror not in mirrors:
                checker.problem(
                    errors.UndefinedMirrorError,
                    f"there is no mirror set '{mirror}'",
                    did_you_mean(mirror, mirrors, f'define it: [mirrors] {mirror} = ["https://…"]'),
                    (*at, index),
                )
            for field in sorted(unknown):
                checker.problem(
                    errors.TemplateFieldError,
                    f"there is no field '{{{field}}}' that could be filled in",
                    did_you_mean(field, fields, f"fields are {', '.join(f'{{{each}}}' for each in fields)}"),
                    (*at, index),
                )

    for name, package in config.packages.items():
        look(package.source, ("packages", name, "source"))
        if package.prebuilt:
            look(package.prebuilt, ("packages", name, "prebuilt"))
    if config.system.kernel_source:
        look((config.system.kernel_source,), ("system", "kernel_source"))


def local_paths(config: Config) -> Iterator[tuple[LocalPath, KeyPath, str]]:
    """Every file of the user's own that the configuration names: the path, its key, and what it is in words."""
    if config.system.kernel_config:
        yield config.system.kernel_config, ("system", "kernel_config"), "kernel configuration"
    for name, user in config.users.items():
        if user.password_hash_file:
            yield user.password_hash_file, ("users", name, "password_hash_file"), f"password hash of '{name}'"
    for name, file in config.config_files.items():
        yield file.source, ("config_files", name, "source"), f"template of '{name}'"
    for name, package in config.packages.items():
        for index, patch in enumerate(package.patches):
            yield patch, ("packages", name, "patches", index), f"patch of '{name}'"
        if package.pre_build_script:
            yield package.pre_build_script, ("packages", name, "pre_build_script"), f"pre-build script of '{name}'"
        if package.post_build_script:
            yield package.post_build_script, ("packages", name, "post_build_script"), f"post-build script of '{name}'"
        for option, value in package.options.items():
            if isinstance(value, LocalPath):
                yield value, ("packages", name, "options", option, "file"), f"file of the option '{option}' of '{name}'"
        if package.context_file:
            yield package.context_file, ("packages", name, "context_file"), f"SELinux context file of '{name}'"


def _local_files(config: Config, checker: _Checker) -> None:
    for local, at, what in local_paths(config):
        # Not Path.is_file(), which raises for a name that is too long.
        if os.path.isfile(local.path):  # noqa: PTH113
            continue
        if os.path.exists(local.path):  # noqa: PTH110
            message, hint = f"the {what} is not a file: '{local.written}'", "name a file"
        else:
            message, hint = f"the {what} is missing: '{local.written}'", near_file(local.written, local.path)
        checker.problem(errors.MissingLocalFileError, message, hint, at)


def _rule_directories(config: Config, checker: _Checker) -> None:
    for index, local in enumerate(config.rules.paths):
        if os.path.isdir(local.path):  # noqa: PTH112 - as above
            continue
        if os.path.exists(local.path):  # noqa: PTH110
            message, hint = f"'{local.written}' is not a directory", "name the directory that the rules are in"
        else:
            message = f"the directory of rules is missing: '{local.written}'"
            hint = near_file(local.written, local.path)
        checker.problem(errors.MissingLocalFileError, message, hint, ("rules", "paths", index))


def _context_files(config: Config, checker: _Checker) -> None:
    for name, package in config.packages.items():
        local = package.context_file
        if local is None or not os.path.isfile(local.path):  # noqa: PTH113 - as above
            continue
        # Imported on use: few packages have such a file.
        from nexis_eval.config.cil import Mistake, mistake_in

        try:
            mistake = mistake_in(local.path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            mistake = Mistake(1, 1, "it is not UTF-8")
        if mistake is not None:
            where = f"{shown_path(local.path)}:{mistake.line}:{mistake.column}"
            message = f"the SELinux context file of '{name}' is no CIL: {where}: {mistake.message}"
            hint = 'for example: (filecon "/usr/bin/x" file (system_u object_r bin_t ((s0) (s0))))'
            checker.problem(errors.ContextFileError, message, hint, ("packages", name, "context_file"))


def near_file(written: str, path: Path) -> str:
    """A hint for a file that is not there: one of nearly that name, or how paths are understood."""
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - names are wanted
        near = nearest(path.name, [each for each in names if each != path.name])
    except OSError:
        near = None
    if near:
        return f"did you mean '{os.path.join(os.path.dirname(written), near)}'?"  # noqa: PTH118, PTH120 - as written
    return f"looked for {shown_path(path)}; paths are relative to the file that names them"
