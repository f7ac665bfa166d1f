"""Whether what was downloaded can be what its URL promises, before its hash is pinned for good.

A server that is in trouble, or wants somebody to log in, answers with a page and says that all is well; a connection
that ends early may look like the end of the file. Neither shall become a pin.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from nexis_eval.fetch.client import shown, split_url
from nexis_eval.fetch.unpacked import Content
from nexis_eval.lock.model import LockedSource, LockError

_ARCHIVE = re.compile(
    r"\.(?:tar(?:\.(?:gz|z|bz2|xz|zst|zstd|lz|lzma))?|tgz|tbz2?|txz|tlz|tzst|zip|crate|deb)$", re.IGNORECASE
)
_PAGE = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_HEAD_BYTES = 4096


def see_that_it_is_whole(found: LockedSource, path: Path, content: Content) -> None:
    """Raise ``LockError`` for a web page, for a damaged archive, and for what is not the archive that its name says.

    ``content`` is what the file at ``path`` was found to hold when it was read to its end.
    """
    url = found.urls[0]
    name = unquote(split_url(url).path).rpartition("/")[2]
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
    if _PAGE.match(head) and not name.lower().endswith((".html", ".htm", ".xhtml")):
        raise LockError(
            f"what came from {shown(url)} is a web page of {found.size:,} bytes, not a file",
            hint="open the URL in a browser: it may want a login, or have moved. If the page is the source, pin its "
            "'hash' in the configuration",
        )
    cure = "try again, or name another URL. If the file is right as it is, pin its 'hash' in the configuration"
    if content.damage:
        raise LockError(
            f"what came from {shown(url)} ({found.size:,} bytes) cannot be unpacked: {content.damage}", hint=cure
        )
    if content.format is None and _ARCHIVE.search(name):
        raise LockError(
            f"what came from {shown(url)} ({found.size:,} bytes) is not the archive that its name says", hint=cure
        )
