"""URL templates: ``{name}``, ``{version}``, ``{tag}``, ``{arch}`` and ``{debarch}`` in a package's URLs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nexis_eval.platforms import Platform
from nexis_store.errors import NexisError

_PLAIN_URL = re.compile(r"[^:]*://[^?#%\\\t\r\n\[\]@]*/([^?#%\\\t\r\n\[\]@/]+)").fullmatch
"""URLs whose file name is plainly the last component of their path."""
FIELD = re.compile(r"\{([a-z_]*)\}")

ARCH_NAMES: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("x86_64", "amd64", "x64", "x86-64", "linux64", "64bit"),
    "aarch64": ("aarch64", "arm64", "armv8", "arm64v8"),
    "riscv64": ("riscv64", "riscv64gc", "riscv"),
}
"""What projects call the architectures in the names of their files, most usual first.

``{arch}`` stands for whichever of them a project uses: 'nexis-eval lock' finds out, and the lock keeps the URL."""


class TemplateError(NexisError):
    """A template uses a field that there is none of.

    URLs may use ``{name}``, ``{version}``, ``{version_major}``, ``{version_minor}``, ``{tag}``, and what projects call
    an architecture: ``{arch}``, ``{debarch}``, ``{goarch}``, ``{triplet}``.
    """

    code = "E0403"
    exit_code = 2


def fields_of(template: str) -> frozenset[str]:
    """The names of the fields that a template uses."""
    return frozenset(FIELD.findall(template))


def values(*, name: str, version: str, platform: Platform, tag: str = "", arch_name: str = "") -> dict[str, str]:
    """What the fields stand for. ``{tag}`` is the version where no tag is known.

    ``arch_name`` is what the project calls the architecture, if not as we do.
    """
    parts = version.split(".")
    return {
        "name": name,
        "version": version,
        "version_major": parts[0],
        "version_minor": ".".join(parts[:2]),
        "tag": tag or version,
        "arch": arch_name or platform.arch,
        "debarch": platform.debian,
        "goarch": platform.go,
        "triplet": platform.triplet,
    }


def expand(template: str, *, name: str, version: str, platform: Platform, tag: str = "", arch_name: str = "") -> str:
    """Fill in a template; raises ``TemplateError`` for a field that does not exist."""
    return fill(template, values(name=name, version=version, platform=platform, tag=tag, arch_name=arch_name))


def fill(template: str, known: Mapping[str, str]) -> str:
    """Fill in a template from ``known``."""

    def value(match: re.Match[str]) -> str:
        field = match.group(1)
        if field not in known:
            raise TemplateError(
                f"'{template}' uses {{{field}}}, which is not a field",
                hint=f"fields are: {', '.join(f'{{{each}}}' for each in known)}",
            )
        return known[field]

    return FIELD.sub(value, template)


def file_name(url: str) -> str:
    """The name under which a download is kept: the last component of the URL's path, without query.

    It is what the URL says, and may be none that a file can have.
    """
    plain = _PLAIN_URL(url)
    if plain is not None:
        name = plain[1]
        return name if name not in (".", "..") else "download"
    from urllib.parse import unquote, urlsplit

    name = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
    return name if name not in ("", ".", "..") else "download"
