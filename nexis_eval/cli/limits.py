"""Sizes, times and limits as people write them on a command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from nexis_eval.cli.arguments import positive
from nexis_eval.sandbox.defaults import GIB, LOG_BYTES, OUTPUT_BYTES, PROCESSES, PROCESSES_A_CPU, SHARE
from nexis_eval.sandbox.spec import Limits

_SIZES = {"K": 10, "M": 20, "G": 30, "T": 40}
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_FIELDS = {
    "time": "wall_seconds",
    "memory": "memory_bytes",
    "processes": "processes",
    "output": "output_bytes",
    "disk": "disk_bytes",
    "log": "log_bytes",
}
LIMIT_HELP = (
    f"what each build may use: time=30m (default: no limit), memory=2G ({SHARE * 100:.0f} percent of the machine's), "
    f"processes=500 ({PROCESSES:,} and {PROCESSES_A_CPU} a processor; threads count), output=1G (a file, or all it "
    f"installs: {OUTPUT_BYTES // GIB}G), disk=10G (all it writes: {SHARE * 100:.0f} percent of what is free), log=100M "
    f"({LOG_BYTES // GIB}G); may be repeated"
)


def size(value: str) -> int:
    """``800M``, ``12G``, bytes: binary units."""
    text = value.strip().upper().removesuffix("B").removesuffix("I")
    shift = _SIZES.get(text[-1:], 0)
    try:
        number = float(text[:-1] if shift else text)
    except ValueError:
        raise argparse.ArgumentTypeError("write a size like 800M or 12G") from None
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be greater than zero")
    return int(number * (1 << shift))


def seconds(value: str) -> float:
    """``90``, ``90s``, ``30m``, ``2h``."""
    unit = _SECONDS.get(value[-1:], 0)
    try:
        number = float(value[:-1] if unit else value)
    except ValueError:
        raise argparse.ArgumentTypeError("write a time like 90s, 30m or 2h") from None
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be greater than zero")
    return number * (unit or 1)


def limit(value: str) -> tuple[str, float]:
    """``time=30m``: the field of ``Limits`` and its value."""
    name, _, amount = value.partition("=")
    if name not in _FIELDS:
        raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(_FIELDS)}: write NAME=VALUE, like time=30m")
    parse = {"time": seconds, "processes": positive}.get(name, size)
    try:
        return _FIELDS[name], parse(amount)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from None


def limits(given: Sequence[tuple[str, float]], max_memory: int | None) -> Limits:
    """What holds for each build. Who gives all builds a number for memory means it for each one alone, too."""
    return replace(Limits(memory_bytes=max_memory), **dict(given))  # type: ignore[arg-type]
