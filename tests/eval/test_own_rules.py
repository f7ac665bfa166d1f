"""Rules and tool sets in a directory beside ``system.toml``: those of docs/extending.md, and what can be wrong."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from nexis_eval.build_rules.errors import RuleError, RuleTestError
from nexis_eval.build_rules.reading import KEYS, load_rules
from nexis_eval.build_rules.trial import check_rendering, read_tests
from nexis_eval.cli.main import run
from nexis_eval.config.cache import EvaluationCache, Request
from nexis_eval.evaluation import whole
from nexis_eval.evaluation.evaluate import evaluate
from nexis_eval.lock.model import LockedDeb
from nexis_eval.places import RULES as DATA
from nexis_eval.toolchain import KEYS as SET_KEYS
from nexis_eval.toolchain import ToolchainError, format_pins, load_toolchain
from tests.eval.person import REPOSITORY, Person
from tests.eval.roots import make_rules

WAF = """#!/bin/sh
case $1 in
  configure) shift; echo "$@" >configured ;;
  build) cp configured built ;;
  install) mkdir -p "${2#--destdir=}/usr/share" && cp built "${2#--destdir=}/usr/share/hello" ;;
esac
"""
PRODUCT = DATA / "build"
PACKAGE = '[[packages]]\nname = "x"\nversion = "1"\nsource = "https://example.org/x.tar"\nhash = "sha256:{:064x}"\n'
RULES = '[rules]\npaths = ["rules"]\n'


def blocks() -> dict[str, str]:
    """The files of docs/extending.md, by name."""
    page = (REPOSITORY / "docs/extending.md").read_text()
    return dict(re.findall(r"```toml\n# (\S+)\n(.*?)```", page, re.DOTALL))


def waf_source(directory: Path) -> Path:
    path = directory / "hello-1.0.tar"
    with tarfile.open(path, "w") as out:
        member = tarfile.TarInfo("hello-1.0/waf")
        member.size = len(WAF)
        out.addfile(member, io.BytesIO(WAF.encode()))
    return path


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rules(tmp_path_factory.mktemp("product"))


@pytest.fixture
def person(tmp_path: Path, product: Path) -> Person:
    """With the rule and the tool set of the documentation, pinned to tools of this machine."""
    files = blocks()
    source = waf_source(tmp_path)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    system = files["system.toml"].replace("https://example.org/hello-{version}.tar.gz", source.as_uri())
    (tmp_path / "system.toml").write_text(system.replace("build_system", f'hash = "sha256:{digest}"\nbuild_system'))
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "waf.toml").write_text(files["rules/waf.toml"])
    (rules / "toolchain.toml").write_text(files["rules/toolchain.toml"])
    tools = load_toolchain(product).pins["core"][0]
    pin = LockedDeb("python3", "1", "amd64", tools.urls, tools.sha256, tools.size)
    (rules / "toolchain.lock").write_text(format_pins({"waf": (pin,)}, {}))
    return Person(tmp_path, product)


def test_the_rule_of_the_documentation_builds(person: Person) -> None:
    checked = person.types("check", "--strict", "--arch", "x86_64")
    assert checked.returncode == 0, checked.stderr + checked.stdout
    listed = person.types("rules")
    assert "waf        A Waf project, which brings its own waf script. (rules/waf.toml)\n" in listed.stdout
    shown = person.types("rules", "waf")
    assert "file: rules/waf.toml" in shown.stdout
    assert "settings  (table, default {})" in shown.stdout
    built = person.types("build", "hello", "--output", "out")
    assert built.returncode == 0, built.stderr
    assert (person.directory / "out/usr/share/hello").read_text() == "--prefix=/usr --docs=none\n"


def test_a_changed_rule_is_evaluated_again_and_changed_words_build_nothing(person: Person) -> None:
    def targets() -> dict[str, str]:
        shown = person.types("targets", "--json")
        assert shown.returncode == 0, shown.stderr
        return dict(json.loads(shown.stdout))

    rule = person.directory / "rules/waf.toml"
    text = rule.read_text()
    before = targets()
    rule.write_text(text.replace("A Waf project", "Another word").replace("[tests.settings]", "[tests.other]"))
    assert targets() == before
    rule.write_text(text.replace("./waf build", "./waf build --verbose"))
    assert targets() != before
    rule.write_text(text)
    assert targets() == before


def summary(directory: Path, cache: Path) -> dict[str, str]:
    evaluation = evaluate(Request(directory / "system.toml", "x86_64"), EvaluationCache(cache), None)
    return {str(name): str(identity) for name, identity in evaluation.summary.targets.by_name().items()}


@pytest.mark.parametrize("edited", ["added", "changed", "deleted", "no rule"])
def test_what_is_remembered_holds_for_the_files_of_rules_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (tmp_path / "system.toml").write_text(RULES + PACKAGE.format(1))
    make = rules / "make.toml"
    text = 'summary = "Mine."\nextends = "make"\nprelude = "# mine\\n"\n'
    if edited != "added":
        make.write_text(text)
    before = summary(tmp_path, tmp_path / "cache")
    if edited == "no rule":
        (rules / "make.toml~").write_text("an editor's")
        monkeypatch.setattr(whole, "evaluate_all", lambda *_: pytest.fail("everything was evaluated"))
    elif edited == "deleted":
        make.unlink()
    else:
        make.write_text(text.replace("# mine", "# changed"))
    after = summary(tmp_path, tmp_path / "cache")
    assert (after == before) is (edited == "no rule")
    # An edit of a package afterwards is taken in with the same rules.
    (tmp_path / "system.toml").write_text(RULES + PACKAGE.format(2))
    monkeypatch.undo()
    assert summary(tmp_path, tmp_path / "cache") == summary(tmp_path, tmp_path / "empty")


def test_a_rule_takes_the_place_of_the_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("rules", "more"):
        (tmp_path / name).mkdir()
    (tmp_path / "system.toml").write_text(RULES + '[includes]\npaths = ["more.toml"]\n' + PACKAGE.format(1))
    (tmp_path / "more.toml").write_text('[rules]\npaths = ["more"]\n')
    (tmp_path / "more/make.toml").write_text('summary = "Of the included file."\nextends = "base"\n')
    (tmp_path / "more/mine.toml").write_text('summary = "Mine."\nextends = "script"\nrole = "default"\n')
    (tmp_path / "rules/make.toml").write_text('summary = "Changed."\nextends = "make"\n')
    assert run(["rules"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"make +Changed. \(rules/make.toml, in place of the product's\)", shown)
    assert re.search(r"mine +Mine. \(more/mine.toml\)", shown)
    assert run(["rules", "--json"]) == 0
    roles = {each["name"]: each["roles"] for each in json.loads(capsys.readouterr().out)}
    assert [name for name, held in roles.items() if "default" in held] == ["mine"]
    (tmp_path / "more/make.toml").write_text('summary = "Of the included file."\nextends = "make"\n')
    assert run(["rules", "make"]) == 0
    assert "rules/make.toml, which extends the product's" in capsys.readouterr().out


RULE = 'summary = "A."\nextends = "cc"\n'
MISTAKES: dict[str, tuple[dict[str, str], str]] = {
    "not TOML": ({"a.toml": "summary = "}, "rules/a.toml:1:11: error: not TOML"),
    "key": ({"a.toml": 'summary = "A."\nextend = "cc"\n'}, "rules/a.toml:2:1: error: unknown key 'extend'"),
    "key's hint": ({"a.toml": 'summary = "A."\nextend = "cc"\n'}, "did you mean 'extends'?"),
    "type": ({"a.toml": RULE + "toolsets = [\n  3]\n"}, "rules/a.toml:4:3: error: each element of 'toolsets'"),
    "base": ({"a.toml": 'summary = "A."\nextends = "mak"\n'}, "rules/a.toml:2:11: error: extends 'mak'"),
    "itself": ({"a.toml": 'summary = "A."\nextends = "a"\n'}, "rules/a.toml:2:11: error: rules extend each other"),
    "role": ({"a.toml": RULE + 'role = "defalt"\n'}, "rules/a.toml:3:8: error: no role is called 'defalt'"),
    "roles": (
        {"a.toml": RULE + 'role = "default"\n', "b.toml": RULE + 'role = "default"\n'},
        "rules/b.toml:3:8: error: the rule 'a' of this directory has the role 'default' as well",
    ),
    "phase": ({"a.toml": RULE + "[phases]\nbiuld = ''\n"}, "rules/a.toml:4:1: error: phase 'biuld' is not in 'order'"),
    "variable": ({"a.toml": RULE + "[env]\n'A B' = ''\n"}, "rules/a.toml:4:1: error: 'A B' is not the name"),
    "option": (
        {"a.toml": RULE + "[options.x]\ntype = 'strng'\ndoc = 'X.'\n"},
        "rules/a.toml:4:8: error: option 'x': no type is called 'strng'",
    ),
    "default": (
        {"a.toml": RULE + "[options.x]\ndefault = 1\ndoc = 'X.'\n"},
        "rules/a.toml:4:11: error: option 'x': the default is not a string",
    ),
    "architecture": (
        {"a.toml": RULE + "[cross]\nriscv = 'no'\n"},
        "rules/a.toml:4:1: error: unknown architecture 'riscv'",
    ),
    "name": ({"A b.toml": RULE}, "rules/A b.toml: error: 'A b' is not the name of a rule"),
    "syntax of a template": (
        {"a.toml": RULE + "[phases]\nbuild = '''\ntrue\n  {% if %}\n'''\n"},
        "rules/a.toml:6:",
    ),
    "template on one line": ({"a.toml": RULE + 'prelude = "true {{ }}"\n'}, "rules/a.toml:3:"),
    "template of a test": (
        {"a.toml": RULE + "[phases]\nbuild = '''\ntrue\n{{ nme }}\n'''\n[tests.x]\n"},
        "rules/a.toml:6:1: error: rule 'a': the template of phase 'build', line 2 fails: 'nme' is undefined",
    ),
    "template of a package": (
        {"make.toml": "summary = 'Mine.'\nextends = 'make'\nprelude = '''\n\n{{ options.tragets }}\n'''\n"},
        "rules/make.toml:5:1: error: rule 'make': the template of prelude",
    ),
    "test": (
        {"a.toml": RULE + "[tests.x]\nphases = ['unpack']\n"},
        "rules/a.toml:4:10: error: test 'x' of rule 'a': the phases are unpack, fixup",
    ),
    "script of a test": (
        {"a.toml": RULE + "[tests.x]\nscript = ['no such text']\n"},
        "rules/a.toml:4:11: error: test 'x' of rule 'a': the script does not have 'no such text'",
    ),
    "package of a test": (
        {"a.toml": RULE + "[tests.x.package]\noptions = { y = 1 }\n"},
        "rules/a.toml:4:17: error: test 'x' of rule 'a': package 'x': rule 'a' has no option 'y'",
    ),
    "key of a test's package": (
        {"a.toml": RULE + "[tests.x.package]\nbuild_flag = []\n"},
        "did you mean 'build_flags'?",
    ),
    "set": (
        {"toolchain.toml": "[toolset.x]\ndoc = 'X.'\nsuite = 'bookworm'\npackages = ['a']\n"},
        "rules/toolchain.toml:4:13: error: not a definition of tool sets: 'a' is not a Debian package",
    ),
    "key of a set": (
        {"toolchain.toml": "[toolset.x]\ndoc = 'X.'\nsuite = 'bookworm'\npackage = ['abc']\n"},
        "did you mean 'packages'?",
    ),
    "set that is not there": (
        {"toolchain.toml": "[toolset.x]\ndoc = 'X.'\nsuite = 'bookworm'\npackages = ['abc']\nextends = ['cor']\n"},
        "rules/toolchain.toml:5:12: error: not a definition of tool sets: no tool set is called 'cor'",
    ),
    "sets in a circle": (
        {
            "toolchain.toml": "[toolset.x]\ndoc = 'X.'\nsuite = 'bookworm'\npackages = ['abc']\nextends = ['y']\n"
            "[toolset.y]\ndoc = 'Y.'\nsuite = 'bookworm'\npackages = ['abc']\nextends = ['x']\n"
        },
        "rules/toolchain.toml:5:12: error: not a definition of tool sets: 'y' extends 'x'",
    ),
    "set that is not pinned": (
        {"toolchain.toml": "[toolset.c]\ndoc = 'C.'\nsuite = 'bookworm'\npackages = ['gcc']\nextends = ['core']\n"},
        "the tool set 'c' is not pinned in rules/toolchain.lock",
    ),
    "no directory": ({}, "system.toml:2:10: error: the directory of rules is missing: 'rules'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_wrong_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    files, message = MISTAKES[name]
    (tmp_path / "system.toml").write_text(RULES + PACKAGE.format(1))
    for file, text in files.items():
        (tmp_path / "rules").mkdir(exist_ok=True)
        (tmp_path / "rules" / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run(["check", "--arch", "x86_64"]) == 2
    assert message in capsys.readouterr().out


VALUES = (
    "1",
    "true",
    "1.5",
    "''",
    "'x'",
    "'../x'",
    "[]",
    "[1]",
    "['x']",
    "[['x']]",
    "{}",
    "{ x = 1 }",
    "{ x = 'x' }",
    "{ x = {} }",
    "{ x = [1] }",
    "{ x = { doc = 1 } }",
    "{ x = { doc = 'X.', default = 1 } }",
    "{ x = { doc = 'X.', type = 'list', default = [1] } }",
    "{ x = { package = 1 } }",
    "{ x = { package = { options = 1 } } }",
    "{ x = { package = { patches = ['p'] } } }",
    "{ x = { source = { '/x' = '' } } }",
    "{ '' = '' }",
    "'{{'",
    "{ build = '{{' }",
    "1979-05-27",
    "'\\u0000'",
    "{ \"a\\nb\" = 'x' }",
)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_whatever_a_rule_says_is_taken_or_refused_with_its_place(tmp_path: Path, key: str) -> None:
    texts = {"summary": "'A.'", "extends": "'cc'"}
    for value in VALUES:
        lines = [f"{each} = {text}" for each, text in {**texts, key: value}.items()]
        (tmp_path / "a.toml").write_text("\n".join(lines))
        try:
            rule = load_rules(PRODUCT, tmp_path)["a"]
            for test in read_tests(rule):
                check_rendering(rule, test)
        except (RuleError, RuleTestError) as error:
            assert error.place is not None, value
            assert error.place.line > 0, value


@pytest.mark.parametrize("key", ["exclude", "toolset", *sorted(SET_KEYS)])
def test_whatever_a_tool_set_says_is_taken_or_refused_with_its_place(tmp_path: Path, key: str) -> None:
    texts = {"doc": "'A.'", "suite": "'bookworm'", "packages": "['abc']", "extends": "['core']"}
    for value in VALUES:
        lines = [f"toolset.x.{each} = {text}" for each, text in {**texts, key: value}.items() if key in SET_KEYS]
        (tmp_path / "toolchain.toml").write_text("\n".join(lines or [f"{key} = {value}"]))
        try:
            load_toolchain(PRODUCT.parent, tmp_path)
        except ToolchainError as error:
            assert error.place is not None, value
            assert error.place.line > 0, value


NAMES = ("base", "cargo", "cc", "cmake", "configure", "go", "kconfig", "make", "meson", "perl", "python", "script")


def test_no_program_knows_a_rule_by_its_name() -> None:
    """Roles say what the engine needs a rule for; a name is a user's."""
    naming = re.compile(
        rf"build_system\W+({'|'.join(NAMES)}|deb|kernel|prebuilt)\b|rules?\[?\W*\"({'|'.join(NAMES)})\""
    )
    literal = re.compile(rf"\"({'|'.join(name for name in NAMES if name not in ('script', 'python', 'make'))})\"")
    for path in sorted((REPOSITORY / "nexis_eval").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not naming.search(text), path
        assert not literal.search(text), path
