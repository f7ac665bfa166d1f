"""What no command shows: password hashes. Pure.

Settings that hold a secret are marked in the table of settings (``Setting.secret``). In texts that were made of them,
files of a recipe, reports, comparisons, secrets are known by their form, which is that of ``crypt(5)``.
"""

from __future__ import annotations

import re
from collections.abc import Collection

HIDDEN = "(secret)"
_SHADOW = r"(?<=:)\$[0-9a-z]+\$[!#-9;-\[\]-~]+(?=:)"
_KNOWN = r"\$(?:1|2[abxy]|5|6|7|y|gy|sha1|scrypt|argon2(?:id|i|d))\$(?:[./A-Za-z0-9=,+-]+\$)+[./A-Za-z0-9=,+-]{8,}"
_BCRYPT = r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{20,}"
_SECRET = re.compile(f"{_SHADOW}|{_KNOWN}|{_BCRYPT}")


def secrets_in(text: str) -> frozenset[str]:
    """The secrets of a text."""
    return frozenset(_SECRET.findall(text)) if "$" in text else frozenset()


def hidden(text: str, known: Collection[str] | None = None) -> str:
    """``text`` without its secrets; where ``known`` are given, others than those are told from them."""
    if "$" not in text:
        return text

    def stand_in(match: re.Match[str]) -> str:
        return HIDDEN if known is None or match[0] in known else "(another secret)"

    return _SECRET.sub(stand_in, text)
