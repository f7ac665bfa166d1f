"""All parts of a system beside its packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from nexis_eval.config.errors import raise_together
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.boot import init, names, skeleton
from nexis_eval.system.context import System
from nexis_eval.system.contexts import contexts
from nexis_eval.system.files import config_file, runtime_directories
from nexis_eval.system.firewall import firewall
from nexis_eval.system.logging import log_rotation
from nexis_eval.system.network import network
from nexis_eval.system.services import services
from nexis_eval.system.ssh import ssh
from nexis_eval.system.users import users
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError

Section = Callable[[System], DerivationId | None]

SECTIONS: tuple[Section, ...] = (
    skeleton,
    names,
    init,
    users,
    network,
    firewall,
    services,
    ssh,
    log_rotation,
    runtime_directories,
    contexts,
)
"""One function a section of the configuration; later ones override earlier ones where both have a path."""


class ConfigFilePathError(NexisError):
    """A configured file would lie where the system has a directory, or below something that is no directory.

    A file never replaces a directory: everything below would be gone. Below a symbolic link there is nothing either;
    name the file by the path that the link leads to, ``/usr/bin/x`` and not ``/bin/x``.
    """

    code = "E0423"
    exit_code = 2


def _check_paths(system: System, parts: Iterable[DerivationId], files: Mapping[str, DerivationId]) -> None:
    """Compare the paths of configured files with each other and with what all other parts have; raises together."""
    entries: dict[str, Entry] = {}
    directories: dict[str, str] = {}
    """Each directory, and one path that makes it one."""
    for part in (*parts, *files.values()):
        for entry in system.entries.get(part, ()):
            if entry.text is None and entry.target is None:
                directories[entry.path] = f"/{entry.path}"
            else:
                entries[entry.path] = entry
            above = entry.path
            while "/" in above:
                above = above.rpartition("/")[0]
                directories.setdefault(above, f"/{entry.path}")
    own = {system.config.config_files[name].path.strip("/") for name in files}
    others = entries.keys() - own
    """Files and links of the system: of two configured files that are in each other's way, one is told."""
    wrong = []
    for name in files:
        path = system.config.config_files[name].path
        place = system.config.place(("config_files", name, "path"))
        inside = path.strip("/")
        if inside in directories:
            has = directories[inside]
            why = "is a directory of the system" if has == path else f"is the directory of {has}"
            wrong.append(ConfigFilePathError(f"{path} {why}", hint="name a file in it", place=place))
        while "/" in inside:
            inside = inside.rpartition("/")[0]
            link = entries[inside].target if inside in entries else None
            if link is not None:
                why, hint = f"/{inside} is a symbolic link to {link}", "name the file by the path that it leads to"
                wrong.append(ConfigFilePathError(f"{path} cannot be: {why}", hint=hint, place=place))
            elif inside in others:
                why, hint = f"/{inside} is a file", "take another path"
                wrong.append(ConfigFilePathError(f"{path} cannot be: {why}", hint=hint, place=place))
    raise_together(wrong)


def system_parts(system: System) -> list[DerivationId]:
    """The derivations of every section that has an effect on this system, then one a configured file.

    Raises together what is wrong with any of them.
    """
    parts: list[DerivationId] = []
    wrong: list[NexisError] = []
    for section in SECTIONS:
        try:
            part = section(system)
        except NexisError as error:
            wrong.append(error)
        else:
            parts += [part] if part is not None else []
    files: dict[str, DerivationId] = {}
    for name in system.config.config_files:
        try:
            files[name] = config_file(system, name)
        except NexisError as error:
            wrong.append(error)
    try:
        _check_paths(system, parts, files)
    except NexisError as error:
        wrong.append(error)
    raise_together(wrong)
    return [*parts, *files.values()]
