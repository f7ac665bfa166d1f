"""All parts of a system beside its packages, in the order in which the root file system is put together."""

from __future__ import annotations

from nexis_eval.system.base import base
from nexis_eval.system.context import System
from nexis_eval.system.directories import directories
from nexis_eval.system.files import config_files
from nexis_eval.system.init import init
from nexis_eval.system.logs import logs
from nexis_eval.system.network import network
from nexis_eval.system.services import services
from nexis_eval.system.users import users
from nexis_store.digest import DerivationId


def system_parts(system: System) -> list[DerivationId]:
    """The derivations of every section of the configuration that has an effect on this system."""
    parts = [base(system), users(system), network(system), services(system), init(system), logs(system)]
    parts.append(directories(system))
    return [*(part for part in parts if part is not None), *config_files(system)]
