"""The rules, as people read them: ``docs/rules.md`` and ``nexis-eval rules``. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from nexis_eval.build_rules.model import Option, Role, Rule
from nexis_eval.build_rules.reading import rule_for
from nexis_eval.config.reference import toml_text

INTRODUCTION = """\
# Rules

Made from the product's rules (`rules/build/*.toml`) by `nexis-eval rules --markdown`; a test compares the two.

A rule says how one build system is driven. It is data: a TOML file whose texts are Jinja2 templates of bash. A package
names its rule with `build_system` and sets the rule's options in `options`. A new rule is a new file: yours are in a
directory beside `system.toml`, and win over the product's ([how](extending.md#a-rule)). No program knows any rule by
name: what builds a package that names none is the rule that says so ([roles](#roles)).

## What happens in a build

The phases run in this order, each as a bash function under `set -euo pipefail`, in the directory of the source (or
`subdir` of it):

| phase | what it does |
| --- | --- |
| unpack | `/build/source` comes from the [archive](#archives), without a single directory at its top, or the git tree |
| patch | `patches`, in their order, each whole or not at all ([how](#patches)) |
| prepare | `pre_build_script`, in the source directory; what a shell script exports is there in later phases |
| configure, build | by the rule |
| check | the package's own tests, with `check = true` |
| install | by the rule, below `$OUT` (`/out`), with the prefix `/usr` |
| finish | `post_build_script`, with `$OUT` holding what was installed |
| fixup | `*.la`, `info/dir`, `__pycache__` and empty directories go; symbols are stripped; `outputs` are split off |

`phases.build = "…"` replaces a phase of the rule; `phases.pre_build` and `phases.post_build` add to it. These texts are
templates too.

Scripts find the number of jobs in `$NEXIS_JOBS`, and the package in `$NEXIS_NAME`, `$NEXIS_VERSION`, `$NEXIS_ARCH`,
`$NEXIS_TRIPLET`. For another architecture, `$CC`, `$AR`, `$STRIP` and so on name the cross tools; the libraries of
`dependencies` are at `/usr/TRIPLET`, where the cross compiler looks, and `pkg-config` finds only those.

### Archives

An archive is told by what it holds, whatever it is called: tar (plain, or packed by gzip, bzip2, xz, zstd, lzip, LZMA
or compress), zip, `.deb`. A single packed file (`x.gz`) and everything else stay as they are. A file that is called
like an archive and is none stops the build, and so does a damaged one. What `unzip` only warns of (absolute names,
`\\` of Windows in names) is in the log; of two entries with one name the later counts.

### Patches

A patch applies at the first of `-p1`, `-p0`, `-p2` at which all of it does; git's own headers say which comes first.
It is tried with the line ends that it has, too (`--binary`). Mails of `git format-patch --stdout` apply one after
another. Renames, copies, modes, symbolic links and empty files of git are known. The build stops, with the reason,
where a patch is empty or changes nothing, where a part has no change, where a binary file differs, where a name leads
out of the source or beyond a symbolic link, and where a part does not apply: then its rejects are shown, and nothing
of it was applied.

## What templates can use

| name | what it is |
| --- | --- |
| `name`, `version`, `subdir`, `build_flags`, `configure_flags` | of the package; `package` has these, `check`, `env` |
| `options` | the rule's options; files as paths in the sandbox |
| `source`, `patches`, `pre_build`, `post_build` | paths in the sandbox |
| `outputs` | what is split off at fixup: some of `dev`, `doc`, `debug` (then `$OUT` is `/out/out`) |
| `cross` | whether target and build machine differ |
| `arch`, `triplet` | the target: `riscv64`, `riscv64-linux-gnu`; `platform` and `build_platform` have the other names |
| `tool_prefix` | `riscv64-linux-gnu-` in a cross build, else nothing |
| `target_prefix` | `/usr/riscv64-linux-gnu` in a cross build, else `/usr` |
| filter `sh` | quotes a value for bash: a text as one word, a list as so many |
| filter `glob` | quotes a pattern for bash: `*`, `?` and `[…]` stay, nothing else means anything |
| test `matching` | whether a regular expression matches a text as a whole |

Comments are `{## … ##}`. A name that does not exist is an error. Templates compute with these values and nothing else:
they read no files, see no attribute that begins with `_`, and use Jinja2's filters and tests but for those of chance
(`random`) and of Python's objects (`pprint`). What one may take is limited (2,000,000 steps, 4 MiB); a regular
expression of `matching` repeats no groups.

## The keys of a rule

`summary`, `doc`; `extends` (another rule: tables are merged key by key, tool sets and preludes added, all else
replaced; a rule that extends its own name extends the one it replaces); `abstract` (only there to be extended); `role`
([below](#roles)); `toolsets`, and `cross_toolsets` for cross builds (names of `toolchain.toml`); `cross` (`true`, or
the reason why not, or a table of such by architecture); `options` (`type`, `default`, `doc`, `choices`, `required`; of
a table `values`, the types of its values); `env` and `cross_env`; `prelude` (shell text ahead of all phases); `order`
and `phases`; `tests` ([below](#tests)).

What decides a build is part of its identity: texts, order, and the defaults of options. `summary`, `doc`, `role`,
`tests` and the name of the rule are not, so changing these builds nothing again.

### Roles

| role | the rule that builds | of the product |
| --- | --- | --- |
@roles@

Of several rules with one role, that of the later directory has it. A role is not inherited by `extends`; a rule that
replaces another keeps the role that nobody else declares.

### Tests

`[tests.NAME]` is a small package and what comes of it. `nexis-eval check` renders the tests of your own rules and
compares; the product's are run by its test suite, which also builds those with a `source`.

| key | what it is |
| --- | --- |
| `package` | keys of `[[packages]]`: `options`, `build_flags`, `check` … |
| `arch` | what it is built for, on x86_64; `x86_64` where left out |
| `phases` | the phases that run, in their order |
| `script` | texts that the script has |
| `env` | variables that the build has, with their values |
| `toolsets` | the tool sets that it sees |
| `source` | files of a small source: path → text; one that begins with `#!` is executable |
| `files` | paths that are there once it is built |

"""


ROLES = {
    Role.DEFAULT: "a package with a `source` and no `build_system`",
    Role.PREBUILT: "what `prebuilt` of a package leads to",
    Role.KERNEL: "`[system] kernel_source`",
}


def _role_line(role: Role, rules: Mapping[str, Rule]) -> str:
    name = rule_for(role, rules).name
    return f"| `{role}` | {ROLES[role]} | [{name}](#{name}) |"


def _option_line(option: Option) -> str:
    kind = " or ".join(f"`{each}`" for each in option.choices) or option.type
    default = (
        "required" if option.required else f"`{toml_text(option.default)}`" if option.default not in (None, "") else ""
    )
    return f"| `{option.name}` | {kind} | {default} | {option.doc} |"


def _limits(rule: Rule) -> Iterator[str]:
    """For which architectures a rule cannot build, and why."""
    if isinstance(rule.cross, Mapping):
        yield from (f"does not build for {arch}: {reason}" for arch, reason in sorted(rule.cross.items()))
    elif rule.cross is not True:
        yield f"cannot cross-compile{f': {rule.cross}' if rule.cross else ''}"


def _described(rule: Rule, rules: Mapping[str, Rule]) -> Iterator[str]:
    base = rules.get(rule.extends) if rule.extends else None
    yield f"## {rule.name}\n"
    yield f"{rule.summary}\n"
    if rule.doc:
        yield f"{rule.doc.strip()}\n"
    facts = []
    if base is not None:
        facts.append(f"Extends [{base.name}](#{base.name}).")
    if rule.abstract:
        facts.append("Only there for other rules to extend.")
    facts += [f"{text[0].upper()}{text[1:]}." for text in _limits(rule)]
    if facts:
        yield "\n".join(textwrap.wrap(" ".join(facts), 120)) + "\n"
    own = [each for name, each in rule.options.items() if base is None or base.options.get(name) != each]
    if own:
        yield "| option | type | default | |\n| --- | --- | --- | --- |"
        yield "\n".join(map(_option_line, own)) + "\n"


def markdown(rules: Mapping[str, Rule]) -> str:
    """``docs/rules.md``."""
    listed = [each for each in rules.values() if not each.abstract]
    table = [
        "| rule | for |",
        "| --- | --- |",
        *(f"| [{each.name}](#{each.name}) | {each.summary} |" for each in listed),
    ]
    ordered = sorted(rules.values(), key=lambda each: (not each.abstract, each.name))
    body = "\n".join(line for rule in ordered for line in _described(rule, rules))
    introduction = INTRODUCTION.replace("@roles@", "\n".join(_role_line(each, rules) for each in ROLES))
    return f"{introduction}## The rules there are\n\n" + "\n".join(table) + f"\n\n{body}"


def plain(rule: Rule, width: int, origin: str | None = None) -> str:
    """One rule with all its options, inherited ones included, for a terminal of ``width`` columns.

    ``origin`` says where it is, if it is not the product's.
    """
    lines = [f"{rule.name}: {rule.summary}"]
    if rule.doc:
        lines += ["", *textwrap.wrap(" ".join(rule.doc.split()), width)]
    if origin is not None:
        lines += ["", f"file: {origin}"]
    for text in _limits(rule):
        lines += ["", *textwrap.wrap(text, width)]
    lines += [
        "",
        f"phases: {', '.join(rule.order)}",
        f"tool sets: {', '.join(each for each in rule.toolsets if '{' not in each)}",
        "",
        "options:",
    ]
    for option in rule.options.values():
        default = f", default {toml_text(option.default)}" if option.default not in (None, "") else ""
        kind = " or ".join(f'"{each}"' for each in option.choices) or option.type
        lines.append(f"  {option.name}  ({kind}{', required' if option.required else default})")
        lines += textwrap.wrap(option.doc, width, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines) + "\n"
