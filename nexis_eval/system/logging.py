"""``[[log_rotation]]``: a table of rules, the script that follows them, and the service that runs it."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.config.model import LogRotation, Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import System
from nexis_eval.system.templates import text
from nexis_store.digest import DerivationId

RULES = "etc/nexis/log-rotation"


def rotation_service(system: System) -> Service | None:
    """The service that looks after the logs, where the configuration has none of that name."""
    if not system.config.log_rotation or "log-rotation" in system.config.services:
        return None
    return Service("log-rotation", command="/usr/libexec/nexis/rotate-logs-regularly", restart="true")


def _line(rule: LogRotation) -> str:
    size = (rule.max_size_mb or 0) << 20
    return f"{size} {rule.max_files} {int(rule.compress)} {rule.rotate_interval_days or 0} {rule.path}\n"


def _entries(system: System) -> Iterator[Entry]:
    yield Entry(
        RULES, text="# bytes files compress days path\n" + "".join(map(_line, system.config.log_rotation.values()))
    )
    for name in ("keeper", "rotate-logs", "rotate-logs-regularly"):
        yield Entry(f"usr/libexec/nexis/{name}", text=text(name), mode=0o755)


def log_rotation(system: System) -> DerivationId | None:
    """Log rotation as a part, if any is configured."""
    return system.files("system-log-rotation", _entries(system)) if system.config.log_rotation else None
