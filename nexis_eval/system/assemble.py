"""Puts together what all parts of a system contribute: their files, and the packages that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nexis_eval.config.errors import each_error, raise_together
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import MissingPackageError
from nexis_eval.system.contribution import Contribution, Layer, combined
from nexis_eval.system.parts import PARTS
from nexis_eval.system.view import SystemView
from nexis_store.errors import NexisError

MOUNTED = ("dev", "proc", "run", "sys", "tmp")
"""Directories over which a running system mounts a file system."""


class ConfigFilePathError(NexisError):
    """A configured file would lie where the system has a directory, or below something that is no directory.

    A file never replaces a directory: everything below would be gone. Below a symbolic link there is nothing either;
    name the file by the path that the link leads to, ``/usr/bin/x`` and not ``/bin/x``. What ``/dev``, ``/proc``,
    ``/run``, ``/sys`` and ``/tmp`` have in an image is hidden as soon as the system runs.
    """

    code = "E0423"
    exit_code = 2


def _path_errors(view: SystemView, layers: Iterable[Layer]) -> list[ConfigFilePathError]:
    """Compare the paths of configured files with each other and with what all other parts have."""
    config = view.config
    entries: dict[str, Entry] = {}
    directories: dict[str, str] = {}
    """Each directory, and one path that makes it one."""
    names = []
    for layer in layers:
        if layer.at is not None and layer.at[0] == "config_files":
            names.append(str(layer.at[1]))
        for entry in layer.entries:
            if entry.text is None and entry.target is None:
                directories[entry.path] = f"/{entry.path}"
            else:
                entries[entry.path] = entry
            above = entry.path
            while "/" in above:
                above = above.rpartition("/")[0]
                directories.setdefault(above, f"/{entry.path}")
    own = {config.config_files[name].path.strip("/") for name in names}
    others = entries.keys() - own
    """Files and links of the system: of two configured files that are in each other's way, one is told."""
    wrong = []
    for name in names:
        path = config.config_files[name].path
        place = config.place(("config_files", name, "path"))
        inside = path.strip("/")
        if inside.partition("/")[0] in MOUNTED:
            why = f"/{inside.partition('/')[0]} is filled anew at each start"
            hint = "take another path, or let a service write it"
            wrong.append(ConfigFilePathError(f"{path} would not be seen: {why}", hint=hint, place=place))
            continue
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
    return wrong


@dataclass(frozen=True, slots=True)
class Contributions:
    """What all parts of a system contribute."""

    by_part: Mapping[str, Contribution]
    everything: Contribution
    errors: tuple[NexisError, ...]
    """What is wrong with what they contribute."""


def contributions(view: SystemView) -> Contributions:
    """Ask every part what it contributes."""
    by_part: dict[str, Contribution] = {}
    wrong: list[NexisError] = []
    for part in PARTS:
        try:
            by_part[part.name] = part.contribute(view)
        except NexisError as error:
            wrong += each_error(error)
    everything = combined(by_part.values())
    return Contributions(by_part, everything, (*wrong, *everything.errors))


def system_layers(view: SystemView, contributed: Contributions) -> list[Layer]:
    """The files of all parts, those of one part together; raises together what is wrong with any of them."""
    layers: list[Layer] = []
    wrong = [*contributed.errors]
    for part in PARTS:
        own = contributed.by_part.get(part.name, Contribution())
        entries = own.files
        try:
            if part.assemble is not None:
                entries += tuple(part.assemble(view, contributed.everything))
        except NexisError as error:
            wrong += each_error(error)
        if entries:
            layers.append(Layer(f"system-{part.name}", entries))
        layers += own.layers
    wrong += _path_errors(view, layers)
    raise_together(wrong)
    return layers


def missing_packages(view: SystemView, everything: Contribution) -> list[MissingPackageError]:
    """What the system needs and its configuration does not have; none where there is no kernel, and so no system."""
    if view.kernel is None or view.kernel not in view.packages:
        return []
    return [
        MissingPackageError(
            f"the system has no package '{need.packages[0]}', which {need.why}", hint=need.hint, place=need.place
        )
        for need in everything.needs
        if not need.met(view)
    ]
