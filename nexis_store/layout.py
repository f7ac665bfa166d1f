"""Where everything of a store lies, as text. Pure.

All paths hang off one root and nothing on disk names that root, so a store can be moved with ``mv``.
"""

from __future__ import annotations

from dataclasses import dataclass

from nexis_store.digest import BuildKey, FileDigest, TreeDigest
from nexis_store.names import directory_name

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below ``root``."""

    root: str

    def bucket(self, digest: TreeDigest) -> str:
        """The directory that holds an artifact: two levels of 256 keep every directory small."""
        text = digest.hex()
        return f"{self.root}/{text[:2]}/{text[2:4]}"

    def artifact(self, digest: TreeDigest, name: str) -> str:
        """The tree itself."""
        return f"{self.bucket(digest)}/{digest.hex()}-{directory_name(name)}"

    def sidecar(self, digest: TreeDigest) -> str:
        """The manifest of an artifact, with its name and references: enough to rebuild the metadata."""
        return f"{self.bucket(digest)}/{digest.hex()}.tree"

    def relative_artifact(self, digest: TreeDigest, name: str) -> str:
        """The artifact's path from the root of the store."""
        text = digest.hex()
        return f"{text[:2]}/{text[2:4]}/{text}-{directory_name(name)}"

    def link(self, digest: FileDigest, executable: bool) -> str:
        """The first copy of a file's content; one inode has one mode, so executables are kept apart."""
        text = digest.hex()
        return f"{self.links}/{text[:2]}/{text[2:]}{'x' if executable else ''}"

    def log(self, key: BuildKey) -> str:
        """The compressed log of a build."""
        text = key.hex()
        return f"{self.root}/.logs/{text[:2]}/{text}.zst"

    def build_lock(self, key: BuildKey) -> str:
        """The lock that one build of ``key`` holds."""
        return f"{self.root}/.locks/{key.hex()}"

    @property
    def database(self) -> str:
        """The metadata and its journal."""
        return f"{self.root}/.db"

    @property
    def format_file(self) -> str:
        """Says which version and backend the store has."""
        return f"{self.root}/.db/format.json"

    @property
    def commit_lock(self) -> str:
        """Held for the microseconds in which metadata changes."""
        return f"{self.root}/.db/lock"

    @property
    def history_file(self) -> str:
        """All realisations, for ``recover``."""
        return f"{self.root}/.db/history.log"

    @property
    def boot_file(self) -> str:
        """In which boot of the machine the store was last written to."""
        return f"{self.root}/.db/boot"

    @property
    def links(self) -> str:
        """One inode for each file content."""
        return f"{self.root}/.links"

    @property
    def staging(self) -> str:
        """Trees that are being written."""
        return f"{self.root}/.staging"

    @property
    def trash(self) -> str:
        """What was collected and waits for its bytes to be freed."""
        return f"{self.root}/.trash"

    @property
    def roots(self) -> str:
        """Named GC roots: symlinks that a person can read, make and remove."""
        return f"{self.root}/.roots"

    @property
    def generations(self) -> str:
        """Profiles: directories of numbered symlinks, one of which is current."""
        return f"{self.root}/.generations"

    @property
    def temporary_roots(self) -> str:
        """One file for each process that uses artifacts right now."""
        return f"{self.root}/.roots.tmp"

    @property
    def build_locks(self) -> str:
        """Locks of running builds."""
        return f"{self.root}/.locks"
