"""Loading: the specification's sample, includes, parts, strength, places."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load, load_with_origins
from nexis_eval.config.model import LocalPath
from nexis_eval.platforms import UnknownPlatformError
from nexis_store.errors import Place

SPEC = Path(__file__).parent / "spec"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files and returns the first; names are keyword arguments with ``__`` for ``/``."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, **others: str) -> Path:
        for name, content in others.items():
            path = tmp_path / (name.replace("__", "/") + ".toml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        file = tmp_path / "system.toml"
        file.write_text(text)
        return file

    return write


def codes(file: Path, **options: object) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(file, **options)  # type: ignore[arg-type]
    return [error.code for error in caught.value.errors]


def test_the_sample_of_the_specification_loads_unchanged() -> None:
    config = load(SPEC / "system.toml")
    assert config.system.hostname == "myhost"
    assert config.system.kernel == "linux-6.9.2"
    assert config.system.kernel_config == LocalPath(
        "configs/kernel-default.config", SPEC / "configs/kernel-default.config"
    )
    assert config.system.selinux.enabled
    assert config.system.selinux.mode == "enforcing"
    assert config.system.firewall is not None
    assert config.system.firewall.backend == "nftables"
    assert config.system.locale.lang == "en_US.UTF-8"
    assert config.network is not None
    assert config.network.dhcp
    assert len(config.users["root"].authorized_keys) == 2
    assert set(config.packages) == {"vim", "libpng", "pciutils", "nano", "zlib", "linux"}
    vim = config.packages["vim"]
    assert vim.version == "latest"
    assert vim.source == ("https://github.com/vim/vim.git",)
    assert vim.fallback_to_source
    assert vim.patches == (LocalPath("patches/fix-utf8-bug.patch", SPEC / "patches/fix-utf8-bug.patch"),)
    assert vim.pre_build_script == LocalPath("./scripts/setup-env.sh", SPEC / "scripts/setup-env.sh")
    assert vim.env == {"TERM": "xterm-256color", "VIMRUNTIME": "/usr/share/vim/vimfiles"}
    assert vim.runtime_dirs == ("/var/log/vim", "$XDG_RUNTIME_DIR/vim")
    assert config.packages["libpng"].hash == "sha256:abc123..."
    assert config.config_files["clamav"].mode == 0o640
    assert config.config_files["suricata"].variables["detect_threads"] == 4
    assert config.services["sshd"].restart == "true"
    assert config.services["sshd"].depends == ("network",)
    assert [*config.log_rotation] == ["/var/log/sshd.log", "/var/log/vim"]
    assert [path.name for path in config.files] == ["system.toml", "hardware.toml", "editors.toml", "devtools.toml"]


def test_the_sample_is_the_specification() -> None:
    # The copy must not be "improved": these are its first and last settings.
    text = (SPEC / "system.toml").read_text()
    assert text.startswith('[system]\nhostname = "myhost"\ntimezone = "UTC"\n')
    assert text.count("\n") == 118


def test_places_are_found_late() -> None:
    config = load(SPEC / "system.toml")

    def place(*path: str | int) -> tuple[str, int, int]:
        found = config.place(path)
        assert found is not None
        return Path(found.file).name, found.line, found.column

    assert place("system", "hostname") == ("system.toml", 2, 12)
    assert place("packages", "libpng", "hash") == ("system.toml", 62, 8)
    assert place("packages", "libpng", "dependencies", 0) == ("system.toml", 65, 17)
    assert place("packages", "zlib", "version") == ("devtools.toml", 3, 11)
    assert place("packages", "zlib") == ("devtools.toml", 1, 1)
    assert place("system", "locale", "lang") == ("system.toml", 26, 8)
    # Not set anywhere: the table that it would be in.
    assert place("packages", "zlib", "hash") == ("devtools.toml", 1, 1)


def test_relative_paths_are_relative_to_the_file_that_names_them(write: Write, tmp_path: Path) -> None:
    file = write(
        '[includes]\npaths = ["sub/part.toml"]',
        sub__part='[[packages]]\nname = "a"\npatches = ["fix.patch"]\n[includes]\npaths = ["more.toml"]',
        sub__more='[system]\nhostname = "deep"',
    )
    (tmp_path / "sub/fix.patch").write_text("")
    config = load(file)
    assert config.packages["a"].patches[0].path == tmp_path / "sub/fix.patch"
    assert config.system.hostname == "deep"


def test_patterns_and_directories_are_included_in_the_order_of_names(write: Write) -> None:
    file = write(
        '[includes]\npaths = ["d", "p/*.toml", "q/**/*.toml"]\n[system]\nkernel_parameters = ["own"]',
        d__b='[system]\nkernel_parameters = ["b"]',
        d__a='[system]\nkernel_parameters = ["a"]',
        p__x='[system]\nkernel_parameters = ["x", "a"]',
        q__r__s='[system]\nkernel_parameters = ["s"]',
    )
    assert load(file).system.kernel_parameters == ("a", "b", "x", "s", "own")


def test_a_directory_does_not_include_the_includer(write: Write) -> None:
    file = write('[includes]\npaths = ["."]', other='[system]\nhostname = "other"')
    assert load(file).system.hostname == "other"


def test_the_name_of_a_directory_is_no_pattern(tmp_path: Path) -> None:
    root = tmp_path / "a[b]*"
    (root / "parts").mkdir(parents=True)
    (root / "parts/x.toml").write_text('[system]\nhostname = "x"')
    for paths in ("parts", "parts/*.toml", "parts/x.toml"):
        (root / "system.toml").write_text(f'includes.paths = ["{paths}"]')
        assert load(root / "system.toml").system.hostname == "x"


def test_a_symbolic_link_makes_no_other_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(".")
    assert codes(write('includes.paths = ["loop/system.toml"]')) == ["C0105"]
    assert codes(write('includes.paths = ["a.toml", "loop/a.toml"]', a="")) == ["C0106"]
    (tmp_path / "b.toml").symlink_to("b.toml")
    assert codes(write('includes.paths = ["b.toml"]')) == ["C0104"]


def test_includes_may_be_nested_but_not_without_end(write: Write, tmp_path: Path) -> None:
    for index in range(120):
        (tmp_path / f"{index}.toml").write_text(f'includes.paths = ["{index + 1}.toml"]')
    (tmp_path / "90.toml").write_text('[system]\nhostname = "deep"')
    file = write('includes.paths = ["0.toml"]')
    assert load(file).system.hostname == "deep"
    (tmp_path / "90.toml").write_text('includes.paths = ["91.toml"]')
    assert codes(file) == ["C0104"]


def test_tables_merge_deeply_and_equal_values_agree(write: Write) -> None:
    file = write(
        '[includes]\npaths = ["a.toml"]\n[system]\nhostname = "x"\n[users.root]\nshell = "/bin/bash"',
        a='[system]\nhostname = "x"\ntimezone = "UTC"\n[users.root]\nhome = "/root"\n[users.bob]\nuid = 1000',
    )
    config = load(file)
    assert config.users["root"].shell == "/bin/bash"
    assert config.users["root"].home == "/root"
    assert config.users["bob"].uid == 1000


def test_two_different_values_are_an_error_that_names_both_places(write: Write) -> None:
    file = write(
        '[includes]\npaths = ["a.toml"]\n[system]\nhostname = "x"',
        a='[system]\nhostname = "y"',
    )
    with pytest.raises(ConfigErrors) as caught:
        load(file)
    (error,) = caught.value.errors
    assert error.code == "C0401"
    assert str(error.place) == "system.toml:4:12"
    assert [str(note.place) for note in error.notes] == ["a.toml:2:12"]


def test_default_and_force(write: Write) -> None:
    file = write(
        """
        includes.paths = ["a.toml", "b.toml"]
        [default.system]
        hostname = "weak"
        version = "1"
        [system]
        timezone = "Europe/Paris"
        """,
        a='[system]\nhostname = "ordinary"',
        b='[force.system]\ntimezone = "UTC"',
    )
    system = load(file).system
    assert (system.hostname, system.timezone, system.version) == ("ordinary", "UTC", "1")


def test_architectures_and_profiles_win_over_what_is_general(write: Write) -> None:
    file = write(
        """
        [system]
        hostname = "general"
        kernel_parameters = ["a", "b"]
        [arch.aarch64.system]
        hostname = "arm"
        kernel_parameters = ["c"]
        [profile.server.system]
        version = "2"
        [profile.server.arch.aarch64.system]
        hostname = "arm-server"
        [[packages]]
        name = "zlib"
        version = "1"
        build_flags = ["x"]
        [[arch.riscv64.packages]]
        name = "zlib"
        version = "2"
        [[arch.riscv64.packages]]
        name = "only-there"
        [arch.x86.system]
        hostname = "pc"
        """
    )
    assert load(file).system.hostname == "pc"
    assert load(file, arch="amd64").arch == "x86_64"
    arm = load(file, arch="aarch64")
    assert arm.system.hostname == "arm"
    assert arm.system.kernel_parameters == ("c",)
    assert arm.system.version == "0.1.0"
    server = load(file, arch="aarch64", profiles=["server"])
    assert (server.system.hostname, server.system.version) == ("arm-server", "2")
    riscv = load(file, arch="riscv64")
    assert set(riscv.packages) == {"zlib", "only-there"}
    assert riscv.packages["zlib"].version == "2"
    assert riscv.packages["zlib"].build_flags == ("x",)


def test_parts_that_do_not_count_are_checked_as_well(write: Write) -> None:
    file = write('[arch.riscv64.system]\nhostnam = "x"\n[profile.p.network]\ndhcp = "yes"')
    assert codes(file) == ["C0201", "C0202"]


def test_an_include_has_the_strength_of_the_part_it_stands_in(write: Write) -> None:
    file = write(
        """
        [system]
        hostname = "mine"
        [default.includes]
        paths = ["vendor.toml"]
        [arch.riscv64.includes]
        paths = ["riscv.toml"]
        """,
        vendor='[system]\nhostname = "vendor"\ntimezone = "Asia/Tokyo"',
        riscv='[system]\nhostname = "risc"',
    )
    assert load(file).system.hostname == "mine"
    assert load(file).system.timezone == "Asia/Tokyo"
    assert load(file, arch="riscv64").system.hostname == "risc"


def test_a_package_of_an_include_can_be_changed_and_removed(write: Write) -> None:
    file = write(
        """
        includes.paths = ["a.toml"]
        [[force.packages]]
        name = "vim"
        version = "9"
        [remove]
        packages = ["nano"]
        """,
        a='[[packages]]\nname = "vim"\nversion = "8"\ncheck = true\n[[packages]]\nname = "nano"',
    )
    config = load(file)
    assert set(config.packages) == {"vim"}
    assert config.packages["vim"].version == "9"
    assert config.packages["vim"].check


def test_removing_what_is_not_there_is_an_error(write: Write) -> None:
    assert codes(write('[[packages]]\nname = "nano"\n[remove]\npackages = ["nan"]\nusers = ["bob"]')) == [
        "C0403",
        "C0403",
    ]


def test_overrides_win_over_everything(write: Write) -> None:
    file = write('[force.system]\nhostname = "x"')
    assert load(file, overrides=['system.hostname="y"']).system.hostname == "y"
    assert load(file, overrides=["system.hostname = z"]).system.hostname == "z"
    assert load(file, overrides=["network.dhcp=true"]).network is not None
    assert codes(file, overrides=["system.hostname"]) == ["C0207"]
    assert codes(file, overrides=["system.hostnam=x"]) == ["C0201"]


def test_an_override_names_a_package_as_explain_does(write: Write) -> None:
    file = write('packages = [{ name = "a", version = "1" }, { name = "b", version = "1" }]')
    packages = load(file, overrides=["packages.a.version=2.0.1", "packages.b.build_flags=['-k']"]).packages
    assert (packages["a"].version, packages["b"].version, packages["b"].build_flags) == ("2.0.1", "1", ("-k",))
    assert codes(file, overrides=["packages.c.version=2.0.1"]) == ["C0404"]
    assert codes(file, overrides=["packages.a=2"]) == ["C0202"]


def test_an_override_needs_no_quotes_where_a_string_is_wanted(write: Write) -> None:
    file = write('[[packages]]\nname = "a"\n[[log_rotation]]\npath = "/var/log/a"')
    changed = load(
        file, overrides=["packages.a.version=1.10", "packages.a.check=true", 'log_rotation."/var/log/a".max_files=2']
    )
    assert (changed.packages["a"].version, changed.packages["a"].check) == ("1.10", True)
    assert changed.log_rotation["/var/log/a"].max_files == 2
    assert codes(file, overrides=["packages.a.check=2"]) == ["C0202"]


@pytest.mark.parametrize(
    ("name", "meant"), [("arm", "aarch64"), ("armv8", "aarch64"), ("x86-64", "x86_64"), ("riscv", "riscv64")]
)
def test_an_unknown_architecture_is_told_which_was_meant(write: Write, name: str, meant: str) -> None:
    with pytest.raises(UnknownPlatformError) as caught:
        load(write(""), arch=name)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"did you mean '{meant}'?")


def test_a_system_may_be_meant_for_some_architectures(write: Write) -> None:
    file = write('[system]\narchitectures = ["arm64", "riscv64"]\n[[packages]]\nname = "a"\ndependencies = ["b"]')
    # Nothing else is said of an architecture that is not meant.
    assert codes(file, arch="x86_64") == ["C0517"]
    assert codes(file, arch="aarch64") == ["C0501"]
    file = write('[system]\narchitectures = ["arm64", "riscv64"]')
    assert load(file, arch="arm64").system.architectures == ("aarch64", "riscv64")
    file = write("system.architectures = []")
    assert load(file, arch="x86_64").system.architectures == ()


def test_unknown_profiles_and_architectures(write: Write) -> None:
    file = write("[profile.server.system]")
    assert codes(file, profiles=["sever"]) == ["C0206"]
    with pytest.raises(UnknownPlatformError):
        load(file, arch="vax")


def test_free_tables_merge_key_by_key(write: Write) -> None:
    file = write(
        """
        includes.paths = ["a.toml"]
        [config_files.x]
        path = "/etc/x"
        source = "x.tpl"
        variables = { a = 1, deep = { b = 2 } }
        [mirrors]
        mine = ["https://example.org/"]
        """,
        a='[config_files.x.variables.deep]\nc = [3]\n[mirrors]\nother = "https://example.net/"\n[force.config_files.x]\n'
        "variables.a = 9",
    )
    Path("x.tpl").write_text("")
    config = load(file)
    assert config.config_files["x"].variables == {"a": 9, "deep": {"b": 2, "c": (3,)}}
    assert config.mirrors == {"mine": ("https://example.org/",), "other": ("https://example.net/",)}


def test_lists_of_one_may_be_written_bare(write: Write) -> None:
    file = write('[[packages]]\nname = "a"\nsource = "https://example.org/a"')
    config = load(file)
    assert config.packages["a"].source == ("https://example.org/a",)
    assert str(config.place(("packages", "a", "source", 0))) == "system.toml:3:10"


def test_origins_list_everything_that_set_a_value(write: Write) -> None:
    file = write(
        'includes.paths = ["a.toml"]\n[system]\nhostname = "b"\n[force.system]\nhostname = "c"',
        a='[default.system]\nhostname = "a"',
    )
    _config, origins = load_with_origins(file)
    assert [each.value for each in origins.setters(("system", "hostname"))] == ["a", "b", "c"]


def test_configurations_compare_by_value(write: Write) -> None:
    file = write('[system]\nhostname = "a"')
    assert load(file) == load(file)
    assert "place" not in {each.name for each in fields(load(file)) if each.compare}


def test_a_place_is_a_place_when_it_is_read(write: Write) -> None:
    config = load(write('[system]\nhostname = "a"\ntimezone = "UTC"\n'))
    place, other = config.place(("system", "hostname")), config.place(("system", "timezone"))
    assert place is not None
    assert other is not None
    plain = Place("system.toml", 2, 12)
    assert place == plain
    assert plain == place
    assert place == config.place(("system", "hostname"))
    assert place != other
    assert hash(place) == hash(plain)
    assert (place < other, other < place, plain < other, place < plain) == (True, False, True, False)
    assert sorted([other, place]) == [place, other]
    assert (str(place), repr(place)) == (str(plain), repr(plain))
    assert asdict(place) == asdict(plain)
    assert pickle.loads(pickle.dumps(place)) == plain
    with pytest.raises(AttributeError):
        place.line = 3  # type: ignore[misc]
