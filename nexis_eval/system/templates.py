"""The texts of ``rules/system``: scripts as they are, and Jinja2 templates (``*.j2``) with the values of one system."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from nexis_eval.places import RULES
from nexis_eval.quoting import dinit, shell

if TYPE_CHECKING:
    from jinja2 import Template

    from nexis_eval.jinja import Environment

DIRECTORY = RULES / "system"


@cache
def text(name: str) -> str:
    """A file of ``rules/system`` as it is."""
    return (DIRECTORY / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from nexis_eval.jinja import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True)
    environment.add_filter("q", shell)
    environment.add_filter("dinit", dinit)
    return environment


@cache
def _template(name: str) -> Template:
    from nexis_eval.jinja import compiled

    return compiled(_environment(), text(name))


def render(name: str, **values: object) -> str:
    """The template ``name`` with ``values``; the filter ``q`` quotes for the shell, ``dinit`` for dinit."""
    from nexis_eval.jinja import rendered

    return rendered(_template(name), values, text(name))
