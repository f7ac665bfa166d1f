"""Where the engine's own data lie: beside the packages in a checkout, inside them once installed."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent / "rules"
RULES = _CHECKOUT if (_CHECKOUT / "toolchain.toml").is_file() else _PACKAGE / "rules"
"""Build systems, system parts and the pinned toolchain, as data."""
