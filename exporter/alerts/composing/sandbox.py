"""Jinja2 for templates that may be wrong or hostile: what they read, and what they cost, is bounded.

Jinja2's sandbox keeps a template from the interpreter, not from the machine: a loop in a loop, a text
multiplied, or a macro that calls itself twice fill the memory or never end. So everything that repeats or
grows is counted here: turns of loops, calls, filters and included files against `MOST_STEPS` and
`MOST_SECONDS`, texts against `MOST_CHARACTERS`, collections against `MOST_ITEMS`. A filter or a method that
can make much of little is not offered.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from jinja2 import BaseLoader, Template, TemplateSyntaxError, nodes, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.nodes import EvalContext
from jinja2.runtime import ChainableUndefined, Context, Macro, Undefined, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, htmlsafe_json_dumps, missing
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

MOST_STEPS: Final = 200_000
MOST_SECONDS: Final = 2.0
MOST_CHARACTERS: Final = 2_000_000
MOST_ITEMS: Final = 10_000
MOST_RANGE: Final = 1000
_LARGEST_NUMBER: Final = 1e18

_FILTERS: Final = frozenset(
    (
        *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float"),
        *("forceescape", "groupby", "int", "items", "last", "length", "list", "lower", "map", "max", "min"),
        *("reject", "rejectattr", "reverse", "round", "safe", "select", "selectattr", "sort", "string"),
        *("striptags", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount"),
    )
)
_TEXT_METHODS: Final = frozenset(
    (
        *("capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower"),
        *("isnumeric", "isspace", "isupper", "lower", "lstrip", "partition", "removeprefix", "removesuffix"),
        *("rfind", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip"),
        *("swapcase", "title", "upper"),
    )
)
_METHODS: Final[tuple[tuple[type, frozenset[str]], ...]] = (
    (str, _TEXT_METHODS),
    (Mapping, frozenset({"get", "items", "keys", "values"})),
    (tuple, frozenset({"count", "index"})),
    (list, frozenset({"count", "index"})),
    (Cycler, frozenset({"next", "reset"})),
)
_OWN_KINDS: Final = ("LoopContext", "TemplateReference", "BlockReference", "TemplateModule")
_STEPS, _JOINED, _COLLECTION = "counted_", "joined_", "collected_"


class TooMuchError(SecurityError):
    """A template wants more than it may have."""


class Absent(ChainableUndefined):
    """A label, an annotation or a link that is not there is an empty text; a misspelt name is an error."""

    __slots__ = ()

    def _told(self) -> str:
        known = isinstance(self._undefined_obj, Mapping | Absent | None.__class__)
        if self._undefined_hint or (self._undefined_obj is missing or not known):
            self._fail_with_undefined_error()
        return ""

    def __str__(self) -> str:
        return self._told()

    def __html__(self) -> str:
        return self._told()

    def __iter__(self) -> Iterator[Any]:
        self._told()
        return iter(())

    def __len__(self) -> int:
        self._told()
        return 0


class _Bounded(NodeTransformer):
    """Puts counters into a template's tree where it repeats, joins or collects."""

    def _through(self, name: str, node: Any) -> nodes.Filter:
        made = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
        made.environment = node.environment
        return made

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  # the name that Jinja2 calls
        if node.recursive:
            raise TemplateSyntaxError("recursive loops are not available here", node.lineno)
        self.generic_visit(node)
        node.iter = self._through(_STEPS, node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        parts.environment = node.environment
        return self._through(_JOINED, parts)

    def _collected(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") != "load" else self._through(_COLLECTION, node)

    visit_List = visit_Tuple = visit_Dict = _collected  # noqa: N815


class _Code(CodeGenerator):
    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        _Bounded().visit(node)
        super().visit_Template(node, frame)


class _Spent(threading.local):
    """What the rendering of this thread has used; `depth` counts renderings within it."""

    steps = 0
    until = float("inf")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox with bounds; `filters` are added to those of Jinja2 that are offered."""

    code_generator_class = _Code
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self, loader: BaseLoader, filters: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(
            loader=loader,
            undefined=Absent,
            autoescape=lambda name: bool(name) and str(name).endswith((".html", ".htm", ".xml")),
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            keep_trailing_newline=False,
            finalize=_scalar,
        )
        self._spent = _Spent()
        own: dict[str, Callable[..., Any]] = {
            "join": _join,
            "replace": _replace,
            "indent": _indent,
            "tojson": _tojson,
            "sum": _sum,
            _STEPS: self._turns,
            _JOINED: _joined,
            _COLLECTION: _collected,
        }
        offered = {name: function for name, function in self.filters.items() if name in _FILTERS}
        self.filters = {
            name: function if name.endswith("_") else self._bounded(function)
            for name, function in {**offered, **own, **filters}.items()
        }
        self.globals = {
            "range": self._range,
            "dict": lambda **items: _collected(items),
            "namespace": Namespace,
            "cycler": Cycler,
            "joiner": Joiner,
        }
        self.concat = _concat  # type: ignore[method-assign]  # "".join, bounded

    # -- counting -----------------------------------------------------------------------------------

    def render(self, name: str, context: Mapping[str, Any]) -> str:
        """The text of a template.

        Raises
        ------
        Exception
            Whatever the template did wrong; `TooMuchError` beyond the bounds.
        """
        self._spent.steps, self._spent.until = 0, time.monotonic() + MOST_SECONDS
        written = 0
        pieces: list[str] = []
        for piece in self.get_template(name).generate(context):
            self.charge()
            written += len(piece)
            if written > MOST_CHARACTERS:
                raise TooMuchError(f"the text is longer than {MOST_CHARACTERS:,} characters")
            pieces.append(piece)
        return "".join(pieces)

    def charge(self, steps: int = 1) -> None:
        """Count steps of the rendering of this thread."""
        spent = self._spent
        spent.steps += steps
        if spent.steps > MOST_STEPS:
            raise TooMuchError(f"it takes more than {MOST_STEPS:,} steps")
        if time.monotonic() > spent.until:
            raise TooMuchError(f"it takes longer than {MOST_SECONDS:g} s")

    def _turns(self, items: Any) -> Iterator[Any]:
        for item in items:
            self.charge()
            yield item

    def _range(self, *bounds: int) -> range:
        made = range(*bounds)
        if len(made) > MOST_RANGE:
            raise TooMuchError(f"range() of more than {MOST_RANGE:,}")
        return made

    def _bounded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def bounded(*arguments: Any, **named: Any) -> Any:
            self.charge()
            for argument in (*arguments, *named.values()):
                if isinstance(argument, Namespace | type):
                    raise TooMuchError("filters take texts, numbers and collections")
            result = function(*arguments, **named)
            if isinstance(result, str):
                _checked_length(len(result))
            elif isinstance(result, list | tuple | dict):
                _collected(result)
            return result

        return bounded

    # -- what Jinja2 asks ---------------------------------------------------------------------------

    def get_template(self, *arguments: Any, **named: Any) -> Template:
        self.charge()
        return super().get_template(*arguments, **named)

    def select_template(self, *arguments: Any, **named: Any) -> Template:
        self.charge()
        return super().select_template(*arguments, **named)

    def call(self, context: Context, called: Any, /, *arguments: Any, **named: Any) -> Any:
        self.charge()
        return super().call(context, called, *arguments, **named)

    def wrap_str_format(self, value: Any) -> Any:  # noqa: ARG002
        """No `str.format`: a width of it makes much of little."""
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Data of all objects; methods only of those lists."""
        if not super().is_safe_attribute(obj, attr, value) or isinstance(obj, type):
            return False
        if type(obj).__name__ in _OWN_KINDS or isinstance(obj, Macro | Undefined | Namespace):
            return True
        if not callable(value):
            return True
        return any(isinstance(obj, kind) and attr in names for kind, names in _METHODS)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.charge()
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "+" and not numbers:
            if isinstance(left, str) and isinstance(right, str):
                _checked_length(len(left) + len(right))
            elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
                return _collected(left + right)  # type: ignore[operator]
            else:
                raise TypeError(f"+ of {type(left).__name__} and {type(right).__name__}")
        elif not numbers:
            kinds = f"{type(left).__name__} and {type(right).__name__}"
            raise TypeError(f"expected numbers on both sides of {operator}, got {kinds}")
        elif operator == "**":
            raise TooMuchError("** is not available in templates of messages")
        result = super().call_binop(context, operator, left, right)
        if numbers and isinstance(result, int) and abs(result) > _LARGEST_NUMBER:
            raise TooMuchError("a number is too large")
        return result


def _scalar(value: Any) -> Any:
    """What may be written out: text and numbers; None is nothing."""
    if value is None:
        return ""
    if isinstance(value, str | int | float | Undefined) or hasattr(value, "__html__"):
        return value
    if type(value).__name__ in _OWN_KINDS or isinstance(value, Macro):
        return value
    raise TypeError(f"expected a text or a number to write out, got a {type(value).__name__}")


def _checked_length(length: int) -> None:
    if length > MOST_CHARACTERS:
        raise TooMuchError(f"a text is longer than {MOST_CHARACTERS:,} characters")


def _concat(pieces: Iterable[str]) -> str:
    parts = list(pieces)
    _checked_length(sum(map(len, parts)))
    return "".join(parts)


def _collected(value: Any, most: int = MOST_ITEMS) -> Any:
    """The collection, when all that it holds, and what those hold, is not too much."""
    seen = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        seen += 1
        if isinstance(item, Namespace):
            raise TooMuchError("a namespace stands by itself")
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        if seen + len(waiting) > most:
            raise TooMuchError(f"a collection holds more than {most:,} items")
    return value


@pass_eval_context
def _joined(context: EvalContext, parts: list[Any]) -> str:
    written = [_scalar(part) for part in parts]
    _checked_length(sum(len(part) for part in written if isinstance(part, str)))
    return markup_join(written) if context.autoescape else str_join(written)


@pass_eval_context
def _join(context: EvalContext, items: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
    """The items as texts with `between` between them."""
    values = [item if attribute is None else _part(item, attribute) for item in items]
    texts = [_scalar(value) for value in values]
    known = sum(len(text) for text in texts if isinstance(text, str))
    _checked_length(known + len(between) * len(texts))
    if context.autoescape:
        return Markup("").join(_between(texts, between))
    return "".join(str(text) for text in _between(texts, between))


def _between(texts: list[Any], between: str) -> Iterator[Any]:
    for index, text in enumerate(texts):
        if index:
            yield between
        yield text


def _part(item: Any, attribute: str) -> Any:
    if attribute.startswith("_"):
        raise SecurityError(f"access to attribute {attribute!r} is unsafe")
    if isinstance(item, Mapping):
        return item.get(attribute, "")
    found = getattr(item, attribute, None)
    if found is None or callable(found):
        raise UndefinedError(f"a {type(item).__name__} has no {attribute!r}")
    return found


@pass_eval_context
def _replace(context: EvalContext, text: Any, old: str, new: str) -> str:
    """The text with `new` for every `old`."""
    whole = str(text) if not context.autoescape else Markup.escape(text)
    old, new = str(old), str(new)
    found = whole.count(old)
    _checked_length(len(whole) + found * max(0, 6 * len(new) - len(old)))
    return whole.replace(old, Markup.escape(new) if context.autoescape else new)


def _indent(text: Any, width: int = 4, first: bool = False) -> str:
    """Lines after the first moved to the right."""
    space = " " * max(0, min(int(width), 40))
    whole = text if isinstance(text, Markup) else str(text)
    lines = whole.splitlines()
    _checked_length(len(whole) + len(lines) * len(space))
    made = ("\n" + space).join(lines)
    made = space + made if first else made
    return Markup(made) if isinstance(text, Markup) else made  # noqa: S704  # it was markup, and is


def _tojson(value: Any) -> Markup:
    """JSON that is also safe inside HTML."""
    return htmlsafe_json_dumps(_collected(value, 20 * MOST_ITEMS))


def _sum(items: Iterable[Any]) -> float:
    """Of numbers."""
    return sum(item for item in items if isinstance(item, int | float))
