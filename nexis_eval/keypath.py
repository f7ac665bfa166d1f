"""How a key of the configuration is named: what configuration and graph both say. Pure."""

from __future__ import annotations

KeyPath = tuple[str | int, ...]
"""Names of tables and keys, and places in lists: ``("packages", "zlib", "source")``."""
