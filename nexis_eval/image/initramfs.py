"""The first root file system: loads modules, finds the real root, and hands over to it."""

from __future__ import annotations

from nexis_eval.graph.derivation import Entry, Input, Use
from nexis_eval.image.secrets import FILE, MARK, SIZE_BYTES
from nexis_eval.system.steps import Tools
from nexis_eval.system.templates import text
from nexis_store.digest import DerivationId


def initramfs(tools: Tools, modules: DerivationId, busybox: DerivationId) -> DerivationId:
    """Output: ``initramfs``: a small cpio archive with the place for secrets, and a compressed one with all else.

    ``busybox`` must be linked statically.
    """
    entries = (Entry("init", text=text("initramfs-init"), mode=0o755), Entry(FILE, text=MARK))
    init = tools.system.files("initramfs-init", entries)
    inputs = (
        Input(busybox, Use.BIND, "/in/busybox"),
        Input(modules, Use.BIND, "/in/modules"),
        Input(init, Use.BIND, "/in/init"),
    )
    return tools.step("initramfs", "initramfs.sh", inputs, env={"SECRETS": FILE, "SECRETS_BYTES": str(SIZE_BYTES)})
