"""The ``[tests]`` of rules: small packages, and what a rule has to make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexis_eval.build_rules.calls import BuildContext, render
from nexis_eval.build_rules.errors import CrossBuildError, RuleOptionError, RuleTestError
from nexis_eval.build_rules.file import RuleFile, read_rule_file
from nexis_eval.build_rules.model import Rule
from nexis_eval.config.kinds import InvalidValueError
from nexis_eval.config.model import LocalPath, Package, package_of
from nexis_eval.config.settings import PACKAGES
from nexis_eval.platforms import DEFAULT_BUILD_ARCH, PLATFORMS, platform_named
from nexis_store.suggest import did_you_mean

KEYS = frozenset(("package", "arch", "phases", "script", "env", "toolsets", "source", "files"))
ARCHIVE = "/in/source/x-1.0.tar"
_ELSEWHERE = frozenset(
    ("name", "source", "hash", "prebuilt", "prebuilt_hash", "debian", "build_system", "dependencies")
)
"""Keys of packages that a test has no use for: what there is is the rule, and the test's own source."""


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One ``[tests.NAME]`` of a rule."""

    file: RuleFile
    name: str
    package: Package
    arch: str
    phases: tuple[str, ...] | None
    script: tuple[str, ...]
    env: Mapping[str, str]
    toolsets: tuple[str, ...] | None
    source: Mapping[str, str]
    """Files of a source to build: path → text."""
    files: tuple[str, ...]
    """Paths that are there once it is built."""

    def fail(self, message: str, *at: str | int, hint: str | None = None) -> RuleTestError:
        """The error of an expectation that does not hold."""
        place = self.file.place(("tests", self.name, *at))
        return RuleTestError(f"test '{self.name}' of rule '{self.file.name}': {message}", hint=hint, place=place)


def read_tests(rule: Rule) -> Iterator[RuleTest]:
    """The tests in the file of a rule; raises ``RuleError`` for what is none."""
    file = read_rule_file(Path(rule.files[-1]))
    for name in file.value(file.table, dict, "tests") or {}:
        yield _test(file, name)


def _test(file: RuleFile, name: str) -> RuleTest:
    at = "tests", name
    table = file.value(file.table["tests"], dict, *at)
    file.only(table, KEYS, f"the test '{name}'", *at)
    arch = file.value(table, str, *at, "arch") or DEFAULT_BUILD_ARCH
    if arch not in PLATFORMS:
        hint = did_you_mean(arch, PLATFORMS, f"one of {', '.join(PLATFORMS)}")
        file.fail(f"unknown architecture '{arch}'", *at, "arch", hint=hint)
    source = file.text_table(table, *at, "source")
    for path in source:
        if path.startswith("/") or {"", ".", ".."} & set(path.split("/")) or not path.isprintable():
            file.fail(f"'{path}' is not a path below the source", *at, "source", path, on_key=True)
    files = file.texts(table, *at, "files")
    if files and not source:
        file.fail("'files' needs a 'source' to build", *at, "files")
    return RuleTest(
        file,
        name,
        _package(file, name, file.value(table, dict, *at, "package") or {}),
        arch,
        file.texts(table, *at, "phases") if "phases" in table else None,
        file.texts(table, *at, "script"),
        file.text_table(table, *at, "env"),
        file.texts(table, *at, "toolsets") if "toolsets" in table else None,
        source,
        files,
    )


def _package(file: RuleFile, test: str, table: Mapping[str, Any]) -> Package:
    at = "tests", test, "package"
    known = PACKAGES.settings.keys() - _ELSEWHERE
    file.only(table, known, f"the package of the test '{test}'", *at)
    fields: dict[str, object] = {"name": "x", "version": "1.0", "build_system": file.name}
    for key, value in table.items():
        try:
            fields[key] = PACKAGES.settings[key].kind.convert(value, str(file.path.parent))
        except InvalidValueError as invalid:
            issue = invalid.issues[0]
            file.fail(f"{key}: {issue.message}", *at, key, *issue.at, hint=issue.hint, on_key=issue.on_key)
    return package_of(fields)


def check_rendering(rule: Rule, test: RuleTest) -> str:
    """Render a test and compare; returns the script. Raises ``RuleTestError``, and ``RuleError`` for its templates."""
    package = test.package
    files = {
        name: f"/in/files/{name}/{value.path.name}"
        for name, value in package.options.items()
        if isinstance(value, LocalPath)
    }
    patches = tuple(f"/in/patches/{index}/{each.path.name}" for index, each in enumerate(package.patches))
    context = BuildContext(
        package,
        platform_named(test.arch),
        platform_named(DEFAULT_BUILD_ARCH),
        ARCHIVE,
        patches,
        "/in/hooks/pre/hook" if package.pre_build_script else None,
        "/in/hooks/post/hook" if package.post_build_script else None,
        files,
    )
    try:
        rendered = render(rule, context)
    except RuleOptionError as error:
        raise test.fail(error.message, "package", *error.at, hint=error.hint) from None
    except CrossBuildError as error:
        raise test.fail(error.message, "arch") from None
    run = tuple(line.removeprefix("run ") for line in rendered.script.splitlines() if line.startswith("run "))
    if test.phases is not None and run != test.phases:
        raise test.fail(f"the phases are {', '.join(run)}", "phases")
    for index, text in enumerate(test.script):
        if text not in rendered.script:
            raise test.fail(f"the script does not have {text!r}", "script", index)
    env = dict(rendered.env)
    for name, value in test.env.items():
        if env.get(name) != value:
            raise test.fail(f"the variable {name} is {env.get(name)!r}", "env", name)
    if test.toolsets is not None and rendered.toolsets != test.toolsets:
        raise test.fail(f"the tool sets are {', '.join(rendered.toolsets)}", "toolsets")
    return rendered.script
