"""Templates: what they cannot reach, and that each that goes wrong is told from the others, at its line, soon."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.jinja import MAX_TEXT, Environment, TemplateFailure, compiled, rendered


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    hostname: str
    path: Path


VALUES: dict[str, Any] = {
    "text": "abc",
    "words": ("a", "b", "c"),
    "list": [1, 2, 3],
    "table": {"a": 1, "b": {"c": "d"}},
    "number": 7,
    "system": Settings("lab", Path("/etc/passwd")),
    "long": "x" * 100_000,
}


def render(text: str, **syntax: Any) -> str:
    environment = Environment(**syntax)
    return rendered(compiled(environment, text), VALUES, text)


UNREACHABLE = (
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ namespace.__init__ }}",
    "{{ dict.mro() }}",
    "{{ range.__class__ }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ '{0.__class__}'.format(text) }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ [text] | map(attribute='__class__') | list }}",
    "{{ words | sort(attribute='__class__.__name__') }}",
    "{{ [text] | groupby('__class__') }}",
    "{{ list.append(4) }}",
    "{{ list.clear() }}",
    "{{ table.update(x=1) }}",
    "{{ table.pop('a') }}",
    "{{ system.path.read_text() }}",
    "{{ system.path }}",
    "{{ system['path'].parent }}",
    "{{ text.encode() }}",
    "{{ text.upper }}",
    "{{ [text.upper] }}",
    "{{ text.translate({97: 'b'}) }}",
    "{% macro m() %}{% endmacro %}{{ m.__call__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{% endmacro %}{{ m }}",
    "{% for x in list %}{{ loop._iterator }}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{% import '/etc/passwd' as x %}",
    "{% from '/etc/passwd' import x %}",
    "{% extends '/etc/passwd' %}",
    "{% set x = cycler('a') %}",
    "{{ list | random }}",
    "{{ list | pprint }}",
    "{{ x.y }}",
    "{{ undefined_name }}",
)


@pytest.mark.parametrize("template", UNREACHABLE)
def test_nothing_but_values_is_reached(template: str) -> None:
    with pytest.raises(TemplateFailure) as failure:
        render(f"first line\n  {template}\n")
    assert (failure.value.line, failure.value.column) == (2, 3)


ENDLESS = (
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(1) }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% macro m() %}{% call m() %}{% endcall %}{% endmacro %}{{ m() }}",
    "{% block b %}{{ self.b() }}{{ self.b() }}{% endblock %}",
    "{% for a in [list] recursive %}{{ loop([a]) }}{{ loop([a]) }}{% endfor %}",
    "{% for a in range(999) %}" * 3 + "x" + "{% endfor %}" * 3,
    "{% for a in range(999) %}{% for b in range(9999) if false %}{% endfor %}{% endfor %}",
    "{% for a in range(10**9) %}{% endfor %}",
    "{{ range(10**9) | list }}",
    "{{ range(10**30) | first }}",
    "{{ 'x' * 10**9 }}",
    "{{ 10**9 * 'x' }}",
    "{{ [1] * 10**9 }}",
    "{{ 10 ** (10 ** 8) }}",
    "{{ (2**4000) ** 2 }}",
    "{{ 2**4000 * 2**4000 }}",
    "{{ 'x' | center(10**9) }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ 'x'.ljust(10**9) }}",
    "{{ 'x'.rjust(10**9) }}",
    "{{ '1'.zfill(10**9) }}",
    "{{ 'a\\nb' | indent(10**9) }}",
    "{{ ('a\\n' * 10000) | indent(10000) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '%*d' | format(10**9, 1) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 10**9) }}",
    "{{ ('{0}' * 1000).format(long) }}",
    "{{ ('%(a)s' * 1000) % {'a': long} }}",
    "{{ long.replace('', long) }}",
    "{{ long | replace('x', long) }}",
    "{{ long.join(long) }}",
    "{{ range(1000) | join(long) }}",
    "{{ long | wordwrap(1, true, long) }}",
    "{{ [1] | batch(10**9, 'x') | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ 1.5 | round(10**9) }}",
    "{{ [[1]] | tojson(indent=10**9) }}",
    "{{ 'f' * 100000 | int(0, 16) }}{{ ('f' * 100000) | int(0, 16) }}",
    "{{ range(100000) | map('center', 9999) | list }}",
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "{% set x = (1,) %}" + "{% set x = (x, x) %}" * 40 + "{{ x == x }}",
    "{% set x = {} %}" + "{% set x = {'a': x, 'b': x} %}" * 40 + "{{ x }}",
    "{% set x = 'x' %}" + "{% set x = x ~ x %}" * 40,
    "{% set x = 'x' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    "{% set x = 'x' %}" + "{% set x = x + x %}" * 40,
    "{% set x = [1] %}" + "{% set x = x + x %}" * 40,
    "{% set x = [] %}" + "{% set x = [x] %}" * 2000 + "{{ x }}",
    "{% set n = namespace(x=[1]) %}{% for a in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x='a') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "{{ " + " ~ ".join(["long"] * 100) + " }}",
    "{{ long }}" * 100,
    "{{ 'a' is matching('(a*)*b') }}",
    "{{ long is matching('x*x*x*x*b') }}",
    "{{ long is matching('(x|xx)+b') }}",
    "{{ [[1]] | sum(start=[]) }}",
)


@pytest.mark.parametrize("template", ENDLESS)
def test_nothing_goes_on_for_ever_or_fills_the_memory(template: str) -> None:
    with pytest.raises(TemplateFailure):
        render(f"first line\n{template}\n")


BROKEN = (
    ("{{ '\\ud800' }}", 2, r"U\+D800"),
    ("{% for a in list %}\n{{ a }}", 3, "end of template"),
    ("{% endfor %}", 2, "endfor"),
    ("{{ }}", 2, "print statement|expected"),
    ("{{ text", 2, "end of"),
    ("{% bogus %}", 2, "bogus"),
    ("{{ text | bogus }}", 2, "bogus"),
    ("{{ text is bogus }}", 2, "bogus"),
    ("{{ text(1) }}", 2, "not callable|not safely"),
    ("{{ 1 / 0 }}", 2, "zero"),
    ("{{ 1.0 ** 1000 * 10.0 ** 999 }}", 2, "large|range"),
    ("{{ text + 1 }}", 2, "str"),
    ("{{ text.upper(1) }}", 2, "argument"),
    ("{{ text | center('x') }}", 2, "int"),
    ("{% filter indent(width='\ud7ff', 1) %}a{% endfilter %}", 2, "syntax"),
    ("{% filter indent(bogus=1) %}a{% endfilter %}", 2, "bogus"),
    ("{{ dict(a=1, a=2) }}", 2, "twice"),
    ("{{ '%d' | format('x') }}", 2, "number"),
    ("{{ '%(a)s' | format(1) }}", 2, "mapping"),
    ("{{ '{' .format(1) }}", 2, "encountered|expected"),
    ("{{ '{9}' .format(1) }}", 2, "index"),
    ("{{ list[9] }}", 2, "undefined|no element"),
    ("{{ list | map('bogus') | list }}", 2, "bogus"),
    ("{{ 'a' < 1 }}", 2, "not supported"),
    ("{{ range(1, 2, 0) }}", 2, "zero"),
    ("{{ range('x') }}", 2, "int"),
    ("{{ text is matching('[') }}", 2, "unterminated"),
    ("{% set text.x = 1 %}", 2, "namespace"),
    ("{% set (a, b) = list %}", 2, "unpack"),
    ("{% macro m(a, a) %}{% endmacro %}", 2, "duplicate|twice|argument"),
    ("{% block a %}{% endblock %}{% block a %}{% endblock %}", 2, "defined"),
    ("{{ super() }}", 2, "super|parent"),
    ("{{ caller() }}", 2, "caller"),
    ("{% break %}", 2, "break"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", 2, "deep"),
    ("{{ " + "1 + " * 3000 + "1 }}", 2, "deep"),
    ("{{ " + "not " * 3000 + "1 }}", 2, "deep"),
    ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, 2, "deep"),
    ("{% for a in list %}" * 25 + "{% endfor %}" * 25, 2, "deep"),
    ("{{ " + "9" * 5000 + " }}", 0, "digits"),
    ("{{ 0x" + "f" * 5000 + " }}", 0, "digits|bits"),
    ("{{ number + 1e999 }}", 0, "inf"),
    ("{# open", 2, "comment|end of"),
    ("{% raw %}", 2, "raw|end of"),
    ("x" * (MAX_TEXT + 1), 1, "larger"),
)


@pytest.mark.parametrize(("template", "line", "message"), BROKEN, ids=lambda value: str(value)[:30])
def test_each_mistake_is_told_with_its_line(template: str, line: int, message: str) -> None:
    with pytest.raises(TemplateFailure, match=f"(?i){message}") as failure:
        render(f"first line\n{template}\n")
    if line:
        assert failure.value.line == line


RIGHT = (
    ("{{ text | upper }}{{ text.replace('a', 'x') }}", "ABCxbc"),
    ("{% for a in words %}{{ loop.index }}{{ a }}{{ ',' if not loop.last }}{% endfor %}", "1a,2b,3c"),
    ("{% for k, v in table | dictsort if v is mapping %}{{ k }}={{ v.c }}{% endfor %}", "b=d"),
    ("{% set n = namespace(c=0) %}{% for a in list %}{% set n.c = n.c + a %}{% endfor %}{{ n.c }}", "6"),
    ("{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() }}{% endmacro %}{% call m(1) %}x{% endcall %}", "12x"),
    ("{% for a in [[[]], []] recursive %}<{{ loop(a) }}>{% endfor %}", "<<>><>"),
    ("{{ '%s-%03d' | format(text, number) }} {{ '{:>5}'.format(text) }}", "abc-007   abc"),
    ("{{ words | map('upper') | join('+') }} {{ list | sum }} {{ 2 ** 10 }}", "A+B+C 6 1024"),
    ("{% filter indent(2, true) %}a\nb{% endfilter %}", "  a\n  b"),
    ("{% raw %}{{ x }}{% endraw %}{# gone #}{{ missing | default('y') }}", "{{ x }}y"),
    ("{{ range(3) | list }} {{ words[1:] }} {{ table.get('z', 1) }}", "[0, 1, 2] ('b', 'c') 1"),
    ("{{ ['-j4', 'V=1'] | reject('matching', '-j *[0-9]*|--.*') | join }}", "V=1"),
    ("{% block a %}x{% endblock %}{{ self.a() }}", "xx"),
    ("{{ system.hostname ~ '.' ~ number }}", "lab.7"),
    ("{{ table | tojson }}", '{"a": 1, "b": {"c": "d"}}'),
)


@pytest.mark.parametrize(("template", "text"), RIGHT)
def test_what_templates_are_for(template: str, text: str) -> None:
    assert render(template) == text


def test_a_large_file_is_no_trouble() -> None:
    lines = "{% for a in range(30000) %}{{ a }} {{ text }}\n{% endfor %}"
    assert render(lines).count("\n") == 30000


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a\r\nb\n{{ text }}\r\nc\rd\r", "a\r\nb\nabc\r\nc\rd\r"),
        ("{%- if text -%}\r\n x {%- endif %}\r\n", "x\r\n"),
        ("{{\r\ntext\r\n}}\r\n", "abc\r\n"),
        ("{{ 'a\r\nb' }}", "a\r\nb"),
        ("\x1f\x1e\r\n{{ text }}", "\x1f\x1e\r\nabc"),
    ],
)
def test_ends_of_lines_stay_as_they_are(template: str, text: str) -> None:
    assert render(template) == text


PIECES = st.sampled_from(
    [
        *("{{", "}}", "{%", "%}", "{#", "#}", " ", "\n", "\r\n", "(", ")", "[", "]", "|", ".", "~", "*", "=", "'", '"'),
        *("for", " in ", "list", "text", "if ", "endif", "endfor", "set x", "1", "9**9", "center", "join", "map"),
        *("upper", "loop", "macro m()", "endmacro", "m()", ",", ":", "is ", "not ", "-", "\x00", "\ud7ff", "é", "x"),
        *("raw", "endraw", "call m()", "endcall"),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_a_template_or_a_mistake(template: str) -> None:
    try:
        assert isinstance(render(template), str)
    except TemplateFailure as failure:
        assert failure.message
