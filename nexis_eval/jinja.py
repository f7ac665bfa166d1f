"""Jinja2 as configurations and rules may use it: values in, text out, and nothing else. Pure.

A template sees the values that it is given and what they consist of: no attribute that begins with ``_``, no method but
the few that compute, no file, no clock, no chance. Whatever is evaluated is counted (``Budget``): a loop or a macro by
the size of its body, a value by its size, so that the same template ends in the same way on every machine, soon. What
goes wrong is one ``TemplateFailure`` with line and column.

Import it where it is used: Jinja2 takes longer to import than most commands to run.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.environment import Template
from jinja2.exceptions import SecurityError, TemplateError, TemplateRuntimeError, TemplateSyntaxError, UndefinedError
from jinja2.filters import FILTERS as BUILT_IN_FILTERS
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as BUILT_IN_TESTS
from jinja2.utils import Namespace

MAX_TEXT = 4 << 20
"""Characters of a template, of a value, and of what a template renders to."""
MAX_STEPS = 2_000_000
"""What one rendering may take: one for each part of a loop or macro that is evaluated, one for 100 characters."""
MAX_DEPTH = 60
"""How deep expressions, blocks and calls may be nested."""
MAX_BITS = 4096
"""Of an integer."""
MAX_WIDTH = 10_000
"""Of anything that is filled up with blanks or zeros."""
_CHARACTERS_A_STEP = 100
_CHARACTERS_AN_ELEMENT = 20

FILTERS = (
    "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape",
    "filesizeformat", "first", "float", "forceescape", "format", "groupby", "indent", "int", "items", "join", "last",
    "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "safe",
    "select", "selectattr", "slice", "sort", "string", "sum", "title", "tojson", "trim", "truncate", "unique", "upper",
    "urlencode", "wordcount", "wordwrap", "xmlattr",
)  # fmt: skip
"""Jinja2's own filters that there are: not those of chance, of addresses in memory, of HTML's parsing."""
METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset((
        "capitalize", "casefold", "center", "count", "endswith", "find", "format", "index", "isalnum", "isalpha",
        "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isspace", "istitle", "isupper",
        "join", "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex",
        "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title",
        "upper", "zfill",
    )),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
}  # fmt: skip
_WIDTHS: Mapping[str, tuple[str, int]] = {
    "center": ("width", MAX_WIDTH), "ljust": ("", MAX_WIDTH), "rjust": ("", MAX_WIDTH), "zfill": ("", MAX_WIDTH),
    "indent": ("width", MAX_WIDTH), "batch": ("linecount", MAX_WIDTH), "slice": ("slices", MAX_WIDTH),
    "round": ("precision", 300), "tojson": ("indent", 16),
}  # fmt: skip
"""Where the first argument of a filter or method decides how large the result is: its name, and the most it may be."""
_KINDS = {str: "string", int: "number", float: "number", bool: "boolean", dict: "table", list: "list", tuple: "list"}
_HALF = re.compile(r"\\[uU]0*[dD][89a-fA-F]")
_MARKS = "\x1f\x1e\x1d\x1c\x0b\x0c\x85\u2028\u2029\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
"""White space that Jinja2 does not take for the end of a line: one of these stands for a carriage return."""
_TAG = re.compile(r"\{[{%#]")


class TemplateFailure(Exception):  # noqa: N818 - what a template does; the errors of a person are made of it
    """A template cannot be rendered. ``line`` and ``column`` count from 1; 0 where they are unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0, *, syntax: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.syntax = syntax
        """Whether it cannot be read at all."""


class BoundError(TemplateRuntimeError):
    """A template asks for more than there is for it."""


def _too_large() -> NoReturn:
    raise BoundError(f"a value or the result would be larger than {MAX_TEXT >> 20} MiB")


class Budget:
    """What is left of one rendering."""

    __slots__ = ("depth", "left")

    def __init__(self) -> None:
        self.left = MAX_STEPS
        self.depth = 0

    def spend(self, steps: int) -> bool:
        """Take ``steps`` off; raises ``BoundError`` when nothing is left."""
        self.left -= steps
        if self.left < 0:
            raise BoundError(f"it takes more than {MAX_STEPS:,} steps: is a loop or a macro endless?")
        return True

    def taken(self, value: Any) -> Any:
        """``value``, weighed and paid for; what is lazy becomes a list."""
        kind = type(value)
        if kind is bool or value is None:
            return value
        if kind is str:
            size = len(value)
        elif kind is int:
            if value.bit_length() > MAX_BITS:
                raise BoundError(f"a number would have more than {MAX_BITS} bits")
            return value
        elif isinstance(value, Iterator) and not isinstance(value, LoopContext):
            return self.taken([self.spend(1) and each for each in value])
        else:
            size = _weight(value)
            # Lists and tables are looked through, and what is in them may be there many times.
            self.spend(size // _CHARACTERS_AN_ELEMENT)
        _limit(size)
        if size >= _CHARACTERS_A_STEP:
            self.spend(size // _CHARACTERS_A_STEP)
        return value


def _weight(value: object, *, strict: bool = False) -> int:
    """About how many characters ``value`` has when it is written out; more than ``MAX_TEXT`` is not counted on.

    ``strict`` refuses what is undefined anywhere in it.
    """
    total = 0
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for each in level:
            total += 4
            if isinstance(each, str):
                total += len(each)
            elif isinstance(each, Mapping):
                below += each.keys()
                below += each.values()
            elif isinstance(each, list | tuple | set | frozenset):
                below += each
            elif isinstance(each, int):
                total += each.bit_length() // 3
            elif strict and isinstance(each, Undefined):
                # Whatever is done with it says why.
                str(each)
            elif isinstance(each, types.BuiltinMethodType | types.MethodType | types.FunctionType):
                raise TemplateRuntimeError(f"'{each.__name__}' is a method and no value: () calls it")
            if total + 4 * len(below) > MAX_TEXT:
                return MAX_TEXT + 1
        if not below:
            return total
        level = below
    raise BoundError(f"a value is nested more than {MAX_DEPTH} deep")


def _argument(rest: tuple[Any, ...], named: Mapping[str, Any], index: int, name: str) -> Any:
    return rest[index] if index < len(rest) else named.get(name)


def _limit(size: int) -> None:
    if size > MAX_TEXT:
        _too_large()


def _check_growth(name: str, value: Any, rest: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Refuse a filter or method of ``value`` whose result would be enormous, before it is made."""
    if name in _WIDTHS:
        keyword, most = _WIDTHS[name]
        width = _argument(rest, named, 0, keyword)
        width = len(width) if isinstance(width, str) else width
        if isinstance(width, int) and abs(width) > most:
            raise BoundError(f"a width of {width} for '{name}'; the most is {most}")
        if isinstance(width, int) and name == "indent":
            _limit(len(str(value)) + str(value).count("\n") * width)
        elif isinstance(width, int) and name == "tojson":
            _limit(_weight(value) * width)
    elif name == "replace":
        old, new = _argument(rest, named, 0, "old"), _argument(rest, named, 1, "new")
        if isinstance(old, str) and isinstance(new, str):
            text = str(value)
            _limit(len(text) + (text.count(old) if old else len(text) + 1) * len(new))
    elif name == "join":
        other = _argument(rest, named, 0, "d")
        if hasattr(value, "__len__") and hasattr(other, "__len__"):
            _limit(len(value) * len(other))
    elif name == "wordwrap":
        wrap = _argument(rest, named, 2, "wrapstring")
        if isinstance(wrap, str) and len(wrap) > 8:
            raise BoundError("a 'wrapstring' of more than 8 characters for 'wordwrap'")
    elif name == "format" and isinstance(value, str):
        _check_format(value, (rest, named))
    elif name == "sum" and not isinstance(_argument(rest, named, 1, "start"), int | float | None):
        raise TemplateRuntimeError("'sum' adds numbers")


_FORMAT_WIDTH = re.compile(r"\d{4,}|\*|:[^{}:]*\{")


def _check_format(text: str, values: object) -> None:
    if _FORMAT_WIDTH.search(text):
        raise BoundError("a format with a width of four digits or more, or one that is computed")
    _limit(len(text) + (text.count("%") + text.count("{")) * _weight(values))


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > MAX_BITS:
        raise BoundError(f"a number would have more than {MAX_BITS} bits")
    return left**right


def _times(left: Any, right: Any) -> Any:
    for sequence, number in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(number, int):
            size = len(sequence) if isinstance(sequence, str) else 4 * len(sequence)
            if size * number > MAX_TEXT:
                _too_large()
    return left * right


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str):
        _check_format(left, right)
    return left % right


def _finalized(value: Any) -> Any:
    """What ``{{ … }}`` may put into the text: data; not what has no form but its address in memory."""
    if value is None or isinstance(value, str | int | float | Undefined):
        return value
    if isinstance(value, list | tuple | Mapping):
        _weight(value, strict=True)
        return value
    raise TemplateRuntimeError(f"a value of type '{type(value).__name__}' cannot be written out")


def _range(*arguments: int) -> range:
    numbers = range(*arguments)
    # len() itself overflows where the numbers are enormous.
    if numbers and abs(numbers[-1] - numbers[0]) // abs(numbers.step) >= MAX_TEXT // 4:
        raise BoundError(f"a range of more than {MAX_TEXT // 4:,} numbers")
    return numbers


_REPEAT = re.compile(r"[*+?{]")
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?[^\]]*\]")


class _Code(CodeGenerator):
    """Jinja2's, with what makes new values going through the environment."""

    def _taken(self, visit: Callable[[Any, Frame], None], node: nodes.Node, frame: Frame) -> None:
        self.write("environment.taken(")
        visit(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._taken(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._taken(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._taken(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):
            self._taken(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def visit_Assign(self, node: nodes.Assign, frame: Frame) -> None:  # noqa: N802
        if any(True for _ in node.find_all(nodes.NSRef)):
            # The check that it is a namespace would count as a part of the line above.
            self.writeline("pass", node)
        super().visit_Assign(node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        self.write("(")
        self._taken(self.visit, node.expr, frame)
        for operand in node.ops:
            self.visit(operand, frame)
        self.write(")")

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:  # noqa: N802
        self.write(f" {operators[node.op]} ")
        self._taken(self.visit, node.expr, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        function = "markup_join" if frame.eval_ctx.autoescape else "str_join"
        if frame.eval_ctx.volatile:
            function = "(markup_join if context.eval_ctx.volatile else str_join)"
        self.write(f"{function}(environment.parts((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")


class Environment(ImmutableSandboxedEnvironment):
    """Compiles and renders; ``budget`` is that of the rendering that goes on."""

    code_generator_class = _Code
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self, **syntax: Any) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            # Folding constants takes a tenth of the time of compiling, and there are hardly any.
            optimized=False,
            finalize=_finalized,
            cache_size=0,
            **syntax,
        )
        self.budget = Budget()
        self.globals = {"range": _range, "dict": dict, "namespace": Namespace}
        self.filters = {name: self._bounded(name, BUILT_IN_FILTERS[name]) for name in FILTERS}
        tests: dict[str, Any] = {**BUILT_IN_TESTS, "matching": self._matching}
        self.tests = {name: self._bounded(name, test) for name, test in tests.items()}
        self.binop_table |= {"**": _power, "*": _times, "%": _modulo}

    def add_filter(self, name: str, function: Callable[[Any], str]) -> None:
        """A filter of our own."""
        self.filters[name] = self._bounded(name, function)

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter or test that pays for what it is given and for what it gives."""
        # Some are passed the environment or the context before the value.
        first = 2 if hasattr(function, "jinja_pass_arg") else 1

        @functools.wraps(function)
        def bounded(*arguments: Any, **named: Any) -> Any:
            budget = self.budget
            budget.spend(1)
            value, rest = budget.taken(arguments[first - 1]), arguments[first:]
            for each in rest:
                budget.taken(each)
            if rest or named:
                _check_growth(name, value, rest, named)
            return budget.taken(function(*arguments[: first - 1], value, *rest, **named))

        return bounded

    def _matching(self, value: str, pattern: str) -> bool:
        """Whether a regular expression matches a text as a whole; one that could take for ever is refused."""
        bare = _CLASS.sub("a", _ESCAPE.sub("a", pattern))
        if "(?" in bare or re.search(r"\)[*+?{]", bare) or re.search(r"\\[0-9]", pattern):
            raise BoundError("'matching' takes no groups that are repeated, looked ahead for or referred to")
        branches = [bare] if "(" in bare else bare.split("|")
        repeats = max(len(_REPEAT.findall(each)) for each in branches)
        self.budget.spend(int(min((len(value) + 1) ** min(repeats, 64) // 100, MAX_STEPS + 1)))
        return re.fullmatch(pattern, value) is not None

    def concat(self, parts: Iterable[str]) -> str:
        """Join what a template, a block or a macro writes."""
        texts = []
        size = 0
        for part in parts:
            size += len(part)
            if size > MAX_TEXT:
                _too_large()
            texts.append(part)
        self.budget.spend(1 + size // _CHARACTERS_A_STEP)
        return "".join(texts)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may look at ``obj.attr``."""
        if attr.startswith("_"):
            return False
        for kind, names in METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        if dataclasses.is_dataclass(obj):
            return not callable(value)
        return isinstance(obj, Namespace | LoopContext | Undefined) or (isinstance(obj, Macro) and not callable(value))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """What stands for an attribute that a template may not look at."""
        if isinstance(obj, Undefined):
            return obj
        kind = _KINDS.get(type(obj), "value of its type")
        return self.undefined(
            f"templates cannot use '{attribute}' of a {kind}", name=attribute, obj=obj, exc=SecurityError
        )

    def is_safe_callable(self, obj: Any) -> bool:
        """Whether a template may call ``obj``; methods were looked at when they were taken from their objects."""
        return isinstance(
            obj, Macro | LoopContext | BlockReference | Undefined | types.BuiltinMethodType | types.MethodType
        ) or (obj in (_range, dict, Namespace) or getattr(obj, "__name__", "") == "format")

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` without widths that fill the memory."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None or value.__name__ != "format":
            return None

        def format(*arguments: Any, **named: Any) -> str:
            _check_format(value.__self__, (arguments, named))
            return wrapped(*arguments, **named)

        return format

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Every call of a template comes here: of macros, of methods, of ``loop`` and ``range``."""
        budget = __self.budget
        budget.spend(1)
        for each in args:
            budget.taken(each)
        for each in kwargs.values():
            budget.taken(each)
        if isinstance(__obj, types.BuiltinMethodType):
            _check_growth(__obj.__name__, budget.taken(__obj.__self__), args, kwargs)
        budget.depth += 1
        try:
            if budget.depth > MAX_DEPTH:
                raise BoundError(f"macros call each other more than {MAX_DEPTH} deep")
            value = super().call(__context, __obj, *args, **kwargs)
        finally:
            budget.depth -= 1
        return value if isinstance(value, range | Namespace) else budget.taken(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Every operator between two values."""
        budget = self.budget
        budget.spend(1)
        return budget.taken(self.binop_table[operator](budget.taken(left), budget.taken(right)))

    def taken(self, value: Any) -> Any:
        """What is written in brackets, compared or cut comes here."""
        return self.budget.taken(value)

    def parts(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """What ``~`` puts together."""
        _limit(sum(len(each) if isinstance(each, str) else _weight(each) for each in values))
        self.budget.taken(values)
        return values

    def spend(self, steps: int) -> bool:
        """What a loop or a macro calls each time it goes through its body."""
        return self.budget.spend(steps)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_TEXT:
            raise TemplateSyntaxError(f"it is larger than {MAX_TEXT >> 20} MiB", 1)
        # Jinja2 makes all ends of lines alike before it looks at anything.
        mark = next((each for each in _MARKS if each not in source), "\r") if "\r" in source else "\r"
        parser = Parser(self, source.replace("\r", mark), name, filename)
        try:
            tree = parser.parse()
        except RecursionError:
            line = parser.stream.current.lineno
            raise TemplateSyntaxError(f"it is nested more than {MAX_DEPTH} deep", line) from None
        _examine(tree, mark)
        return tree

    def _generate(self, source: nodes.Template, *arguments: Any, **named: Any) -> str:
        _instrument(source)
        return super()._generate(source, *arguments, **named)


def _examine(tree: nodes.Template, mark: str) -> None:
    """Refuse what templates cannot have, and give back the carriage returns."""
    level: list[nodes.Node] = [tree]
    depth = 0
    while level:
        below: list[nodes.Node] = []
        for node in level:
            if isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
                word = {nodes.Include: "include", nodes.Extends: "extends"}.get(type(node), "import")
                raise TemplateSyntaxError(f"'{word}' takes in another file, which templates cannot do", node.lineno)
            if isinstance(node, nodes.Call | nodes.Filter | nodes.Test):
                _check_names([str(each.key) for each in node.kwargs], node)
            elif isinstance(node, nodes.Macro | nodes.CallBlock):
                _check_names([each.name for each in node.args], node)
            if mark != "\r":
                if isinstance(node, nodes.TemplateData):
                    node.data = node.data.replace(mark, "\r")
                elif isinstance(node, nodes.Const) and isinstance(node.value, str):
                    node.value = node.value.replace(mark, "\r")
            below += node.iter_child_nodes()
        depth += 1
        if depth > MAX_DEPTH:
            raise TemplateSyntaxError(f"it is nested more than {MAX_DEPTH} deep", level[0].lineno)
        level = below
    _check_blocks(tree.body, 0)


def _check_names(names: list[str], node: nodes.Node) -> None:
    if len({*names}) != len(names):
        raise TemplateSyntaxError("an argument is there twice", node.lineno)


_MAX_BLOCKS = 15
"""Python compiles no more than 20 loops inside of each other."""


def _check_blocks(body: Iterable[nodes.Node], depth: int) -> None:
    for node in body:
        nested = isinstance(node, nodes.Stmt) and not isinstance(node, nodes.Output)
        if nested and depth >= _MAX_BLOCKS:
            raise TemplateSyntaxError(f"blocks are nested more than {_MAX_BLOCKS} deep", node.lineno)
        _check_blocks(node.iter_child_nodes(), depth + nested)


def _size(body: Iterable[nodes.Node]) -> int:
    return sum(1 + _size(node.iter_child_nodes()) for node in body)


def _tick(steps: int, line: int) -> nodes.Expr:
    # Jinja2 has no node for a call of the environment; the text of an attribute goes into the code as it is.
    return nodes.EnvironmentAttribute(f"spend({steps})", lineno=line)


def _instrument(tree: nodes.Node) -> int:
    """Make whatever repeats or grows pay for itself; gives the number of nodes."""
    steps = 1 + sum(_instrument(child) for child in [*tree.iter_child_nodes()])
    if isinstance(tree, nodes.For):
        tree.body.insert(0, nodes.ExprStmt(_tick(steps, tree.lineno), lineno=tree.lineno))
        if tree.test is not None:
            tree.test = nodes.And(_tick(steps, tree.lineno), tree.test, lineno=tree.lineno)
    elif isinstance(tree, nodes.Macro | nodes.CallBlock | nodes.Block):
        tree.body.insert(0, nodes.ExprStmt(_tick(steps, tree.lineno), lineno=tree.lineno))
    return steps


def compiled(environment: Environment, text: str) -> Template:
    """The template that ``text`` is; raises ``TemplateFailure``."""
    environment.budget = Budget()
    try:
        return environment.from_string(text)
    except TemplateSyntaxError as error:
        raise _failure(text, str(error.message or error), error.lineno, syntax=True) from None
    except (RecursionError, MemoryError):
        raise _failure(text, "it is nested too deeply", 1, syntax=True) from None
    except (SyntaxError, ValueError, OverflowError, TemplateError) as error:
        raise _failure(text, str(error), 1, syntax=True) from None


def rendered(template: Template, values: Mapping[str, Any], text: str) -> str:
    """The text that ``template``, made of ``text``, gives with ``values``; raises ``TemplateFailure``."""
    environment = template.environment
    assert isinstance(environment, Environment)
    environment.budget = Budget()
    try:
        result = template.render(values)
        if not result.isascii():
            result.encode()
        return result
    except UnicodeEncodeError as error:
        half = _HALF.search(text)
        line = text.count("\n", 0, half.start()) + 1 if half else 1
        raise _failure(text, f"U+{ord(error.object[error.start]):04X} is half of a character", line) from None
    except RecursionError as error:
        raise _failure(text, "it is nested too deeply", _line_of(error)) from None
    except (UndefinedError, SecurityError, TemplateError) as error:
        raise _failure(text, str(error.message or error), _line_of(error)) from None
    except Exception as error:
        # What a template computes can fail in every way in which Python's own operators and methods can.
        raise _failure(text, str(error) or type(error).__name__, _line_of(error)) from None


def _failure(text: str, message: str, line: int, *, syntax: bool = False) -> TemplateFailure:
    column = 0
    if line:
        lines = text.split("\n", line)
        tag = _TAG.search(lines[line - 1]) if line <= len(lines) else None
        column = tag.start() + 1 if tag else 1
    return TemplateFailure(" ".join(message.split()), line, column, syntax=syntax)


def _line_of(error: BaseException) -> int:
    """The line of the template in which rendering failed; 0 if that is unknown."""
    import traceback

    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return (lines[-1] or 0) if lines else 0
