"""What no command shows and nothing keeps: password hashes. Pure.

Settings that hold a secret are marked in the table of settings (``Setting.secret``), and their values are ``Secret``
objects from the moment that they are read. Texts that others made (the user's own files, records of older versions) are
searched for secrets by their form, which is that of ``crypt(5)``.
"""

from __future__ import annotations

import re
from collections.abc import Collection

HIDDEN = "(secret)"
_SHADOW = r"(?<=:)\$[0-9a-z]+\$[!#-9;-\[\]-~]+(?=:)"
_KNOWN = r"\$(?:1|2[abxy]|5|6|7|y|gy|sha1|scrypt|argon2(?:id|i|d))\$(?:[./A-Za-z0-9=,+-]+\$)+[./A-Za-z0-9=,+-]{8,}"
_BCRYPT = r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{20,}"
_SECRET = re.compile(f"{_SHADOW}|{_KNOWN}|{_BCRYPT}")


_BEGINNING = re.compile(r"\$[0-9a-z]+\$")
"""What all of them begin with, for which a long text is searched 50 times faster."""


class Secret:
    """A text that only the copies of images get (``docs/decisions/secrets.md``).

    What is printed, compared by its ``repr`` or pickled of it is only that there is one. ``marshal`` and ``json``
    refuse it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, ("",)


def secrets_in(text: str) -> frozenset[str]:
    """The secrets of a text."""
    return frozenset(_SECRET.findall(text)) if _BEGINNING.search(text) else frozenset()


def hidden(text: str, known: Collection[str] | None = None) -> str:
    """``text`` without its secrets; where ``known`` are given, others than those are told from them."""
    if _BEGINNING.search(text) is None:
        return text

    def stand_in(match: re.Match[str]) -> str:
        return HIDDEN if known is None or match[0] in known else "(another secret)"

    return _SECRET.sub(stand_in, text)


_SET = re.compile(r"(password_hash\"?'?\s*=\s*)(\"[^\"]*\"?|'[^']*'?)")

_LOGIN = re.compile(r"(https?://(?:[^/\s:@]*:)?|://[^/\s:@]*:)([^/\s@]*)@")


def blotted(line: str) -> str:
    """A line of a configuration with ``*`` in the place of each character of its secrets, in clear text or not."""
    line = _LOGIN.sub(lambda match: match[1] + "*" * len(match[2]) + "@", line)
    line = _SET.sub(lambda match: match[1] + re.sub(r"[^\"']", "*", match[2]), line)
    return _SECRET.sub(lambda match: "*" * len(match[0]), line) if "$" in line else line


_GIVEN = re.compile(r"(?:--set=)?[^={]*password_hash[\"' ]*=")


def blotted_override(text: str) -> str:
    """``KEY=VALUE`` of the command line as it may be shown, and any other word of it."""
    match = _GIVEN.match(text)
    return match[0] + HIDDEN if match else blotted(text)
