"""The words of git's wire protocol, version 2: packet lines, listing references, asking for a commit. Pure.

Formats: gitprotocol-common(5), gitprotocol-v2(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nexis_eval.fetch.headers import said

FLUSH = b"0000"
DELIMITER = b"0001"
MAX_PACKET = 65516
AGENT = "nexis-eval"


class ProtocolError(ValueError):
    """The other side does not speak as it should, or says that it refuses."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A branch or tag: the object it names, and for an annotated tag the commit behind it."""

    name: str
    oid: str
    peeled: str = ""

    @property
    def commit(self) -> str:
        """The commit it stands for."""
        return self.peeled or self.oid


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server says it can do."""

    values: Mapping[str, str]

    @property
    def object_format(self) -> str:
        """``sha1`` or ``sha256``: how the repository names objects."""
        return self.values.get("object-format", "sha1").split(" ")[0]

    @property
    def shallow(self) -> bool:
        """Whether one commit can be had without its history."""
        return "shallow" in self.values.get("fetch", "").split(" ")


def packet(text: str | bytes) -> bytes:
    """One packet line."""
    data = text.encode() if isinstance(text, str) else text
    if len(data) > MAX_PACKET:
        raise ProtocolError("a packet line is too long")
    return b"%04x%s" % (len(data) + 4, data)


def request(command: str, capabilities: Capabilities, arguments: Iterable[str]) -> bytes:
    """A whole command."""
    return b"".join(
        (
            packet(f"command={command}\n"),
            packet(f"agent={AGENT}\n"),
            packet(f"object-format={capabilities.object_format}\n"),
            DELIMITER,
            *(packet(f"{each}\n") for each in arguments),
            FLUSH,
        )
    )


def list_references(capabilities: Capabilities, prefixes: Sequence[str]) -> bytes:
    """Ask for the references whose names begin with one of ``prefixes``."""
    return request("ls-refs", capabilities, ("peel", "symrefs", *(f"ref-prefix {each}" for each in prefixes)))


def fetch_commit(capabilities: Capabilities, commit: str) -> bytes:
    """Ask for a commit and what it holds, without its history where the server can."""
    shallow = ("deepen 1",) if capabilities.shallow else ()
    return request("fetch", capabilities, ("no-progress", "ofs-delta", f"want {commit}", *shallow, "done"))


def packet_length(head: bytes) -> int:
    """How many bytes follow the four of ``head``; negative for flush (-4), delimiter (-3) and response end (-2)."""
    if len(head) != 4 or not set(head) <= set(b"0123456789abcdefABCDEF"):
        raise ProtocolError("the server does not speak git's protocol")
    length = int(head, 16)
    if length == 3 or length > MAX_PACKET + 4:
        raise ProtocolError("a packet line has an impossible length")
    return length - 4


def text_of(line: bytes) -> str:
    """A line as text; raises ``ProtocolError`` where the server reports an error instead."""
    if line.startswith(b"ERR "):
        raise ProtocolError(f"the server says: {said(line[4:].decode(errors='replace'))}")
    return line.decode(errors="replace").rstrip("\n")


def is_object_name(text: str) -> bool:
    """Whether it is the whole name of an object, in lower case."""
    return len(text) in (40, 64) and set(text) <= set("0123456789abcdef")


def parse_capabilities(lines: Sequence[str]) -> Capabilities:
    """What the server announced; raises ``ProtocolError`` if that is not version 2."""
    rest = [each for each in lines if not each.startswith("# service=")]
    if not rest or rest[0] != "version 2":
        raise ProtocolError("the server speaks only an old version of git's protocol (version 2 is needed: git 2.18)")
    values = dict(each.partition("=")[::2] for each in rest[1:])
    if "fetch" not in values or "ls-refs" not in values:
        raise ProtocolError("the server lets nobody fetch")
    return Capabilities(values)


def parse_reference(line: str) -> Reference:
    """One line of the answer to ``list_references``."""
    oid, _, rest = line.partition(" ")
    name, *attributes = rest.split(" ")
    peeled = next((each.removeprefix("peeled:") for each in attributes if each.startswith("peeled:")), "")
    if not name or not is_object_name(oid) or (peeled and not is_object_name(peeled)):
        raise ProtocolError(f"not a reference: {said(line)!r}")
    return Reference(name, oid, peeled)
