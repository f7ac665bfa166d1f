"""``[[swap]]``: partitions and files that memory is moved to; made, where they are missing, when the machine starts."""

from __future__ import annotations

from nexis_eval.config.errors import ConfigError
from nexis_eval.config.model import Service, Swap
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.contribution import Contribution, Mount
from nexis_eval.system.templates import text
from nexis_eval.system.view import SystemView

TABLE, SCRIPT = "usr/lib/nexis/swap", "usr/libexec/nexis/swap"
WRITABLE = ("/home/", "/mnt/", "/root/", "/srv/", "/var/")
"""What is elsewhere is part of the image, or in memory."""
IN_MEMORY = ("/var/lock/", "/var/run/")


class SwapError(ConfigError):
    """A swap area that no machine could use.

    It is a partition (``/dev/vda2``), whose size is what it is, or a file of ``size_mb`` in a directory that is on a
    disk and can be written, such as ``/var``.
    """

    code = "E0424"


def _error(view: SystemView, area: Swap) -> SwapError | None:
    place = view.config.place(("swap", area.path, "path"))
    if area.path.startswith("/dev/"):
        if area.size_mb is not None:
            at = view.config.place(("swap", area.path, "size_mb"))
            return SwapError(f"the partition {area.path} has the size that it has", hint="delete 'size_mb'", place=at)
    elif not area.path.startswith(WRITABLE) or area.path.startswith(IN_MEMORY):
        hint = "name a partition, such as /dev/vda2, or a file below /var"
        return SwapError(f"{area.path} cannot be a swap file: no disk is written there", hint=hint, place=place)
    elif area.size_mb is None:
        return SwapError(f"the swap file {area.path} has no size", hint="add size_mb = …", place=place)
    return None


def swap(view: SystemView) -> Contribution:
    """Lines of fstab(5), by which ``swapoff -a`` works as well, and a service that makes and uses the areas."""
    areas = view.config.swap.values()
    if not areas:
        return Contribution()
    priorities = {area.path: "-" if area.priority is None else str(area.priority) for area in areas}
    table = "".join(f"{area.size_mb or 0} {priorities[area.path]} {area.path}\n" for area in areas)
    return Contribution(
        files=(Entry(TABLE, text=table), Entry(SCRIPT, text=text("swap"), mode=0o755)),
        services=(Service("swap", type="scripted", command=f"/{SCRIPT}"),),
        mounts=tuple(
            Mount(path, "none", "swap", "sw" if priority == "-" else f"sw,pri={priority}")
            for path, priority in priorities.items()
        ),
        errors=tuple(error for error in (_error(view, area) for area in areas) if error is not None),
    )
