"""URL templates: ``{name}``, ``{version}``, ``{tag}``, ``{arch}`` and ``{debarch}`` in a package's URLs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from nexis_eval.platforms import Platform
from nexis_store.errors import NexisError

FIELD = re.compile(r"\{([a-z_]*)\}")


class TemplateError(NexisError):
    """A template uses a field that there is none of."""

    code = "E0403"
    exit_code = 2


def fields_of(template: str) -> frozenset[str]:
    """The names of the fields that a template uses."""
    return frozenset(FIELD.findall(template))


def values(*, name: str, version: str, platform: Platform, tag: str = "") -> dict[str, str]:
    """What the fields stand for. ``{tag}`` is the version where no tag is known."""
    parts = version.split(".")
    return {
        "name": name,
        "version": version,
        "version_major": parts[0],
        "version_minor": ".".join(parts[:2]),
        "tag": tag or version,
        "arch": platform.arch,
        "debarch": platform.debian,
        "goarch": platform.go,
        "triplet": platform.triplet,
    }


def expand(template: str, *, name: str, version: str, platform: Platform, tag: str = "") -> str:
    """Fill in a template; raises ``TemplateError`` for a field that does not exist."""
    return fill(template, values(name=name, version=version, platform=platform, tag=tag))


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
