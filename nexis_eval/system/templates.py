"""The texts of ``rules/system``: scripts as they are, and Jinja2 templates (``*.j2``) with the values of one system."""

from __future__ import annotations

import shlex
from functools import cache
from typing import TYPE_CHECKING

from nexis_eval.places import RULES

if TYPE_CHECKING:
    from jinja2 import Environment, Template

DIRECTORY = RULES / "system"


@cache
def text(name: str) -> str:
    """A file of ``rules/system`` as it is."""
    return (DIRECTORY / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["q"] = lambda value: shlex.quote(str(value))
    return environment


@cache
def _template(name: str) -> Template:
    return _environment().from_string(text(name))


def render(name: str, **values: object) -> str:
    """The template ``name`` with ``values``; the filter ``q`` quotes for the shell."""
    return _template(name).render(values)
