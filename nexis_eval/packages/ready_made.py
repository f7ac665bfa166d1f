"""A package that a vendor built: its archive, the smoke test that it has to pass, and the build that stands in."""

from __future__ import annotations

from dataclasses import replace

from nexis_eval.build_rules.model import Role, Rule
from nexis_eval.config.model import Package
from nexis_eval.graph.derivation import Choice
from nexis_eval.packages.build import attributes_of, built, download, from_source
from nexis_eval.packages.errors import PackageError
from nexis_eval.packages.making import Making
from nexis_eval.platforms import Platform


def prebuilt(making: Making, package: Package, platform: Platform) -> int:
    """A vendor's archive, unpacked and tried; raises ``PackageError`` if there is none for the platform."""
    rule = making.rule_for(Role.PREBUILT)
    absence = making.pins.absence(package, platform)
    if absence is not None:
        raise PackageError(
            f"there is no prebuilt archive of '{package.name}' for {platform.arch}: {absence.absent}",
            hint="build it from source: fallback_to_source = true, without --require-prebuilt",
            place=making.place(package, "prebuilt"),
        )
    source = download(making, package, "prebuilt", platform)
    made = built(making, _of_archive(package, rule), platform, rule, source)
    return _tried(making, package, platform, made) if package.smoke_test else made


def choice(making: Making, package: Package, platform: Platform) -> int:
    """The vendor's binary, and the source build that stands in for it."""
    given = package
    if package.options:
        rule = making.source_rule(package)
        package = replace(package, options={k: v for k, v in package.options.items() if k in rule.options})
    source = from_source(making, package, platform)
    absence = making.pins.absence(package, platform)
    if absence is not None:
        return making.combined(package, platform, Choice(absence.absent), (source,))
    return making.combined(package, platform, Choice(), (prebuilt(making, given, platform), source))


def _of_archive(package: Package, rule: Rule) -> Package:
    """What of a package's table is about its archive where it has a source, too: the rest says how that is built."""
    if not package.source:
        return package
    return replace(
        package,
        patches=(),
        pre_build_script=None,
        post_build_script=None,
        build_flags=(),
        configure_flags=(),
        options={name: value for name, value in package.options.items() if name in rule.options},
        phases={},
        check=False,
        subdir="",
    )


def _tried(making: Making, package: Package, platform: Platform, made: int) -> int:
    """What a prebuilt archive holds, once its smoke test has passed."""
    # Imported on use, as few edits need it.
    from nexis_eval.smoke import smoke_test

    ids, others = making.builder.nodes.ids, making.built[platform.arch]
    runtime, propagates = making.runtime(package, platform)
    tried = smoke_test(
        making.builder,
        making.toolchain(),
        package,
        platform,
        making.build_machine.arch,
        made=ids[made],
        needs=[ids[others[name]] for name in making.run_time_closure(package)],
        attributes=attributes_of(package),
        runtime=tuple(ids[each] for each in runtime),
        propagates=tuple(ids[runtime[each]] for each in propagates),
    )
    return making.step(tried, "smoke_test")
