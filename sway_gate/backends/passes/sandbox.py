"""Limits the work of chat templates. Each one is a program of the model's author.

transformers renders templates in a sandbox of jinja2, which prevents access to Python but not
endless loops and huge values. Here each step and each character takes from the work that one
rendering has. The limits count work, not time, so that they are the same on each machine.

A prompt is rendered several times, with its answer and without it. So a template sees the time at
which this process started, and cannot choose at random.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from jinja2 import Template, nodes, pass_context
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from transformers.utils import chat_template_utils

from sway_gate.model_files.config import STARTED

_WORK: Final = 50_000_000
"""Characters that one rendering may make; a step counts as `_STEP` of them: about a second."""
_STEP: Final = 200
_MAX_BITS: Final = 10_000
_WIDE: Final = re.compile(r"\d{5}|%[^a-zA-Z]*\*")
"""A format that pads to 10,000 characters or more, or to a width in the arguments."""


class TooMuchWork(Exception):
    """A template exceeds the limits."""


class _Metered(Context):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.left = [_WORK]

    def derived(self, locals: dict[str, Any] | None = None) -> Context:
        context = super().derived(locals)
        assert isinstance(context, _Metered)  # noqa: S101
        context.left = self.left
        return context

    def spend(self, work: int) -> None:
        self.left[0] -= work
        if self.left[0] < 0:
            raise TooMuchWork


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """The environment in which transformers compiles chat templates."""

    context_class = _Metered
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, finalize=_written, optimized=False, **options)
        self.filters |= _OWN
        del self.globals["lipsum"]

    def from_string(self, *args: Any, **options: Any) -> Template:
        self.globals["strftime_now"] = STARTED.strftime  # after transformers' own
        return super().from_string(*args, **options)

    def _parse(self, *args: Any) -> nodes.Template:
        parsed: nodes.Template = _Metering().visit(super()._parse(*args))
        return parsed

    def call(__self, __context: Any, __obj: Any, *args: Any, **options: Any) -> Any:
        call = super().call
        owner = getattr(__obj, "__self__", None)
        operands = (owner, *args, *options.values())
        return _metered(__context, lambda: call(__context, __obj, *args, **options), operands)

    def call_filter(
        self,
        name: str,
        value: Any,
        args: Any = None,
        kwargs: Any = None,
        context: Any = None,
        eval_ctx: Any = None,
    ) -> Any:
        call = super().call_filter
        operands = (value, *(args or ()), *(kwargs or {}).values())
        if name in _OWN:
            raise TemplateRuntimeError(f"No filter named {name!r}.")
        if name == "random":
            raise TemplateRuntimeError("its filter random gives another text each time")
        if name == "format":
            _check_format(str(value))
        return _metered(context, lambda: call(name, value, args, kwargs, context), operands)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        compute = self.binop_table[operator]
        if _is_number(left) and _is_number(right):
            if operator in ("*", "**") and _bits(operator, left, right) > _MAX_BITS:
                raise TooMuchWork
            return compute(left, right)
        if operator == "%":
            _check_format(str(left))
        operands = sorted((left, right), key=_is_number) if operator == "*" else ()
        return _metered(context, lambda: compute(left, right), operands)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped:
            _check_format(value.__self__)
        return wrapped


class _Metering(NodeTransformer):
    """Insert the filters below, which take from the work that is left."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        text = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        node.iter = _filtered(node.iter, "_each", [nodes.Const(text)])
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Filter:
        self.generic_visit(node)
        node.args, node.name = [nodes.Const(node.name), *node.args], "_called"
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        return _filtered(self.generic_visit(node), "_made")

    def visit_List(self, node: nodes.List) -> nodes.Filter:
        return _filtered(self.generic_visit(node), "_built")

    visit_Dict: Any = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, "_built") if node.ctx == "load" else node


def _filtered(node: Any, name: str, args: Sequence[nodes.Expr] = ()) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


@pass_context
def _called(context: Any, value: Any, name: str, /, *args: Any, **options: Any) -> Any:
    """Apply another filter."""
    return context.environment.call_filter(name, value, args, options, context)


@pass_context
def _each(context: Any, items: Iterable[Any], text: int, /) -> Iterator[Any]:
    """The items of a loop. `text`: characters that the template writes for each."""
    for item in items:
        context.spend(_STEP + text)
        yield item


@pass_context
def _made(context: Any, value: Any, /) -> Any:
    context.spend(_size(value))
    return value


@pass_context
def _built(context: Any, value: Any, /) -> Any:
    """A new list or mapping. If its items are in it repeatedly, its text grows exponentially."""
    found = [value]
    while found:
        item = found.pop()
        context.spend(_STEP // 4 + _size(item))
        if isinstance(item, list | tuple):
            found += item
        elif isinstance(item, dict):
            found += item.values()
    return value


@pass_context
def _written(context: Any, value: Any) -> str:
    text = str(value)
    context.spend(len(text))
    return text


_OWN: Final = {filter.__name__: filter for filter in (_called, _each, _made, _built)}


def _metered(context: Any, compute: Callable[[], Any], operands: Sequence[Any]) -> Any:
    """The value of an operation whose result is at most the product of two of its operands.

    All operands but the first can be lengths.
    """
    context.spend(_STEP)
    numbers = (abs(value) for value in operands[1:] if type(value) is int)
    sizes = sorted((*map(_size, operands), *numbers))
    if math.prod(sizes[-2:]) > _WORK:
        raise TooMuchWork
    value = compute()
    context.spend(_size(value))
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _size(value: Any) -> int:
    """Characters, or the memory of a sequence in such units."""
    if isinstance(value, str):
        return len(value)
    return 8 * len(value) if isinstance(value, list | tuple | dict) else 1


def _bits(operator: str, left: float, right: float) -> float:
    """Upper bound of the bits of a product or a power of integers."""
    sizes = [value.bit_length() if isinstance(value, int) else 1 for value in (left, right)]
    return sizes[0] * right if operator == "**" else sum(sizes)


def _check_format(text: str) -> None:
    if _WIDE.search(text):
        raise TooMuchWork


def limit_templates() -> None:
    """Let transformers compile chat templates with the limits."""
    module: Any = chat_template_utils
    module.ImmutableSandboxedEnvironment = LimitedEnvironment
