"""``runtime_dirs`` of packages: made at each start where they lie on memory, kept in the image where they do not."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

VOLATILE = ("/run/", "/tmp/", "/dev/shm/")


def _directories(system: System) -> list[str]:
    found = {path for package in system.config.packages.values() if package.install for path in package.runtime_dirs}
    return sorted(found)


def _entries(paths: list[str]) -> Iterator[Entry]:
    made, users = [], []
    for path in paths:
        if path.startswith("$XDG_RUNTIME_DIR"):
            users.append(path.removeprefix("$XDG_RUNTIME_DIR").lstrip("/"))
        elif path.startswith(VOLATILE):
            made.append(path)
        else:
            yield Entry(path.strip("/"))
    if made:
        text = "#!/bin/sh\n" + "".join(f"mkdir -p '{path}'\n" for path in made)
        yield Entry("etc/rc.d/10-runtime-dirs", text=text, mode=0o755)
    if users:
        lines = "".join(f'mkdir -p "$XDG_RUNTIME_DIR/{path}"\n' for path in users)
        yield Entry("etc/profile.d/runtime-dirs.sh", text=f'[ -n "$XDG_RUNTIME_DIR" ] && {{\n{lines}}}\n')


def directories(system: System) -> DerivationId | None:
    """The directories as a part, if packages want any."""
    paths = _directories(system)
    return system.files("system-runtime-dirs", _entries(paths)) if paths else None
