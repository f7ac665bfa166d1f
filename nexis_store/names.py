"""Names and paths that were checked once and need no check again. Pure.

A path inside a tree is relative, normal (no empty, ``.`` or ``..`` component), and never starts with a slash. Paths are
``str`` as ``os.fsdecode`` gives them, so any byte sequence a file system can hold survives (surrogateescape).
"""

from __future__ import annotations

import re
from functools import partial

from nexis_store.errors import StoreError

MAX_COMPONENT = 255
MAX_PATH = 3000
"""Bytes: the system takes 4095, of which the store's own place and that of whoever reads an artifact need some."""
MAX_DEPTH = 250

_SHOWN = 80

_UNSAFE = re.compile(r"[^A-Za-z0-9+._=-]")


def encode(text: str) -> bytes:
    """The bytes of a path as they are on disk (what ``os.fsencode`` gives under a UTF-8 locale)."""
    return text.encode("utf-8", "surrogateescape")


def decode(raw: bytes) -> str:
    """The inverse of ``encode``, lossless for any bytes."""
    return raw.decode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """``text`` as a terminal may be given it: what is not printable, and what is no UTF-8, is escaped."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


MAX_LINE = 2000
"""Characters of a line that a person is shown."""

_STEERING = re.compile(
    r"""(?P<colour>\x1b\[(?:[0-2]|3[0-79]|9[0-7]|;)*m)           # the colours that messages have, and nothing hidden
      | \x1b\[[0-?]*[ -/]*[@-~]                                # other sequences for the terminal, whole
      | \x1b[]PX^_](?:[^\x07\x1b\x9c\n]|\x1b(?!\\))*(?:\x07|\x9c|\x1b\\)?
      | \x1b[ -/]*[0-~]
      | \r(?=\n)
      | (?P<other>[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])
    """,
    re.VERBOSE,
)


def printable(text: str, *, colours: bool = False, longest: int = MAX_LINE) -> str:
    """``text`` of whatever origin as a terminal may be given it: it cannot steer it, and no line is very long.

    Line breaks and tabs stay, and with ``colours`` those of our own messages. What a terminal would obey is left out,
    other control characters are replaced, and so are those that change the direction of writing.
    """
    if not text.isprintable():
        text = _STEERING.sub(lambda found: _harmless(found, colours), text)
    if len(text) > longest:
        text = "\n".join(map(partial(_cut, longest), text.split("\n")))
    return text


def _harmless(found: re.Match[str], colours: bool) -> str:
    if colours and found["colour"]:
        return found[0]
    return "\N{REPLACEMENT CHARACTER}" if found["other"] else ""


def _cut(longest: int, line: str) -> str:
    return line if len(line) <= longest else f"{line[:longest]}… (and {len(line) - longest:,} more characters)"


def why_bad_path(path: str) -> str | None:
    """Say what is wrong with a path inside a tree, or ``None`` when nothing is."""
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it contains a NUL character"
    if path[0] == "/":
        return "it is absolute"
    if len(path) > MAX_PATH // 4 and len(encode(path)) > MAX_PATH:
        return f"it is longer than {MAX_PATH} bytes"
    components = path.split("/")
    if len(components) > MAX_DEPTH:
        return f"it has more than {MAX_DEPTH} components"
    for component in components:
        if component in ("", ".", ".."):
            return f"it has a component {component!r}"
        if len(component) > 63 and len(encode(component)) > MAX_COMPONENT:
            return f"a component is longer than {MAX_COMPONENT} bytes"
    return None


_PLAIN_NAME = re.compile(r"[A-Za-z0-9+~@%=,:_-][A-Za-z0-9+.~@%=,:_-]{0,254}").fullmatch


def why_bad_file_name(name: str) -> str | None:
    """Say why ``name``, which somebody else chose, cannot be that of a file; ``None`` when nothing is wrong."""
    if _PLAIN_NAME(name):
        return None
    if "/" in name or name in (".", ".."):
        return "it leads to another directory"
    if not name:
        return "it is empty"
    if not name.isprintable():
        return "it has a character that cannot be printed"
    if len(encode(name)) > MAX_COMPONENT:
        return f"it is longer than {MAX_COMPONENT} bytes"
    return None


def why_bad_owner(name: str) -> str | None:
    """Say what is wrong with the name (or number) of a user or group, or ``None`` when nothing is."""
    if not name:
        return "it is empty"
    if not name.isprintable():
        return "it has a character that cannot be printed"
    if ":" in name or "/" in name:
        return "it has a ':' or '/'"
    if len(encode(name)) > MAX_COMPONENT:
        return f"it is longer than {MAX_COMPONENT} bytes"
    return None


def check_path(path: str) -> str:
    """Return ``path`` if it is a normal relative path; raises ``StoreError`` otherwise."""
    why = why_bad_path(path)
    if why is not None:
        short = path if len(path) <= 2 * _SHOWN else f"{path[:_SHOWN]}…{path[-_SHOWN:]}"
        raise StoreError(
            f"{short!r} cannot be a path in an artifact: {why}",
            hint="use a relative path such as usr/bin/vim, without '.', '..' or double slashes"
            if len(path) == len(short)
            else "use shorter names, or fewer directories in each other",
        )
    return path


def check_component(path: str, start: int) -> None:
    """The same for the last component, beginning at ``start``, of a path whose directory has been checked."""
    name = path[start:]
    if not name or name in (".", "..") or "/" in name or "\0" in name or len(name) > 63 or len(path) > 2 * MAX_DEPTH:
        check_path(path)


def check_name(name: str) -> str:
    """Return ``name`` if it can name an artifact (printable text, no slash); raises ``StoreError`` otherwise."""
    if not name or not name.isprintable() or "/" in name or len(encode(name)) > MAX_COMPONENT:
        raise StoreError(
            f"{name!r} cannot name an artifact",
            hint="use printable characters without '/', at most 255 bytes, for example vim-9.0",
        )
    return name


def directory_name(name: str) -> str:
    """What of an artifact's name appears in its directory's name: only characters no tool stumbles over."""
    return _UNSAFE.sub("-", name)[:120]
