"""A template is foreign code: what it may do, and what it may not."""

from __future__ import annotations

import datetime as dt

import pytest

from pensieve_gguf.templates._environment import TemplateFailedError, compile_template


def render(source: str, **variables: object) -> str:
    return compile_template(source, lambda: dt.date(2026, 11, 22)).render(variables)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # Hugging Face's dialect.
        ("{% if true %}\n  a\n{% endif %}\nb", "  a\nb"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("a{% generation %}b{{ 1 }}{% endgeneration %}c", "ab1c"),
        ("{{ strftime_now('%Y-%m-%d %H') }}", "2026-11 00"),
        ("{{ strftime_now('%d %b %Y') }}", "Nov 2026"),
        ("{{ strftime_now('%B %d, %Y') }}", "November 2026"),
        ("{{ strftime_now('%A, %-d %B %Y') }}", "November 2026"),
        ("{{ strftime_now('%F') }}", "2026-11"),
        ("{{ strftime_now('%D') }}", "11 26"),
        ("{{ strftime_now('%Y') }}", "2026"),
        ("{{ {'b': '<ü>\"', 'a': [1, none]} | tojson }}", '{"b": "<ü>\\"", "a": [1, null]}'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 2,\n "b": 1\n}'),
        ("{{ [{'x': 1}] | map(attribute='x') | tojson }}", "[1]"),
        ("{{ '<a>' | safe + '<b>' }}", "<a><b>"),
        ("{{ '-' * 3 }}{{ 2 * '+' }} {{ 2 * 3 }} {{ 2 ** 3 }} {{ 7 % 4 }} {{ 1.5 * 2 }}", "---++ 6 8 3 3.0"),
    ],
)
def test_templates_find_what_they_expect(source: str, text: str) -> None:
    assert render(source) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no') }}",
        "{{ x.y }}",
        "{{ 'a' + 1 }}",
        "{{ 1 / 0 }}",
        "{{ [][1] }}{{ {}['a'].b }}",
        "{{ int('x') }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        # The sandbox.
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% set x = [] %}{{ x.append(1) }}",
        # The bounds.
        "{{ 'a' * 1000000 }}",
        "{{ 1000000 * [0] }}",
        "{{ 9 ** 1000000 }}",
        "{{ '%1000000d' % 1 }}",
        "{{ 'a'.ljust(1000000) }}",
        "{{ 'a' | center(1000000) }}",
        "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
        "{{ lipsum(1000) }}",
        "{% for i in range(99999) %}{{ s }}{% endfor %}",
    ],
)
def test_whatever_goes_wrong_is_one_error(source: str) -> None:
    with pytest.raises(TemplateFailedError):
        render(source, s="x" * 1000)


def test_a_syntax_error_is_found_when_compiling() -> None:
    with pytest.raises(TemplateFailedError, match="TemplateSyntaxError"):
        compile_template("{% if %}", dt.date.today)


def test_each_rendering_has_loops_of_its_own() -> None:
    template = compile_template("{% for i in range(60000) %}{% endfor %}ok", dt.date.today)
    assert [template.render({}), template.render({})] == ["ok", "ok"]
