"""Reads the SELinux Common Intermediate Language as far as that goes without a policy: lists and first words.

Source: the SELinux CIL Reference Guide (SELinuxProject/selinux, ``secilc/docs``). Whether types and classes exist is
only known when a module is linked with the policy of a system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_WORDS = """
    allow allowx attributeexpand auditallow auditallowx block blockabstract blockinherit boolean booleanif call category
    categoryalias categoryaliasactual categoryorder categoryset class classcommon classmap classmapping classorder
    classpermission classpermissionset common constrain context defaultrange defaultrole defaulttype defaultuser deny
    devicetreecon dontaudit dontauditx expandtypeattribute false filecon fsuse genfscon handleunknown ibendportcon
    ibpkeycon in iomemcon ioportcon ipaddr level levelrange macro mls mlsconstrain mlsvalidatetrans netifcon neverallow
    neverallowx nodecon optional pcidevicecon perm permissionx pirqcon policycap portcon rangetransition role roleallow
    roleattribute roleattributeset rolebounds roletransition roletype selinuxuser selinuxuserdefault sensitivity
    sensitivityalias sensitivityaliasactual sensitivitycategory sensitivityorder sid sidcontext sidorder string true
    tunable tunableif type typealias typealiasactual typeattribute typeattributeset typebounds typechange typemember
    typepermissive typetransition unordered user userattribute userattributeset userbounds userlevel userprefix
    userrange userrole validatetrans
"""
STATEMENTS = frozenset(_WORDS.split())
CLASSES_OF_FILES = frozenset(("file", "dir", "char", "block", "socket", "pipe", "symlink", "any"))


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, and where: line and column count from 1."""

    line: int
    column: int
    message: str


@dataclass(slots=True)
class _List:
    line: int
    column: int
    items: list[_List | str] = field(default_factory=list)


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Parentheses, words and quoted strings, with their places; comments run from ``;`` to the end of the line."""
    for line, content in enumerate(text.split("\n"), 1):
        at = 0
        while at < len(content):
            letter = content[at]
            if letter == ";":
                break
            if letter.isspace():
                at += 1
                continue
            if letter in "()":
                end = at + 1
            elif letter == '"':
                end = content.find('"', at + 1) + 1
                if not end:
                    yield '"', line, at + 1
                    return
            else:
                end = at
                while end < len(content) and not content[end].isspace() and content[end] not in '();"':
                    end += 1
            yield content[at:end], line, at + 1
            at = end


def mistake_in(text: str) -> Mistake | None:
    """The first mistake in a CIL module, if it has one that can be seen without a policy."""
    top = _List(1, 1)
    open_lists = [top]
    for token, line, column in _tokens(text):
        if token == '"':
            return Mistake(line, column, "a quoted string does not end on its line")
        if token == "(":
            inner = _List(line, column)
            open_lists[-1].items.append(inner)
            open_lists.append(inner)
        elif token == ")":
            if len(open_lists) == 1:
                return Mistake(line, column, "a ')' closes nothing")
            closed = open_lists.pop()
            if len(open_lists) == 1 and (found := _mistake_in_statement(closed)) is not None:
                return found
        elif len(open_lists) == 1:
            return Mistake(line, column, f"'{token}' is outside of all parentheses")
        else:
            open_lists[-1].items.append(token)
    if len(open_lists) > 1:
        return Mistake(open_lists[-1].line, open_lists[-1].column, "a '(' is never closed")
    if not top.items:
        return Mistake(1, 1, "there is no statement in it")
    return None


def _mistake_in_statement(statement: _List) -> Mistake | None:
    word = statement.items[0] if statement.items else None
    if not isinstance(word, str):
        return Mistake(statement.line, statement.column, "a statement begins with a word")
    if word not in STATEMENTS:
        return Mistake(statement.line, statement.column, f"CIL has no statement '{word}'")
    if word == "filecon":
        items = statement.items
        kind = items[2] if len(items) > 2 else None
        if len(items) != 4 or not isinstance(items[1], str) or kind not in CLASSES_OF_FILES:
            return Mistake(
                statement.line,
                statement.column,
                f'a file context is (filecon "path" CLASS context), CLASS one of {", ".join(sorted(CLASSES_OF_FILES))}',
            )
    return None
