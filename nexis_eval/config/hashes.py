"""Hashes as the configuration declares them, at the moment when something needs them."""

from __future__ import annotations

from nexis_eval.config.errors import ConfigErrors, PlaceholderHashError
from nexis_eval.config.model import Config, KeyPath
from nexis_eval.config.values import is_placeholder

HASH_KEYS = {"source": "hash", "prebuilt": "prebuilt_hash"}
"""What is downloaded → the key that pins it."""


def declared_hash(config: Config, text: str, path: KeyPath) -> tuple[str, str]:
    """Algorithm and digest of a hash that is set at ``path``, for a step that verifies something by it.

    A configuration with a placeholder (``sha256:abc123...``) loads, so that it can be read and checked; who needs the
    hash calls this. Raises ``ConfigErrors`` for a placeholder.
    """
    if is_placeholder(text):
        error = PlaceholderHashError(
            f"a hash is needed here, and '{text}' is only a placeholder",
            hint="write the whole digest, or delete the key and run 'nexis-eval lock'",
            place=config.place(path),
            length=len(text) + 2,
        )
        raise ConfigErrors([error])
    algorithm, _, digest = text.partition(":")
    return algorithm, digest
