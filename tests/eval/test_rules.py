from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval.build_rules import reference
from nexis_eval.build_rules.calls import BuildContext, render
from nexis_eval.build_rules.checking import check_options
from nexis_eval.build_rules.errors import CrossBuildError, RuleError, RuleOptionError, UnknownRuleError
from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.reading import load_rules, rule_named
from nexis_eval.config.model import LocalPath, Package
from nexis_eval.platforms import AARCH64, PLATFORMS, RISCV64, X86_64
from nexis_eval.toolchain import load_toolchain

TOP = Path(__file__).resolve().parents[2]
RULES = load_rules(TOP / "rules" / "build")
USABLE = [name for name, rule in RULES.items() if not rule.abstract]


def context(package: Package, platform: str = "x86_64", **others: object) -> BuildContext:
    return replace(
        BuildContext(package, PLATFORMS[platform], X86_64, source="/in/source/x-1.0.tar.gz"),
        **others,  # type: ignore[arg-type]
    )


def script(package: Package, platform: str = "x86_64", **others: object) -> str:
    return render(RULES[package.build_system or "make"], context(package, platform, **others)).script


# The rules of the project


@pytest.mark.parametrize("name", USABLE)
def test_every_rule_renders_to_bash_for_every_architecture_it_can_build_for(name: str) -> None:
    rule = RULES[name]
    for platform in (X86_64, AARCH64, RISCV64):
        if platform is not X86_64 and rule.obstacle(platform.arch):
            continue
        flags = ("-j4", "A=b c") if any("build_flags" in text for text in (rule.prelude, *rule.phases.values())) else ()
        tested = bool(rule.phases["check"].strip())
        package = Package("x", "1.0", build_system=name, build_flags=flags, check=tested)
        hooks = {"pre_build": "/in/hooks/pre/a.sh", "post_build": "/in/hooks/post/b.sh"}
        rendered = render(rule, context(package, platform.arch, patches=("/in/patches/0/a b.patch",), **hooks))
        checked = subprocess.run(["bash", "-n"], input=rendered.script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "-j4" not in rendered.script, "the engine hands out the jobs"
        assert ("run check\n" in rendered.script) is tested
        assert "'/in/patches/0/a b.patch'" in rendered.script


@pytest.mark.parametrize("name", USABLE)
def test_the_tool_sets_of_every_rule_are_in_the_toolchain(name: str) -> None:
    toolchain = load_toolchain(TOP / "rules")
    rule = RULES[name]
    for platform in (X86_64, AARCH64, RISCV64):
        if platform is not X86_64 and rule.obstacle(platform.arch):
            continue
        for toolset in render(rule, context(Package("x", build_system=name), platform.arch)).toolsets:
            assert toolchain.set(toolset).name == toolset


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_option_is_documented_and_every_rule_says_what_it_is_for(name: str) -> None:
    rule = RULES[name]
    assert rule.summary.endswith(".")
    for option in rule.options.values():
        assert option.doc.endswith((".", "`"))


def test_a_script_does_not_depend_on_the_number_of_jobs() -> None:
    rendered = render(RULES["make"], context(Package("x")))
    assert "NEXIS_JOBS" in rendered.script
    assert not any("NEXIS_JOBS" in name for name, _ in rendered.env)


def test_the_documentation_is_the_one_made_from_the_rules() -> None:
    written = (TOP / "docs" / "rules.md").read_text(encoding="utf-8")
    assert written == reference.markdown(RULES), "run: nexis-eval rules --markdown >docs/rules.md"


# What a package asks for


def test_flags_go_where_the_rule_sends_them() -> None:
    text = script(
        Package("x", build_system="configure", configure_flags=("--with-a=b c",), build_flags=("-j4", "--y", "V=1"))
    )
    assert "'--with-a=b c' --y" in text
    assert "\n  V=1\n" in text


def test_a_phase_is_replaced_and_added_to_and_is_a_template() -> None:
    text = script(
        Package(
            "x", phases={"build": "echo {{ triplet }}", "pre_install": "echo before", "post_install": "echo after"}
        ),
        "aarch64",
    )
    assert "phase_build() {\necho aarch64-linux-gnu\n}" in text
    assert text.index("echo before") < text.index('DESTDIR="$OUT"') < text.index("echo after")


def test_phases_run_in_order_and_empty_ones_are_left_out() -> None:
    lines = [each for each in script(Package("x")).splitlines() if each.startswith("run ")]
    assert lines == ["run unpack", "run build", "run install", "run fixup"]


def test_the_environment_of_the_package_wins() -> None:
    rendered = render(RULES["make"], context(Package("x", env={"CC": "tcc", "TERM": "xterm"})))
    assert {("CC", "tcc"), ("TERM", "xterm")} <= set(rendered.env)


def test_a_cross_build_names_the_tools_of_the_target() -> None:
    rendered = render(RULES["make"], context(Package("x"), "riscv64"))
    env = dict(rendered.env)
    assert env["CC"] == "riscv64-linux-gnu-gcc"
    assert env["PKG_CONFIG_LIBDIR"].startswith("/usr/riscv64-linux-gnu/lib/pkgconfig")
    assert "cross-riscv64" in rendered.toolsets
    assert "cross-riscv64" not in render(RULES["make"], context(Package("x"))).toolsets


def test_a_file_option_is_its_path_in_the_sandbox() -> None:
    package = Package("x", build_system="kconfig", options={"config": LocalPath("a.config", Path("/home/me/a.config"))})
    text = script(package, files={"config": "/in/files/config/a.config"})
    assert "cat /in/files/config/a.config" in text
    assert "/home/me" not in text


@pytest.mark.parametrize(
    ("package", "message", "hint"),
    [
        (Package("x", options={"targts": ()}), "rule 'make' has no option 'targts'", "did you mean 'targets'?"),
        (Package("x", options={"targets": "all"}), "option 'targets' must be a list of strings", "What to make"),
        (Package("x", options={"strip": 1}), "option 'strip' must be true or false", "symbols"),
        (
            Package("x", build_system="configure", options={"style": "gnu"}),
            "option 'style' must be one of 'autoconf', 'plain'",
            "CHOST",
        ),
        (Package("x", phases={"pre_instal": ""}), "rule 'make' has no phase 'instal'", "did you mean 'install'?"),
        (Package("x", build_system="cc"), "the rule 'cc' is only there for other rules to extend", ""),
    ],
)
def test_what_a_rule_does_not_have_is_an_error_with_a_cure(package: Package, message: str, hint: str) -> None:
    with pytest.raises(RuleOptionError) as caught:
        script(package)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_rule_that_cannot_cross_build_says_why_and_what_to_do() -> None:
    with pytest.raises(CrossBuildError) as caught:
        script(Package("ripgrep", build_system="cargo"), "riscv64")
    assert "cannot be built for riscv64 on x86_64 by rule 'cargo': the Rust of the" in caught.value.message
    assert '[arch.riscv64.remove] packages = ["ripgrep"]' in (caught.value.hint or "")


def test_an_unknown_rule_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UnknownRuleError) as caught:
        rule_named("cmak", RULES)
    assert (caught.value.hint or "").startswith("did you mean 'cmake'?")


# Files of rules


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.toml").write_text(text, encoding="utf-8")
    return directory


def test_a_rule_takes_over_what_it_extends_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path,
            a='summary = "A."\nextends = "z"\ntoolsets = ["c"]\nenv.B = "2"\nphases.build = "make"',
            z='summary = "Z."\norder = ["build"]\ntoolsets = ["core"]\nenv.A = "1"\nenv.B = "1"\nphases.build = "true"',
        )
    )
    assert rules["a"].toolsets == ("core", "c")
    assert rules["a"].env == {"A": "1", "B": "2"}
    assert rules["a"].phases == {"build": "make"}
    assert rules["z"].phases == {"build": "true"}


def test_a_users_directory_replaces_and_extends_rules(tmp_path: Path) -> None:
    rules = load_rules(
        TOP / "rules" / "build", write(tmp_path, mine='summary = "Mine."\nextends = "make"\noptions.x.doc = "An x."')
    )
    assert "x" in rules["mine"].options
    assert rules["make"] == RULES["make"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "summary = "}, "not TOML"),
        ({"a": 'summary = "A."\nextend = "b"'}, "unknown key 'extend'"),
        ({"a": "cross = true"}, "a rule needs a 'summary'"),
        ({"a": 'summary = "A."\nextends = "b"'}, "extends 'b', which is no rule"),
        (
            {"a": 'summary = "A."\nextends = "b"', "b": 'summary = "B."\nextends = "a"'},
            "rules extend each other: a → b → a",
        ),
        ({"a": 'summary = "A."\norder = ["build"]\nphases.biuld = ""'}, "phase 'biuld' is not in 'order'"),
        ({"a": 'summary = "A."\noptions.x.type = "number"'}, "no type is called 'number'"),
        ({"a": 'summary = "A."\noptions.x.type = "string"'}, "option 'x' needs a 'doc'"),
        ({"a": 'summary = "A."\noptions.x = { doc = "X.", default = 1 }'}, "the default is not a string"),
    ],
)
def test_a_file_that_is_no_rule_is_an_error_with_its_place(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(RuleError) as caught:
        load_rules(write(tmp_path, **files))
    assert message in caught.value.message
    assert caught.value.place is not None
    assert caught.value.place.file.startswith(str(tmp_path))


def test_a_template_that_fails_names_rule_and_phase() -> None:
    rule = Rule("odd", "Odd.", order=("build",), phases={"build": "true\n{{ nme }}"})
    with pytest.raises(RuleError) as caught:
        render(rule, context(Package("x")))
    assert "rule 'odd': the template of phase 'build'" in caught.value.message
    assert "'nme' is undefined" in caught.value.message


# The scripts, run: /build, /in and /out are moved below a temporary directory.


def run_script(package: Package, directory: Path, **others: object) -> subprocess.CompletedProcess[str]:
    for name in ("build", "out"):
        (directory / name).mkdir()
    text = render(RULES[package.build_system or "make"], context(package, **others))
    moved = re.sub(r"(?<![\w.}])/(build|in|out)\b", rf"{directory}/\1", text.script)
    env = {
        "PATH": os.environ["PATH"],
        "NEXIS_JOBS": "2",
        **dict(text.env),
        "OUT": str(directory / "out"),
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.run(["bash", "-c", f"exec 3>&1\n{moved}"], env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for tool in ("make", "patch", "file"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    source = tmp_path / "in" / "source"
    source.mkdir(parents=True)
    work = tmp_path / "x-1.0"
    work.mkdir()
    (work / "Makefile").write_text(
        'all:\n\ttest "$(GREETING)" = hello\ncheck:\n\tgrep -q two text\n'
        "install:\n\tinstall -D text $(DESTDIR)/usr/text\n"
    )
    (work / "text").write_text("one\ntwo\nthree\n")
    subprocess.run(["tar", "-C", tmp_path, "-czf", source / "x-1.0.tar.gz", "x-1.0"], check=True)
    return tmp_path


PATCH = "--- {old}text\n+++ {new}text\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n"


def at(directory: Path, name: str, text: str) -> str:
    path = directory / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"/in/{name}"


@pytest.mark.parametrize(("old", "new"), [("a/", "b/"), ("", ""), ("x/a/", "x/b/")])
def test_patches_of_every_level_apply(tree: Path, old: str, new: str) -> None:
    patch = at(tree, "patches/0/p.patch", PATCH.format(old=old, new=new))
    done = run_script(Package("x", build_flags=("GREETING=hello",)), tree, patches=(patch,))
    assert done.returncode == 0, done.stderr
    assert (tree / "out/usr/text").read_text() == "one\nTWO\nthree\n"
    assert [line for line in done.stdout.splitlines() if line.startswith("@nexis")] == [
        f"@nexis phase {each}" for each in ("unpack", "patch", "build", "install", "fixup")
    ]


def test_a_patch_that_does_not_apply_shows_its_rejects(tree: Path) -> None:
    patch = at(tree, "patches/0/p.patch", PATCH.format(old="a/", new="b/").replace("-two", "-zwei"))
    done = run_script(Package("x"), tree, patches=(patch,))
    assert done.returncode != 0
    assert "the patch p.patch does not apply" in done.stderr
    assert "-zwei" in done.stderr
    assert "phase patch failed" in done.stderr


@pytest.mark.parametrize("last", ["export GREETING=hello", "export GREETING=hello; exit 0"])
def test_what_the_first_hook_exports_is_there_in_later_phases(tree: Path, last: str) -> None:
    hook = at(tree, "hooks/pre/setup.sh", f"#!/bin/sh\necho four >>text\ncd /\n{last}\n")
    done = run_script(Package("x"), tree, pre_build=hook)
    assert done.returncode == 0, done.stderr
    assert (tree / "out/usr/text").read_text() == "one\ntwo\nthree\nfour\n"


def test_the_last_hook_sees_what_was_installed_and_may_be_any_program(tree: Path) -> None:
    hook = at(tree, "hooks/post/more.pl", '#!/usr/bin/perl\nrename("$ENV{OUT}/usr/text", "$ENV{OUT}/usr/moved");\n')
    done = run_script(Package("x", build_flags=("GREETING=hello",)), tree, post_build=hook)
    assert done.returncode == 0, done.stderr
    assert (tree / "out/usr/moved").exists()


def test_a_hook_that_fails_stops_the_build_and_is_named(tree: Path) -> None:
    hook = at(tree, "hooks/pre/setup.sh", "false\necho not reached\n")
    done = run_script(Package("x"), tree, pre_build=hook)
    assert done.returncode != 0
    assert "pre_build_script: setup.sh" in done.stdout
    assert "not reached" not in done.stdout
    assert "phase prepare failed" in done.stderr


def test_a_command_that_fails_is_named_with_its_phase(tree: Path) -> None:
    done = run_script(Package("x"), tree)
    assert done.returncode == 2
    assert "nexis: phase build failed with status 2, at: make" in done.stderr


@pytest.mark.parametrize("broken", [False, True])
def test_the_packages_own_tests_run_when_asked_for_and_stop_the_build(tree: Path, broken: bool) -> None:
    patches = (at(tree, "patches/0/p.patch", PATCH.format(old="a/", new="b/")),) if broken else ()
    package = Package("x", build_flags=("GREETING=hello",), check=True)
    done = run_script(package, tree, patches=patches)
    assert "@nexis phase check" in done.stdout
    assert ("phase check failed with status 2" in done.stderr) is broken
    assert (tree / "out/usr/text").exists() is not broken


def test_a_build_that_installs_nothing_is_an_error(tree: Path) -> None:
    done = run_script(Package("x", phases={"build": "true", "install": "true"}), tree)
    assert done.returncode == 1
    assert "nothing was installed" in done.stderr


def test_what_no_system_needs_is_taken_away(tree: Path) -> None:
    install = """
mkdir -p "$OUT"/usr/lib/p/__pycache__ "$OUT"/usr/share/info "$OUT"/usr/empty/deep "$OUT"/etc/kept
touch "$OUT"/usr/lib/a.la "$OUT"/usr/lib/p/__pycache__/x.pyc "$OUT"/usr/share/info/dir "$OUT"/usr/lib/keep "$OUT"/usr/x
"""
    done = run_script(Package("x", phases={"build": "true", "install": install}, options={"remove": ["usr/x"]}), tree)
    assert done.returncode == 0, done.stderr
    left = sorted(str(each.relative_to(tree / "out")) for each in (tree / "out").rglob("*"))
    assert left == ["etc", "etc/kept", "usr", "usr/lib", "usr/lib/keep"]


def test_a_zip_a_directory_and_a_lone_file_are_sources_too(tmp_path: Path) -> None:
    import zipfile

    def build(name: str, source: Path) -> Path:
        directory = tmp_path / name
        (directory / "in").mkdir(parents=True)
        source.rename(directory / "in" / "source")
        inside = "/in/source" if name == "tree" else f"/in/source/{next((directory / 'in' / 'source').iterdir()).name}"
        package = Package("x", build_system="script", phases={"install": 'mkdir "$OUT"/usr; cp hello "$OUT"/usr/'})
        done = run_script(package, directory, source=inside)
        assert done.returncode == 0, done.stderr
        return directory / "out" / "usr" / "hello"

    for name in ("zip", "tree", "lone"):
        source = tmp_path / "source"
        source.mkdir()
        if name == "zip":
            with zipfile.ZipFile(source / "x.zip", "w") as archive:
                archive.writestr("x-1/hello", "hello")
        else:
            (source / "hello").write_text("hello")
        assert build(name, source).read_text() == "hello"


def deb(path: Path, files: dict[str, str], arch: str = "all", scripts: Sequence[str] = ()) -> None:
    """A package in the format of deb(5)."""
    import io
    import tarfile

    def tar(members: dict[str, str]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:xz") as archive:
            for name, text in members.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size, member.mode = len(text), 0o755
                archive.addfile(member, io.BytesIO(text.encode()))
        return out.getvalue()

    control = {"control": f"Package: {path.stem}\nVersion: 1.0-1\nArchitecture: {arch}\n"}
    control |= dict.fromkeys(scripts, "#!/bin/sh\nexit 1\n")
    members = [("debian-binary", b"2.0\n"), ("control.tar.xz", tar(control))]
    with path.open("wb") as out:
        out.write(b"!<arch>\n")
        for name, data in [*members, ("data.tar.xz", tar(files))]:
            out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
            out.write(data + b"\n" * (len(data) % 2))


@pytest.mark.parametrize(
    ("files", "options", "expected"),
    [
        ({"usr/bin/x": "1", "etc/x": "2"}, {}, ["etc/x", "usr/bin/x"]),
        ({"bin/x": "1", "share/x/y": "2", "README": "3"}, {}, ["usr/bin/x", "usr/share/x/y"]),
        ({"x-linux": "1"}, {}, ["usr/bin/x"]),
        ({"opt/x/y": "1"}, {}, ["opt/x/y"]),
        ({"x": "1", "y": "2"}, {"map": {"x": "/usr/bin/", "y": "/usr/share/z"}}, ["usr/bin/x", "usr/share/z"]),
    ],
)
def test_ready_made_files_go_where_they_belong(
    tmp_path: Path, files: dict[str, str], options: dict[str, object], expected: list[str]
) -> None:
    source = tmp_path / "in" / "source"
    source.mkdir(parents=True)
    deb(source / "x.deb", files)
    done = run_script(Package("x", build_system="prebuilt", options=options), tmp_path, source="/in/source/x.deb")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file()) == expected


def test_debian_packages_are_unpacked_as_they_are_and_their_scripts_do_not_run(tmp_path: Path) -> None:
    source = tmp_path / "in" / "source"
    source.mkdir(parents=True)
    deb(source / "x.deb", {"opt/x": "1", "lib/y": "2", "usr/share/doc/x": "3"}, "amd64", ["postinst", "triggers"])
    done = run_script(Package("x", build_system="deb"), tmp_path, source="/in/source/x.deb")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file()) == ["opt/x", "usr/lib/y"]
    assert "unpacking x 1.0-1 (amd64)\nnotice: these of x do not run: postinst triggers\n" in done.stdout


def test_an_archive_of_several_debian_packages_is_one_package(tmp_path: Path) -> None:
    source = tmp_path / "in" / "source"
    source.mkdir(parents=True)
    deb(tmp_path / "a.deb", {"usr/bin/a": "1"}, "amd64")
    deb(tmp_path / "b.deb", {"usr/share/b": "2"})
    subprocess.run(["tar", "-C", tmp_path, "-cf", source / "x.tar", "a.deb", "b.deb"], check=True)
    done = run_script(Package("x", build_system="deb"), tmp_path, source="/in/source/x.tar")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file()) == [
        "usr/bin/a",
        "usr/share/b",
    ]
    assert "notice" not in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [("x.deb", "x.deb is for arm64, and not for amd64 (x86_64)"), ("x.tar", "there is no .deb in x.tar")],
)
def test_what_is_no_debian_package_of_the_target_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    source = tmp_path / "in" / "source"
    source.mkdir(parents=True)
    deb(tmp_path / "x.deb", {"usr/bin/x": "1"}, "arm64")
    if name == "x.deb":
        (tmp_path / "x.deb").rename(source / "x.deb")
    else:
        subprocess.run(
            ["tar", "-C", tmp_path, "--transform", "s/deb$/bin/", "-cf", source / "x.tar", "x.deb"], check=True
        )
    done = run_script(Package("x", build_system="deb"), tmp_path, source=f"/in/source/{name}")
    assert done.returncode == 1
    assert message in done.stderr


def test_ready_made_files_of_no_known_place_are_an_error_that_lists_them(tmp_path: Path) -> None:
    source = tmp_path / "in" / "source"
    source.mkdir(parents=True)
    deb(source / "x.deb", {"one": "1", "two": "2"})
    done = run_script(Package("x", build_system="prebuilt"), tmp_path, source="/in/source/x.deb")
    assert done.returncode == 1
    assert "say it with options.map. It holds:\none\ntwo\n" in done.stderr


def appimage(path: Path, kind: int, files: Path) -> None:
    """A program with the marker in its header, and behind it a squashfs of ``files``."""
    path.parent.mkdir(parents=True)
    program = path.with_suffix(".program")
    subprocess.run(["gcc", "-x", "c", "-", "-o", program], input=b"int main(void) { return 0; }", check=True)
    subprocess.run(["mksquashfs", files, f"{program}.squashfs", "-quiet", "-no-progress", "-all-root"], check=True)
    data = bytearray(program.read_bytes())
    data[8:11] = b"AI" + bytes((kind,))
    path.write_bytes(bytes(data) + Path(f"{program}.squashfs").read_bytes())


@pytest.mark.parametrize("kind", [1, 2])
def test_what_an_appimage_holds_goes_to_opt(tmp_path: Path, kind: int) -> None:
    for tool in ("gcc", "mksquashfs", "unsquashfs"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    files = tmp_path / "files"
    (files / "usr/bin").mkdir(parents=True)
    (files / "AppRun").write_text("#!/bin/sh\n")
    (files / "AppRun").chmod(0o755)
    (files / "usr/bin/x").write_text("x")
    appimage(tmp_path / "in/source/x.AppImage", kind, files)
    done = run_script(Package("x", build_system="prebuilt"), tmp_path, source="/in/source/x.AppImage")
    if kind == 1:
        assert done.returncode == 1
        assert "x.AppImage is an AppImage of type 1; only those of type 2 can be unpacked" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/opt/x/usr/bin/x").read_text() == "x"
    assert (tmp_path / "out/usr/bin/x").resolve() == tmp_path / "out/opt/x/AppRun"


def test_only_an_appimage_needs_the_tools_for_one() -> None:
    def toolsets(source: str) -> tuple[str, ...]:
        return render(RULES["prebuilt"], context(Package("x"), source=source)).toolsets

    assert toolsets("/in/source/x-1.0-x86_64.AppImage") == ("core", "squashfs")
    assert toolsets("/in/source/x-1.0.tar.gz") == ("core",)


KCONFIG = """
.PHONY: defconfig oldconfig install
defconfig:
\tprintf 'CONFIG_A=y\\n# CONFIG_B is not set\\nCONFIG_C="x"\\n' >.config
oldconfig:
\tif grep -q CONFIG_A=y .config; then cp .config new; else grep -v CONFIG_B= .config >new; fi; mv new .config
install:
\tmkdir -p $(CONFIG_PREFIX)/usr && cp .config $(CONFIG_PREFIX)/usr/config
"""


@pytest.fixture
def kconfig(tmp_path: Path) -> Path:
    work = tmp_path / "x"
    work.mkdir()
    (work / "Makefile").write_text(f"all:\n\ttrue\n{KCONFIG}")
    (tmp_path / "in" / "source").mkdir(parents=True)
    subprocess.run(["tar", "-C", tmp_path, "-czf", tmp_path / "in/source/x-1.0.tar.gz", "x"], check=True)
    return tmp_path


def test_a_fragment_and_single_symbols_are_laid_over_the_default_configuration(kconfig: Path) -> None:
    fragment = at(kconfig, "files/config/a.config", 'CONFIG_C="a b"\n# a comment\nCONFIG_B=y')
    package = Package(
        "x",
        build_system="kconfig",
        options={"config": LocalPath("a.config", Path("a.config")), "set": {"CONFIG_D": "7", "CONFIG_E": "n"}},
    )
    done = run_script(package, kconfig, files={"config": fragment})
    assert done.returncode == 0, done.stderr
    lines = set((kconfig / "out/usr/config").read_text().splitlines())
    assert lines == {"CONFIG_A=y", "CONFIG_B=y", 'CONFIG_C="a b"', "CONFIG_D=7", "# CONFIG_E is not set"}


def test_a_symbol_that_is_not_taken_is_an_error(kconfig: Path) -> None:
    package = Package("x", build_system="kconfig", options={"set": {"CONFIG_A": "n", "CONFIG_B": "y"}})
    done = run_script(package, kconfig)
    assert done.returncode == 1
    assert "CONFIG_B=y was asked for, but became CONFIG_B=n: something it depends on is missing" in done.stderr


CONFIGURED = {
    "a comment that looks like a setting": ("# CONFIG_A=n was tried\n#CONFIG_A=n\n\n", {}, {"CONFIG_A=y"}),
    "a comment that ends like one": ("# nothing of this is not set\n", {}, {"CONFIG_A=y"}),
    "twice, the last counts": ("CONFIG_B=y\n# CONFIG_B is not set\nCONFIG_B=m", {}, {"CONFIG_B=m"}),
    "twice, the last is off": ("CONFIG_D=y\n# CONFIG_D is not set\n", {}, {"# CONFIG_D is not set"}),
    "in both": ("CONFIG_B=y\nCONFIG_C=7\n", {"CONFIG_B": "n", "CONFIG_C": 8}, {"# CONFIG_B is not set", "CONFIG_C=8"}),
    "true": ("", {"CONFIG_B": True}, {"CONFIG_B=y"}),
    "false": ("", {"CONFIG_C": False}, {"# CONFIG_C is not set"}),
    "integers": (
        "",
        {"CONFIG_D": 7, "CONFIG_E": "0x1F", "CONFIG_F": "-3"},
        {"CONFIG_D=7", "CONFIG_E=0x1F", "CONFIG_F=-3"},
    ),
    "words": ("", {"CONFIG_D": "my host", "CONFIG_E": ""}, {'CONFIG_D="my host"', 'CONFIG_E=""'}),
    "quoted words": ("", {"CONFIG_D": '"7"'}, {'CONFIG_D="7"'}),
    "what needs quoting": ("", {"CONFIG_D": "a\"b\\c$(id)'"}, {'CONFIG_D="a\\"b\\\\c$(id)\'"'}),
    "line ends of DOS": ("CONFIG_B=y\r\n# CONFIG_D is not set\r\n", {}, {"CONFIG_B=y", "# CONFIG_D is not set"}),
    "a prefix of another one": ("CONFIG_AB=y\n", {}, {"CONFIG_A=y", "CONFIG_AB=y"}),
}


@pytest.mark.parametrize(("fragment", "symbols", "expected"), CONFIGURED.values(), ids=CONFIGURED)
def test_what_a_fragment_and_symbols_say(
    kconfig: Path, fragment: str, symbols: dict[str, object], expected: set[str]
) -> None:
    file = at(kconfig, "files/config/a.config", fragment)
    options: dict[str, object] = {"config": LocalPath("a.config", Path("a.config")), "set": symbols}
    done = run_script(Package("x", build_system="kconfig", options=options), kconfig, files={"config": file})
    assert done.returncode == 0, done.stderr
    assert expected <= set((kconfig / "out/usr/config").read_text().splitlines())


@pytest.mark.parametrize("line", ["CONFIG_B y", "CONFIG_B = y", "y", "\u00a0"])
def test_what_is_no_line_of_a_fragment_is_told(kconfig: Path, line: str) -> None:
    file = at(kconfig, "files/config/a.config", f"CONFIG_B=y\n{line}\n")
    package = Package("x", build_system="kconfig", options={"config": LocalPath("a.config", Path("a.config"))})
    done = run_script(package, kconfig, files={"config": file})
    assert done.returncode == 1
    assert f"line 2 of the fragment is neither SYMBOL=VALUE nor '# SYMBOL is not set': {line}\n" in done.stderr


@pytest.mark.parametrize(
    ("rule", "options", "at", "message"),
    [
        (
            "kconfig",
            {"set": {"CONFIG_A": ("y",)}},
            ("set", "CONFIG_A"),
            "'set.CONFIG_A' must be a string or",
        ),
        ("kconfig", {"set": {"CONFIG_A": 1.5}}, ("set", "CONFIG_A"), "'set.CONFIG_A' must be a string or"),
        ("kconfig", {"variables": {"V": True}}, ("variables", "V"), "'variables.V' must be a string or an integer"),
        ("make", {"variables": {"V": True}}, ("variables", "V"), "'variables.V' must be a string or an integer"),
        (
            "cmake",
            {"variables": {"V": {"W": 1}}},
            ("variables", "V"),
            "'variables.V' must be a string or",
        ),
        ("prebuilt", {"map": {"x": 1}}, ("map", "x"), "'map.x' must be a string"),
        ("configure", {"cache": {"x": True}}, ("cache", "x"), "'cache.x' must be a string or an integer"),
        ("configure", {"cache": "x"}, ("cache",), "'cache' must be a table"),
    ],
)
def test_what_a_table_does_not_take(rule: str, options: dict[str, object], at: tuple[str, ...], message: str) -> None:
    with pytest.raises(RuleOptionError) as caught:
        check_options(RULES[rule], Package("x", options=options))
    assert message in caught.value.message
    assert caught.value.at == ("options", *at)
