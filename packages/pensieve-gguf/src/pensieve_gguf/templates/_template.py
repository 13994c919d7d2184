"""The way from a request to its prompt.

A `ChatTemplate` is made once per model: it compiles the model's template, finds the form that it wants, and replaces it
with ChatML when there is none that works. Rendering never fails because of a template: one that refuses this very
conversation gets it in plainer forms, and at last ChatML renders it.

    render ─▶ the template, in its form ─▶ … in the plain form ─▶ ChatML

Above: the engine tokenises the text. Below: `_messages` (forms), `_environment` (Jinja), `_probes` (which form).
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import Final

import attrs

from pensieve_core import GenerationRequest, Role, TextPart, Thinking
from pensieve_gguf.parsers import Dialect, dialect_of, think_tags
from pensieve_gguf.templates._environment import CompiledTemplate, TemplateFailedError, Today, compile_template
from pensieve_gguf.templates._forms import PLAIN_FORM, Form, ToolsForm
from pensieve_gguf.templates._marks import locate_head, locate_marks
from pensieve_gguf.templates._messages import Conversation, converse, with_system_words
from pensieve_gguf.templates._probes import calls_are_words, suitable_form
from pensieve_gguf.templates._thinking import thinking_variables, thinking_words

__all__ = ["CHATML", "ChatTemplate", "RenderedPrompt"]

CHATML: Final = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""
"""The template of those that have none: what most models have seen at least once."""

_CHATML_FORM: Final = Form(tools=ToolsForm.HERMES)
_CHATML_END: Final = "<|im_end|>"

_REASONING_KEYS: Final = {Dialect.HARMONY: "thinking"}
"""Where a template has a word of its own for it."""

_SEAM: Final = "\ue0c1\ue0c5\ue0c1"
"""Stands for a moment where the model is to go on; private-use characters, which nobody sends."""


@attrs.frozen(kw_only=True)
class RenderedPrompt:
    """A prompt as text."""

    text: str
    """Special tokens are spelled out, the first one (BOS) included where the template writes it."""
    marks: tuple[int, ...] = ()
    """Offsets in characters, ascending, up to which the client expects the prompt to come again; best effort."""
    head: int = 0
    """The offset of the last mark among tools and system text; 0: there is none."""
    continues_assistant: bool = False
    """The prompt ends within an answer, which the model goes on with."""
    opens_thinking: bool = False
    """The prompt ends within a block of reasoning."""
    stops: tuple[str, ...] = ()
    """Texts that end the turn without being tokens of this model: not empty when ChatML stood in for its template."""
    in_form: bool = True
    """The template took the conversation in the form that it wants, not in a plainer one."""


@attrs.frozen(kw_only=True)
class _Way:
    """One way of rendering: a template and the form for it."""

    template: CompiledTemplate
    form: Form
    stops: tuple[str, ...] = ()


class ChatTemplate:
    """A model's chat template, and what it takes to make it render any conversation.

    Args:
        source: The Jinja source from the GGUF; empty when it has none.
        bos_token: The text of the model's BOS token; likewise `eos_token`.
        architecture: For the note only.
        today: What day it is, for templates that ask.
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str,
        eos_token: str,
        architecture: str = "",
        today: Today = dt.date.today,
    ) -> None:
        self._wording = source
        """The model's template, used or not: what it says of reasoning."""
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        self._chatml = _Way(template=compile_template(CHATML, today), form=_CHATML_FORM, stops=(_CHATML_END,))
        try:
            self._own = self._own_ways(source, today)
            self.note = ""
            """Why the model's own template is not used; empty when it is."""
        except TemplateFailedError as exc:
            self._own = ()
            self.note = f"the chat template of this {architecture or 'unknown'} model is not used: {exc}"
        self.source = source if self._own else CHATML
        """What prompts are made of, and what the output parser should expect: the model's template, or ChatML."""
        self.form = (*self._own, self._chatml)[0].form
        """What this template was found to want."""

    @functools.cached_property
    def takes_calls_as_words(self) -> bool:
        """What the model said in a turn with calls can stand in the prompt as that turn's text."""
        way = (*self._own, self._chatml)[0]
        return calls_are_words(lambda conversation: way.template.render(self._variables(conversation)), way.form)

    @property
    def takes_words(self) -> bool:
        """What the model said in an answer can stand in the prompt as that turn's text: not where it has channels."""
        return dialect_of(self.source) is not Dialect.HARMONY

    @property
    def renders_tools(self) -> bool:
        """The template presents tools itself; otherwise they are described in the system text."""
        return self.form.tools is ToolsForm.NATIVE

    def render(self, request: GenerationRequest) -> RenderedPrompt:
        """Return the prompt for `request`: equal requests give equal bytes.

        A last turn of the assistant is continued: the prompt ends where its text ends.

        Raises:
            RequestRefusedError: the conversation holds an image.
        """
        prefill = _prefill(request)
        way, text = self._first_that_works(request, prefill)
        return RenderedPrompt(
            text=text,
            marks=locate_marks(request, text),
            head=locate_head(request, text),
            continues_assistant=prefill is not None,
            opens_thinking=self._opens_thinking(text, prefill),
            stops=way.stops,
            in_form=way.form is self.form,
        )

    def _first_that_works(self, request: GenerationRequest, prefill: str | None) -> tuple[_Way, str]:
        for way in self._own:
            try:
                return way, self._rendered(way, request, prefill)
            except TemplateFailedError:
                continue
        return self._chatml, self._rendered(self._chatml, request, prefill)

    def _own_ways(self, source: str, today: Today) -> tuple[_Way, ...]:
        """Return the ways of the model's own template, the best first.

        Raises:
            TemplateFailedError: it has none, it does not compile, or it loses what it is given.
        """
        if not source.strip():
            reason = "there is none"
            raise TemplateFailedError(reason)
        template = compile_template(source, today)
        form = suitable_form(lambda conversation: template.render(self._variables(conversation)), source)
        if form is None:
            reason = "it loses parts of the conversation"
            raise TemplateFailedError(reason)
        form = attrs.evolve(form, reasoning_key=_REASONING_KEYS.get(dialect_of(source), form.reasoning_key))
        plainer = (attrs.evolve(form, system=PLAIN_FORM.system, alternating=True), PLAIN_FORM)
        return tuple(_Way(template=template, form=form) for form in dict.fromkeys((form, *plainer)))

    def _rendered(self, way: _Way, request: GenerationRequest, prefill: str | None) -> str:
        conversation = converse(request, way.form)
        conversation = with_system_words(conversation, thinking_words(self._wording, request.thinking))
        variables = self._variables(conversation, request.thinking)
        if prefill is None:
            return way.template.render({**variables, "add_generation_prompt": True})
        *before, last = conversation.messages
        last = {**last, "content": f"{last['content']}{_SEAM}"}
        text, seam, _ = way.template.render({**variables, "messages": [*before, last]}).rpartition(_SEAM)
        if not seam:
            reason = "the end of the conversation was lost"
            raise TemplateFailedError(reason)
        return text

    def _variables(self, conversation: Conversation, thinking: Thinking | None = None) -> dict[str, object]:
        # Without tools the name stays undefined: some templates loop over it unasked, which None does not allow.
        tools = {"tools": list(conversation.tools)} if conversation.tools else {}
        return {
            "messages": list(conversation.messages),
            "add_generation_prompt": False,
            **thinking_variables(self._wording, thinking or Thinking()),
            **self._tokens,
            **tools,
        }

    def _opens_thinking(self, text: str, prefill: str | None) -> bool:
        tags = think_tags(self.source)
        if prefill is None:
            return text.rstrip().endswith(tuple(tags))
        return any(prefill.rfind(opener) > prefill.rfind(closer) for opener, closer in tags.items())


def _prefill(request: GenerationRequest) -> str | None:
    """Return the text of the answer that the request has begun; None when the model is to begin it.

    A last turn that ends with a call has no end to go on from: the model begins anew.
    """
    last = request.turns[-1] if request.turns else None
    if last is None or last.role is not Role.ASSISTANT or not last.parts:
        return None
    part = last.parts[-1]
    return part.text if isinstance(part, TextPart) and part.text else None
