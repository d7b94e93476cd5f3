"""A chat template's text, and the text that it writes for a conversation. Every error here is a HarnessError."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError, brief
from harness.models.template_date import pinned

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Messages = Sequence[Mapping[str, Any]]
"""[{role, content}, ...]; an assistant's turn with `train: false` is read and not learned."""


class Refused(HarnessError):
    """The chat template cannot write this conversation; it may write others."""


def template_of(tokenizer: "PreTrainedTokenizerFast") -> str:
    """The chat template, its date pinned. HarnessError where there is none."""
    return pinned(raw_template(tokenizer))


def raw_template(tokenizer: "PreTrainedTokenizerFast") -> str:
    """The chat template as the tokenizer has it. HarnessError where there is none."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise HarnessError(
            "the tokenizer has no chat template",
            where=str(tokenizer.name_or_path),
            fix="Name a Jinja file with `chat_template:` beside the model, or use an instruction-tuned model.",
        )
    return str(template)


def render(tokenizer: "PreTrainedTokenizerFast", messages: Messages, *, prompt: bool = False) -> str:
    """The conversation as text; with `prompt`, the begin of the assistant's next turn follows.

    Raises:
        Refused: the template refuses the conversation, or fails on it.
    """
    template = template_of(tokenizer)
    try:
        text = tokenizer.apply_chat_template(
            [dict(m) for m in messages], chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
    except Exception as error:  # a template is a program: it can fail in any way
        raise refusal(tokenizer, error) from None
    return str(text)


def refusal(tokenizer: "PreTrainedTokenizerFast", error: Exception) -> Refused:
    """The template's error as a `Refused`."""
    from jinja2.exceptions import TemplateError, TemplateSyntaxError, UndefinedError

    reason = brief(error)
    if isinstance(error, TemplateSyntaxError):
        return Refused(f"the chat template is no Jinja ({reason})", where=str(tokenizer.name_or_path))
    if not isinstance(error, TemplateError) or isinstance(error, UndefinedError):
        reason = f"{type(error).__name__}: {reason}"
    return Refused(f"the chat template refuses this conversation ({reason})", where=str(tokenizer.name_or_path))
