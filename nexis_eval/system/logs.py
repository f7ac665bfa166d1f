"""``[[log_rotation]]``: a table, and a script that cron runs every hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nexis_eval.config.model import LogRotation
from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

TABLE = "etc/log-rotation.tab"

SCRIPT = """\
#!/bin/sh
# Rotates logs as /etc/log-rotation.tab says: path, largest size in KiB, files to keep, compress (0/1), days.
# A 0 for size or days means that it does not count. A directory stands for the *.log files in it.
# The file is copied and emptied, so that who writes to it need not be told.

rotate() {
    file=$1 keep=$2 compress=$3
    suffix= ; [ "$compress" = 1 ] && suffix=.gz
    rm -f "$file.$keep$suffix"
    number=$keep
    while [ "$number" -gt 1 ]; do
        before=$((number - 1))
        [ -e "$file.$before$suffix" ] && mv "$file.$before$suffix" "$file.$number$suffix"
        number=$before
    done
    if [ "$compress" = 1 ]; then gzip -c "$file" >"$file.1.gz"; else cp -p "$file" "$file.1"; fi && : >"$file"
    touch "$file.rotated"
}

due() {
    file=$1 size=$2 days=$3
    [ -s "$file" ] || return 1
    [ "$size" -gt 0 ] && [ "$(du -k "$file" | cut -f1)" -ge "$size" ] && return 0
    [ "$days" -gt 0 ] || return 1
    [ -e "$file.rotated" ] || { touch "$file.rotated"; return 1; }
    [ -n "$(find "$file.rotated" -mtime "+$((days - 1))")" ]
}

grep -v '^#' "${1:-/etc/log-rotation.tab}" | while read -r path size keep compress days; do
    [ -d "$path" ] && path="$path/*.log"
    for file in $path; do
        if due "$file" "$size" "$days"; then rotate "$file" "$keep" "$compress"; fi
    done
done
"""


def _line(rotation: LogRotation) -> str:
    size = (rotation.max_size_mb or 0) * 1024
    return (
        f"{rotation.path} {size} {rotation.max_files} {int(rotation.compress)} {rotation.rotate_interval_days or 0}\n"
    )


def _entries(rotations: Sequence[LogRotation]) -> Iterator[Entry]:
    yield Entry(TABLE, text="# path KiB keep compress days\n" + "".join(map(_line, rotations)))
    yield Entry("usr/libexec/rotate-logs", text=SCRIPT, mode=0o755)
    yield Entry("var/spool/cron/crontabs", mode=0o700)
    yield Entry("var/spool/cron/crontabs/root", text="17 * * * * /usr/libexec/rotate-logs\n", mode=0o600)


def logs(system: System) -> DerivationId | None:
    """Log rotation as a part, if any is configured."""
    rotations = system.config.log_rotation
    return system.files("system-log-rotation", _entries(rotations)) if rotations else None
