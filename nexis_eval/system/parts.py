"""The table of all parts of a system. A new section of the configuration is a module with a function, and a line."""

from __future__ import annotations

from nexis_eval.system import boot, files, network, region, services, users
from nexis_eval.system.contexts import contexts
from nexis_eval.system.contribution import Part
from nexis_eval.system.firewall import firewall
from nexis_eval.system.logging import log_rotation
from nexis_eval.system.ssh import ssh
from nexis_eval.system.swap import swap

PARTS: tuple[Part, ...] = (
    Part("region", region.region),
    Part("skeleton", boot.skeleton, boot.tables),
    Part("names", boot.names),
    Part("init", boot.init),
    Part("users", users.users, users.databases),
    Part("network", network.network),
    Part("firewall", firewall),
    Part("services", services.services, services.units),
    Part("ssh", ssh),
    Part("log-rotation", log_rotation),
    Part("swap", swap),
    Part("runtime-dirs", files.runtime_directories, files.directory_table),
    Part("contexts", contexts),
    Part("config-files", files.config_files),
)
"""Where two have a path, the later one wins."""
