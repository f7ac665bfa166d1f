"""The ``context_file`` of packages: SELinux modules, which the system carries for its policy to be linked with."""

from __future__ import annotations

from nexis_eval.graph.derivation import Entry
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.view import SystemView

DIRECTORY = "usr/share/selinux/packages"


def contexts(view: SystemView) -> Contribution:
    """One file for each installed package that has one."""
    files = {name: package.context_file for name, package in view.packages.items()}
    return Contribution(
        files=tuple(
            Entry(f"{DIRECTORY}/{name}.cil", text=view.read(file).decode()) for name, file in files.items() if file
        )
    )
