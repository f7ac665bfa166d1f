"""Mirror sets: ``mirror://NAME/path`` stands for the path below any of the set's base URLs.

Sets come from ``[mirrors]`` in the configuration. Those of Debian's archives default to what the machine's own apt is
configured to use, so that no host is named anywhere in this program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nexis_store.errors import NexisError

SCHEME = "mirror://"
APT_DIRECTORY = Path("/etc/apt")
DEBIAN_ARCHIVES = ("debian", "debian-security", "debian-ports")


class UnknownMirrorError(NexisError):
    """A URL names a mirror set that nothing defines.

    ``[mirrors]`` in the configuration gives a set its base URLs: ``mirror://NAME/path`` is looked for below each of
    them in order.
    """

    code = "F0002"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Mirrors:
    """The mirror sets by name; each an ordered list of base URLs."""

    sets: Mapping[str, tuple[str, ...]]

    def expand(self, url: str) -> list[str]:
        """The URLs to try for ``url``, in order; a URL that names no mirror set stands for itself."""
        if not url.startswith(SCHEME):
            return [url]
        name, _, path = url.removeprefix(SCHEME).partition("/")
        bases = self.sets.get(name)
        if not bases:
            raise UnknownMirrorError(
                f"no mirror set is called '{name}' (in {url})",
                hint=f'add it to the configuration: [mirrors] {name} = ["https://…/{name}"]'
                + ("; this machine's apt configuration has none either" if name in DEBIAN_ARCHIVES else ""),
            )
        return [f"{base.rstrip('/')}/{path}" for base in bases]


def _deb822_uris(text: str) -> Iterator[str]:
    """The URIs of enabled stanzas (sources.list(5), deb822 style)."""
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[key] = f"{fields.get(key, '')} {line.strip()}"
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() not in ("no", "false", "0"):
            yield from fields.get("uris", "").split()


def _one_line_uris(text: str) -> Iterator[str]:
    """The URIs of one-line entries (sources.list(5))."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] not in ("deb", "deb-src"):
            continue
        rest = words[1:]
        if rest and rest[0].startswith("["):
            while rest and not rest[0].endswith("]"):
                rest.pop(0)
            rest = rest[1:]
        if rest:
            yield rest[0]


def apt_archives(directory: Path = APT_DIRECTORY) -> dict[str, tuple[str, ...]]:
    """The base URLs that apt is configured with, by the last component of their path (``debian`` and so on)."""
    found: dict[str, dict[str, None]] = {}
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    for file in files:
        if not file.is_file() or file.suffix not in (".list", ".sources"):
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        for uri in _deb822_uris(text) if file.suffix == ".sources" else _one_line_uris(text):
            name = uri.rstrip("/").rpartition("/")[2]
            if name in DEBIAN_ARCHIVES and uri.startswith(("http://", "https://", "file:")):
                found.setdefault(name, {})[uri.rstrip("/")] = None
    return {name: tuple(uris) for name, uris in found.items()}


def default_mirrors(configured: Mapping[str, tuple[str, ...]]) -> Mirrors:
    """The sets of the configuration, and for Debian's archives those of apt where the configuration has none."""
    return Mirrors({**apt_archives(), **configured})
