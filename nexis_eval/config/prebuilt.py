"""``--no-prebuilt`` and ``--require-prebuilt``: a configuration without the choice between binary and source."""

from __future__ import annotations

from dataclasses import replace

from nexis_eval.config.errors import PackageError
from nexis_eval.config.model import Config


def no_prebuilt(config: Config) -> Config:
    """Everything that has a source is built from it; raises ``PackageError`` for what has none but its archive."""
    packages = {}
    for name, package in config.packages.items():
        if package.prebuilt and not package.source:
            raise PackageError(
                f"package '{name}' has no source, so there is nothing but its prebuilt archive",
                hint="add source = …, or leave out --no-prebuilt",
                place=config.place(("packages", name, "prebuilt")),
            )
        packages[name] = replace(package, prebuilt=(), smoke_test=None) if package.prebuilt else package
    return replace(config, packages=packages)


def require_prebuilt(config: Config) -> Config:
    """What has a prebuilt archive comes from there or not at all."""
    packages = {
        name: replace(package, fallback_to_source=False) if package.prebuilt else package
        for name, package in config.packages.items()
    }
    return replace(config, packages=packages)
