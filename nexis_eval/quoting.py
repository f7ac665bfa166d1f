"""How text of a configuration is written into files of other languages: one function a language. Pure.

What a language cannot hold is refused where the configuration says it (``nexis_eval.config.values``), and never reaches
these functions; what they write is read back as exactly the text.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable


def shell(value: object) -> str:
    """sh and bash: a text as one word, a list as so many."""
    if not isinstance(value, str) and isinstance(value, Iterable):
        return " ".join(shlex.quote(str(each)) for each in value)
    return shlex.quote(str(value))


_PATTERN = re.compile(r"([*?]|\[[^\]/]+\])")


def shell_pattern(pattern: str) -> str:
    """sh and bash: a pattern in which ``*``, ``?`` and ``[…]`` stand for what is there, and nothing else means more."""
    parts = _PATTERN.split(pattern)
    return "".join(part if index % 2 else shlex.quote(part) if part else "" for index, part in enumerate(parts))


def assignments(variables: Iterable[tuple[str, str]]) -> str:
    """Files of lines ``NAME="value"`` that shells and systemd's programs read: os-release(5), vconsole.conf(5)."""
    return "".join(f'{name}="{_SPECIAL.sub(_escaped, value)}"\n' for name, value in variables)


_SPECIAL = re.compile(r'[\\"$`]')


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


_PLAIN_DINIT = re.compile(r"[A-Za-z0-9_./:=,+@%-]+").fullmatch


def dinit(value: str) -> str:
    """A value in a service file of dinit: dinit-service(5). There is no way to write ``$`` that all versions share."""
    if _PLAIN_DINIT(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def dinit_command(words: Iterable[str]) -> str:
    """A command in a service file of dinit."""
    return " ".join(map(dinit, words))


def table_row(*values: object) -> str:
    """A line of fstab(5), whose fields are apart by blanks."""
    return " ".join(_BLANK.sub(lambda match: f"\\{ord(match[0]):03o}", str(value)) for value in values) + "\n"


_BLANK = re.compile(r"[ \t\n\\#]")


def fields(*values: object) -> str:
    """A line of passwd(5), group(5), shadow(5)."""
    texts = [str(value) for value in values]
    for text in texts:
        if ":" in text or "\n" in text:
            raise ValueError(f"{text!r} cannot be a field")
    return ":".join(texts) + "\n"
