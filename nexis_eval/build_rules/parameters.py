"""What a rule is called with, as strings and back: a package's part in its derivation. Pure.

The strings say of each list and table how long it is, so that two different calls never have the same strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the templates of a rule are rendered with; as ``package`` they see all of it."""

    arch: str
    build_arch: str
    name: str
    version: str
    source: str
    subdir: str
    check: bool
    pre_build: str
    post_build: str
    build_flags: tuple[str, ...]
    configure_flags: tuple[str, ...]
    patches: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Any]
    """As the package gives them, files by their paths in the sandbox."""
    phases: Mapping[str, str]
    env: Mapping[str, str]


def pairs(table: Mapping[str, str]) -> Iterator[str]:
    """A table of strings as strings: its length, then each key with its value, in the order of the keys."""
    yield str(len(table))
    for key in sorted(table):
        yield key
        yield table[key]


def parameters_of(call: Sequence[str]) -> Parameters:
    """What the strings of a call stand for: the inverse of ``Caller.call``."""
    strings = iter(call)
    _rule, arch, build_arch, name, version, source, subdir, check, pre_build, post_build = islice(strings, 10)

    def several() -> tuple[str, ...]:
        return tuple(islice(strings, int(next(strings))))

    def table() -> dict[str, str]:
        return {next(strings): next(strings) for _ in range(int(next(strings, "0")))}

    build_flags, configure_flags, patches, outputs = several(), several(), several(), several()
    phases, env = table(), table()
    kind = next(strings, "")
    return Parameters(
        arch,
        build_arch,
        name,
        version,
        source,
        subdir,
        bool(check),
        pre_build,
        post_build,
        build_flags,
        configure_flags,
        patches,
        outputs,
        _unflat(kind, strings) if kind else {},
        phases,
        env,
    )


def flat(value: object) -> Iterator[str]:
    """A value of TOML as strings: its type and length first, tables in the order of their keys."""
    match value:
        case str():
            yield from ("string", value)
        case bool():
            yield "true" if value else "false"
        case int():
            yield from ("integer", str(value))
        case float():
            yield from ("float", value.hex())
        case list() | tuple():
            yield from ("list", str(len(value)))
            for each in value:
                yield from flat(each)
        case Mapping():
            yield from ("table", str(len(value)))
            for key in sorted(value):
                yield key
                yield from flat(value[key])
        case None:
            yield "none"
        case _:
            raise TypeError(f"not a value of TOML: {value!r}")


def _unflat(kind: str, strings: Iterator[str]) -> Any:
    match kind:
        case "string":
            return next(strings)
        case "true" | "false":
            return kind == "true"
        case "integer":
            return int(next(strings))
        case "float":
            return float.fromhex(next(strings))
        case "list":
            return tuple(_unflat(next(strings), strings) for _ in range(int(next(strings))))
        case "table":
            return {next(strings): _unflat(next(strings), strings) for _ in range(int(next(strings)))}
    raise ValueError(f"not the strings of a value: {kind!r}")
