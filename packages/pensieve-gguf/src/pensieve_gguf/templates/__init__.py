"""From a conversation to the text of a prompt, through the model's own chat template.

Pure: knows neither tokens nor llama.cpp. Above: the engine, which tokenises what `ChatTemplate.render` returns. Below:
jinja2, `pensieve_core`, and `pensieve_gguf.parsers` for the marks that models write.
"""

from pensieve_gguf.templates._forms import ArgumentsForm, CallsForm, Form, SystemForm, ToolsForm
from pensieve_gguf.templates._template import CHATML, ChatTemplate, RenderedPrompt

__all__ = [
    "CHATML",
    "ArgumentsForm",
    "CallsForm",
    "ChatTemplate",
    "Form",
    "RenderedPrompt",
    "SystemForm",
    "ToolsForm",
]
