"""The place of an image for what is secret: empty in the store, filled in the copies that are taken out of it.

It is a file of fixed size, which the initramfs has as the first thing in it, uncompressed; so it lies in one piece in
every image that has the initramfs. ``docs/decisions/secrets.md`` says why. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nexis_eval.secrets import Secret
from nexis_store.errors import NexisError

FILE = "nexis-secrets"
MARK = "# The secrets of this system are not here: be9e9fbf2cf10b5b4c0bd9e7a2dd0d5c\n"
SIZE_BYTES = 65536


class SecretsSizeError(NexisError):
    """The passwords of a system have no room in its images, which keep 64 KiB for them.

    Some six hundred accounts can have a password. Let the others log in with keys, or leave their accounts to a
    directory service.
    """

    code = "E0601"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Filling:
    """What comes in the place of what, both of one size."""

    place: bytes
    content: bytes


def _padded(text: str) -> bytes:
    return text.encode().ljust(SIZE_BYTES, b"\n")


def filling(passwords: Mapping[str, Secret]) -> Filling | None:
    """What images get of ``passwords``; ``None`` if there are none. Raises ``SecretsSizeError``."""
    if not passwords:
        return None
    lines = [f"password {name} {passwords[name].reveal()}\n" for name in sorted(passwords)]
    content = _padded("".join(lines))
    if len(content) > SIZE_BYTES:
        raise SecretsSizeError(
            f"the {len(passwords)} passwords of this system take {len(content)} bytes, and an image has {SIZE_BYTES}",
            hint="give fewer accounts a password; keys (authorized_keys) are not limited",
        )
    return Filling(_padded(MARK), content)
