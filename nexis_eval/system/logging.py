"""``[[log_rotation]]``: a table of rules, the script that follows them, and the service that runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nexis_eval.config.model import LogRotation, Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.templates import text
from nexis_eval.system.view import SystemView

RULES = "etc/nexis/log-rotation"


def _line(rule: LogRotation) -> str:
    size = (rule.max_size_mb or 0) << 20
    return f"{size} {rule.max_files} {int(rule.compress)} {rule.rotate_interval_days or 0} {rule.path}\n"


def _entries(rules: Iterable[LogRotation]) -> Iterator[Entry]:
    yield Entry(RULES, text="# bytes files compress days path\n" + "".join(map(_line, rules)))
    for name in ("keeper", "rotate-logs", "rotate-logs-regularly"):
        yield Entry(f"usr/libexec/nexis/{name}", text=text(name), mode=0o755)


def log_rotation(view: SystemView) -> Contribution:
    """The rules, and the service that follows them, if any are configured."""
    rules = view.config.log_rotation.values()
    if not rules:
        return Contribution()
    service = Service("log-rotation", command="/usr/libexec/nexis/rotate-logs-regularly", restart="true")
    return Contribution(files=tuple(_entries(rules)), services=(service,))
