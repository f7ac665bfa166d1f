"""All parts of a system beside its packages."""

from __future__ import annotations

from nexis_eval.system.boot import init, names, skeleton
from nexis_eval.system.context import System
from nexis_eval.system.contexts import contexts
from nexis_eval.system.files import config_files, runtime_directories
from nexis_eval.system.firewall import firewall
from nexis_eval.system.logging import log_rotation
from nexis_eval.system.network import network
from nexis_eval.system.services import services
from nexis_eval.system.users import users
from nexis_store.digest import DerivationId

SECTIONS = (skeleton, names, init, users, network, firewall, services, log_rotation, runtime_directories, contexts)
"""One function a section of the configuration; later ones override earlier ones where both have a path."""


def system_parts(system: System) -> list[DerivationId]:
    """The derivations of every section that has an effect on this system, then one a configured file."""
    parts = (section(system) for section in SECTIONS)
    return [*(part for part in parts if part is not None), *config_files(system)]
