"""Chat templates render as in transformers, and each of them ends soon."""

import resource
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

from sway_gate.backends.passes import rendering, sandbox
from sway_gate.backends.passes.rendering import Refused, Renderer
from sway_gate.backends.passes.sandbox import LimitedEnvironment
from sway_gate.conversation import Conversation, asked
from sway_gate.errors import CannotDecide
from tests.helpers.models import byte_tokenizer

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "What is it?"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Hello \n"},
        {"role": "assistant", "content": "<think>\nwell\n</think>\n\nYes."},
        {"role": "user", "content": "And?"},
    ],
    [
        {"role": "user", "content": [{"type": "text", "text": "Look."}]},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "a23456789", "type": "function",
             "function": {"name": "f", "arguments": {"x": [1, "b"]}}},
        ]},
        {"role": "tool", "name": "f", "tool_call_id": "a23456789", "content": "3"},
    ],
]  # fmt: skip


def templates() -> Iterator[Path]:
    """The chat templates of many models, which trl ships."""
    found = find_spec("trl")
    if found and found.origin:
        yield from sorted((Path(found.origin).parent / "chat_templates").glob("*.jinja"))


def rendered(environment: type, template: str, **fields: Any) -> list[str]:
    """The text or the error of each conversation, compiled in `environment`."""
    compiled = chat_template_utils._compile_jinja_template.__wrapped__
    texts = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_template_utils, "ImmutableSandboxedEnvironment", environment)
        made = compiled(template)
    for conversation in CONVERSATIONS:
        try:
            texts.append(made.render(messages=conversation, bos_token="<s>", **fields))
        except Exception as error:
            texts.append(f"{type(error).__name__}: {error}")
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("path", templates(), ids=lambda path: path.stem)
@pytest.mark.parametrize("tools", [None, [TOOL]], ids=["", "tools"])
def test_templates_of_models_render_as_in_transformers(path: Path, tools: Any) -> None:
    text = path.read_text(encoding="utf-8")
    fields = {"tools": tools, "add_generation_prompt": True}
    ours = rendered(LimitedEnvironment, text, **fields)
    assert ours == rendered(ImmutableSandboxedEnvironment, text, **fields)
    assert any(fragment in "".join(ours) for fragment in ("What is it?", "Error"))


SYNTAX = [
    "{% for a, b in [(1, 2)] %}{{ loop.length }}{{ loop.last }}{{ a ~ b }}{% endfor %}",
    "{% for x in none_such %}{% else %}empty{% endfor %}{{ ({'a': [1, (2,)]}) | tojson }}",
    "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(messages[0].content | upper | trim) }}",
    "{% filter upper %}a{{ 'b' }}{% endfilter %}{% set x | trim %} y {% endset %}{{ x }}",
    "{{ '%s: %d' % ('a', 3) }}{{ '{:>4}'.format(1) }}{{ 'a' * 3 + 'b' }}{{ 2 ** 5 % 7 }}",
    "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}"
    "{% set ns.n = ns.n + 1 %}{% endfor %}"
    "{{ ns.n }}{{ messages | map(attribute='role') | join(', ') }}{{ none }}{{ 1.5 * 2 }}",
    "{{ messages | selectattr('role', 'equalto', 'user') | map('length') | list }}",
    "{{ 1700000000 | string }}{{ -1700000000 | abs }}{{ 1700000000 * 2 - 1.5 }}",
    "{% for x in [1, 2, 3] recursive %}{{ x }}{{ loop([4]) if x < 3 }}{% if x > 1 %}{% break %}"
    "{% endif %}{% endfor %}{{ '%05.1f' | format(2) }}{{ no.such }}",
]


@pytest.mark.parametrize("template", SYNTAX)
def test_the_whole_language_renders_as_in_transformers(template: str) -> None:
    ours = rendered(LimitedEnvironment, template)
    assert ours == rendered(ImmutableSandboxedEnvironment, template)


LOOP = "{% for a in range(100000) %}"
LOOPS = LOOP + "{% for b in range(100000) %}"


def repeated(value: str) -> str:
    return f"{{% set n = namespace(x='aa') %}}{LOOP}{{% set n.x = {value} %}}{{% endfor %}}"


ENDLESS = {
    "a long range": "{% for a in range(10 ** 9) %}{% endfor %}",
    "nested loops": LOOPS + "{% endfor %}{% endfor %}",
    "text in a loop": LOOPS + "x" * 900 + "{% endfor %}{% endfor %}",
    "a loop over a list": "{% set l = range(99999) | list %}{% for a in l %}{% for b in l %}"
    "{% endfor %}{% endfor %}",
    "a long text": "{{ 'a' * 10 ** 10 }}",
    "a long text, reversed": "{{ 10 ** 10 * 'a' }}",
    "a long list": "{{ ([1] * 10 ** 9) | length }}",
    "a huge number": "{{ 10 ** (10 ** 10) }}",
    "squares": "{% set n = namespace(x=3) %}" + LOOP + "{% set n.x = n.x * n.x %}{% endfor %}",
    "padding": "{{ 'a' | center(10000000000) }}",
    "padding by a method": "{{ 'a'.ljust(10000000000) }}",
    "indented lines": "{{ ('a\\n' * 1000000) | indent(1000000) }}",
    "a width in a format": "{{ '%1000000000d' % 1 }}",
    "a width in an argument": "{{ '%*d' % (1000000000, 1) }}",
    "a width in format()": "{{ '{:1000000000}'.format(1) }}",
    "a width in an argument of format()": "{{ '{:{}}'.format(1, 1000000000) }}",
    "a width in the filter": "{{ '%1000000000d' | format(1) }}",
    "a mapped filter": "{{ ['a'] | map('center', 1000000000) | list }}",
    "replacements": "{% set x = 'a' * 10 ** 6 %}{{ x | replace('a', x) | length }}",
    "a joined text": "{% set x = 'a' * 10 ** 6 %}{{ x.join(x) | length }}",
    "doubled texts": repeated("n.x ~ n.x"),
    "added texts": repeated("n.x + n.x"),
    "doubled lists": repeated("[n.x, n.x]"),
    "doubled mappings": repeated("{'a': n.x, 'b': n.x}"),
    "doubling macros": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}"
    "{% endmacro %}{{ m(60) }}",
    "written twice": "{% set x = 'a' * 10 ** 6 %}" + LOOP + "{{ x }}{% endfor %}",
    "blocks": "{% set n = namespace(x=1) %}" + LOOP + "{% block b scoped %}" + LOOP
    + "{% endfor %}{% endblock %}{% endfor %}",
}  # fmt: skip


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_what_needs_too_much_is_one_error(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_WORK", sandbox._WORK // 20)
    with pytest.raises(CannotDecide, match="needs too much time or memory; correct it") as caught:
        renderer(template).text(asked("Hello"))
    assert "\n" not in str(caught.value)


def test_a_template_sees_one_time_in_all_renderings() -> None:
    template = "{{ strftime_now('%d %b %Y %f') }}{{ messages[0].content }}"
    [text] = {renderer(template).text(asked("Hello")) for _ in range(2)}
    shown = text.removesuffix("Hello").rsplit(" ", 1)[0]
    assert datetime.now() - datetime.strptime(shown, "%d %b %Y") < timedelta(days=2)


def test_a_template_that_chooses_at_random_is_refused() -> None:
    template = "{{ [1, 2, 3] | random }}{{ messages[0].content }}"
    with pytest.raises(CannotDecide, match="random gives another text each time"):
        renderer(template).text(asked("Hello"))


def test_a_template_that_adds_a_long_text_is_refused() -> None:
    padded = "{{ messages[0].content }}" + "{{ ' ' * 10 ** %d }}"
    assert len(renderer(padded % 4).text(asked("Hello"))) > 10_000
    with pytest.raises(CannotDecide, match="needs too much"):
        renderer(padded % 6).text(asked("Hello"))


@pytest.mark.slow
@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_what_needs_too_much_ends_soon_and_in_little_memory(template: str) -> None:
    started, before = time.process_time(), peak_bytes()
    with pytest.raises(CannotDecide, match="needs too much"):
        renderer(template).text(asked("Hello"))
    assert time.process_time() - started < 3
    assert peak_bytes() - before < 2**29


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def renderer(template: str) -> Renderer:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return Renderer(tokenizer)


FAILING = {
    "more work by an own filter": "{% for a in [1] | _each(-10 ** 12) %}{% endfor %}",
    "more work by a mapped filter": "{{ [[1]] | map('_each', -1000) | list }}",
    "endless recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "an attribute of Python": "{{ messages.__class__.__mro__ }}",
    "deep nesting": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
}


@pytest.mark.parametrize("template", FAILING.values(), ids=FAILING)
def test_what_the_library_refuses_is_one_error(template: str) -> None:
    with pytest.raises(CannotDecide, match="the chat template fails: ") as caught:
        renderer(template).text(asked("Hello"))
    assert "\n" not in str(caught.value)
    assert ".;" not in str(caught.value)


def test_one_conversation_that_needs_too_much_is_not_tried_as_another() -> None:
    template = "{% if messages[0].content == 'slow' %}" + ENDLESS["nested loops"] + "{% endif %}a"
    assert renderer(template).text(asked("quick")) == "a"
    with pytest.raises(CannotDecide, match="too much time"):
        renderer(template).text(asked("slow"))


def test_each_rendering_has_all_of_the_work() -> None:
    once = renderer(LOOP + "{% endfor %}" + "a")
    assert [once.text(asked("Hello")) for _ in range(4)] == ["a"] * 4


def test_a_conversation_of_the_largest_row_is_rendered() -> None:
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content | trim | replace('\\n', ' ') }}"
        "{{ m.content.split('</think>')[-1].strip() }}{% endfor %}"
    )
    assert len(renderer(template).text(asked("word\n" * 200_000))) > 1_900_000


def test_the_modules_of_the_package_use_the_limits() -> None:
    assert rendering.limit_templates is sandbox.limit_templates
    assert chat_template_utils.ImmutableSandboxedEnvironment is LimitedEnvironment


def test_a_template_that_refuses_one_conversation_is_no_failure() -> None:
    template = "{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}{{ messages }}"
    with pytest.raises(Refused, match="no"):
        renderer(template).text(Conversation(asked("a").messages * 2))
