"""A package that is unpacked from Debian packages."""

from __future__ import annotations

from nexis_eval.config.model import Package
from nexis_eval.graph.derivation import Derivation, Fetch, Input, Union, Unpack, Use
from nexis_eval.packages.making import Making
from nexis_eval.platforms import Platform
from nexis_eval.templates import file_name

DOCUMENTATION = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/lintian", "usr/share/bug")


def unpacked(making: Making, package: Package, platform: Platform) -> int:
    """The union of all Debian packages that the lock lists; raises ``NotLockedError``."""
    parts = []
    ids = making.builder.nodes.ids
    for deb in making.pins.debs(package, platform):
        archive = making.step(
            Derivation(
                f"{deb.name}.deb",
                Fetch(deb.urls, "sha256", deb.sha256, file_name(deb.urls[0]), deb.size),
                platform=platform.arch,
                version=deb.version,
            ),
            "debian",
        )
        tree = Derivation(
            deb.name,
            Unpack("deb", exclude=DOCUMENTATION),
            platform=platform.arch,
            version=deb.version,
            inputs=(Input(ids[archive], Use.BIND, "/in/archive"),),
        )
        parts.append(making.step(tree, "debian"))
    removed = package.options.get("remove", ())
    assert isinstance(removed, tuple)
    exclude = tuple(dict.fromkeys(each.strip("/") for each in removed))
    return making.combined(package, platform, Union(exclude=exclude), parts)
