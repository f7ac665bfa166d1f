"""All parts of a system beside its packages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nexis_eval.config.errors import raise_together
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


def system_parts(system: System) -> list[DerivationId]:
    """The derivations of every section that has an effect on this system, then one a configured file.

    Raises together what is wrong with any of them.
    """
    parts: list[DerivationId] = []
    wrong: list[NexisError] = []
    files: list[Section] = [partial(config_file, name=name) for name in system.config.config_files]
    for section in (*SECTIONS, *files):
        try:
            part = section(system)
        except NexisError as error:
            wrong.append(error)
        else:
            parts += [part] if part is not None else []
    raise_together(wrong)
    return parts
