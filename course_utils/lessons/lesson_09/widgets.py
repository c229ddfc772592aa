"""A chat box."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_utils.methods.chat import fit_context
from course_utils.widgets import publish_view


def _fields(system: str) -> tuple[Any, Any, Any]:
    """The fields for the system line, the user's turn, and the temperature."""
    import ipywidgets

    style = {"description_width": "90px"}
    text = {"continuous_update": False, "style": style, "layout": {"width": "640px"}}
    narrow = {"style": style, "layout": {"width": "160px"}}
    return (
        ipywidgets.Text(system, description="system", **text),
        ipywidgets.Text(description="you", placeholder="a question, then Enter", **text),
        ipywidgets.BoundedFloatText(0.0, min=0.0, max=1.5, step=0.1, description="temperature", **narrow),
    )


def chat_box(model: Any, tokenizer: Any, questions: Sequence[str] = (), fit: Callable = fit_context) -> None:
    """A chat: answers appear as they are generated, and the model reads the conversation so far.

    The questions are asked at once; a reader without a kernel sees their answers. A new system line starts a
    new conversation. fit: shortens a conversation that exceeds the context.
    """
    import ipywidgets

    from course_utils.chatml import SYSTEM
    from course_utils.methods.chat import chat

    messages: list[dict] = []
    turns, (line, field, temperature) = ipywidgets.HTML(), _fields(SYSTEM)
    send, new = (ipywidgets.Button(description=name) for name in ("Send", "New conversation"))

    def restart(*_: Any) -> None:
        messages[:] = [{"role": "system", "content": line.value.strip() or SYSTEM}]
        turns.value = ""

    def ask(*_: Any) -> None:
        text, field.value = field.value.strip(), ""
        if not text:
            return
        answer = ""
        turns.value = _chat_html([*messages, {"role": "user", "content": text}])
        try:
            options = {"temperature": temperature.value, "seed": len(messages), "fit": fit}
            for piece in chat(model, tokenizer, messages, text, **options):
                answer += piece
                turns.value = _chat_html(
                    [*messages, {"role": "user", "content": text}, {"role": "assistant", "content": answer}]
                )
            turns.value = _chat_html(messages)
        except ValueError as error:
            turns.value = _chat_html([*messages, {"role": "error", "content": str(error)}])

    line.observe(restart, names="value")
    field.observe(ask, names="value")
    send.on_click(ask)
    new.on_click(restart)
    restart()
    for question in questions:
        field.value = question
    box = ipywidgets.VBox([line, turns, field, ipywidgets.HBox([temperature, send, new])])
    said = "\n".join(f"{message['role']}: {message['content']}" for message in messages)
    publish_view(box, said)


def _chat_html(messages: Sequence[Mapping[str, str]]) -> str:
    """The turns after the system line, one block each; contents are text, not markup."""
    from html import escape

    blocks = [
        f'<div class="course-{message["role"]}" style="margin: 4px 0; white-space: pre-wrap; '
        f'max-width: 720px"><b>{message["role"]}</b> {escape(message["content"])}</div>'
        for message in messages
        if message["role"] != "system"
    ]
    return f'<div class="course-chat" style="line-height: 1.4">{"".join(blocks)}</div>'
