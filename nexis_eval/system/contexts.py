"""The ``context_file`` of packages: SELinux modules, which the system carries for its policy to be linked with."""

from __future__ import annotations

from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

DIRECTORY = "usr/share/selinux/packages"


def contexts(system: System) -> DerivationId | None:
    """One file for each installed package that has one."""
    entries = [
        Entry(f"{DIRECTORY}/{name}.cil", text=package.context_file.path.read_text(encoding="utf-8"))
        for name, package in system.config.packages.items()
        if package.install and package.context_file is not None
    ]
    return system.files("system-contexts", entries) if entries else None
