"""``[system] kernel_source``: the kernel as one more package, so that locking and building treat it like any other."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from nexis_eval.config.model import Config, KeyPath, Package
from nexis_store.errors import Place

_SET_BY = {"source": "kernel_source", "hash": "kernel_hash", "options": "kernel_config"}


def name_and_version(kernel: str) -> tuple[str, str]:
    """``linux-6.9.2`` → ``linux``, ``6.9.2``; what has no version has an empty one."""
    found = re.fullmatch(r"(.+?)-(\d.*)", kernel)
    return (found[1], found[2]) if found else (kernel, "")


def kernel_name(kernel: str, version_of: Callable[[str], str | None]) -> str | None:
    """The package that ``[system] kernel`` names, by name or by name-version.

    ``version_of`` is the version of a package; ``None`` if there is no such package.
    """
    if version_of(kernel) is not None:
        return kernel
    name, dash, _ = kernel.rpartition("-")
    while dash:
        if version_of(name) == kernel[len(name) + 1 :]:
            return name
        name, dash, _ = name.rpartition("-")
    return None


def is_kernel(package: Package, config: Config) -> bool:
    """Whether it is the package that ``with_kernel`` adds."""
    return config.system.kernel_source is not None and package.name == name_and_version(config.system.kernel)[0]


def with_kernel(config: Config) -> Config:
    """``config`` with the package that ``kernel_source`` and its kin describe, if they do."""
    system = config.system
    if system.kernel_source is None:
        return config
    name, version = name_and_version(system.kernel)
    package = Package(
        name,
        version,
        source=(system.kernel_source,),
        hash=system.kernel_hash,
        options={} if system.kernel_config is None else {"config": system.kernel_config},
    )
    packages = {**config.packages, name: package}
    place = _place(config.place, name)
    return replace(config, packages={each: packages[each] for each in sorted(packages)}, place=place)


def _place(place: Callable[[KeyPath], Place | None], name: str) -> Callable[[KeyPath], Place | None]:
    def of(path: KeyPath) -> Place | None:
        if path[:2] != ("packages", name):
            return place(path)
        key = _SET_BY.get(str(path[2]), "kernel") if len(path) > 2 else "kernel"
        return place(("system", key)) or place(("system", "kernel_source"))

    return of
