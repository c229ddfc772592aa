"""Notes in a notebook: plain text everywhere, with a coloured bar beside it where HTML is shown."""

from __future__ import annotations

from html import escape
from typing import Any

from course_utils.widgets import as_html

# green: passed; orange: not yet; blue: help (and an exercise's bar in JupyterLab); the text says it too
BOX_COLOURS = {"good": "#009E73", "bad": "#D55E00", "neutral": "#8C8C8C", "hint": "#0072B2"}

SIGNS = {"good": "✓", "bad": "✗", "neutral": "–"}


def shell() -> Any:
    """The IPython shell that runs this code, or None."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def has_page() -> bool:
    """Whether there is a kernel, and so a page that can show controls."""
    return getattr(shell(), "kernel", None) is not None


def publish_note(
    text: str, html: str, metadata: dict | None = None, display: str = "", update: bool = False
) -> None:
    """Display text/plain and text/html; outside IPython the text is printed.

    metadata is saved with the notebook's output. display: an id by which a later call with update=True
    replaces this output.
    """
    if shell() is None:
        return print(text)
    from IPython.display import publish_display_data

    transient = {"transient": {"display_id": display}} if display else {}
    data = {"text/plain": text, "text/html": html}
    publish_display_data(data, metadata or {}, update=update, **transient)


def note_html(title: str, *paragraphs: str, code: str = "", kind: str = "neutral") -> str:
    """The HTML of a note. kind: one of BOX_COLOURS."""
    sign = f"{sign_html(SIGNS['good'], kind)} " if kind == "good" else ""
    inner = f"{sign}<b>{escape(title)}</b>" + "".join(f"<br>{escape(line)}" for line in paragraphs)
    if code:
        inner += f'<pre style="margin:4px 0 0 0">{escape(code)}</pre>'
    style = f"border-left:4px solid {BOX_COLOURS[kind]};padding:2px 10px;margin:2px 0"
    return f'<div style="{style}">{inner}</div>'


def sign_html(sign: str, kind: str) -> str:
    """A large sign in the colour of its kind (of BOX_COLOURS)."""
    return f'<span style="color:{BOX_COLOURS[kind]};font-size:130%;font-weight:bold">{sign}</span>'


def folded(summary: str, html: str) -> str:
    """HTML that unfolds on a click on the summary, without a kernel."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"


def show(title: str, *paragraphs: str, code: str = "", kind: str = "neutral") -> None:
    """Display a note; outside IPython it is printed. kind: one of BOX_COLOURS."""
    text = "\n".join([title, *paragraphs, *code.splitlines()])
    publish_note(text, note_html(title, *paragraphs, code=code, kind=kind))


def fold_outputs(summary: str, outputs: list) -> None:
    """Show captured outputs (streams as text, IPython's RichOutputs) folded under the summary."""
    texts, blocks = [], []
    for output in outputs:
        data = {"text/plain": output} if isinstance(output, str) else output.data
        texts.append(data.get("text/plain", ""))
        blocks.append(f"<pre>{escape(output)}</pre>" if isinstance(output, str) else as_html(data))
    text = "\n".join([f"{summary}:", *filter(None, texts)])
    publish_note(text, folded(summary, "".join(blocks)))
