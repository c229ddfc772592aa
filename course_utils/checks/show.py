"""Notes in a notebook: plain text for everybody, a coloured bar beside it where HTML is shown."""

from __future__ import annotations

from html import escape

BOX_COLOURS = {"good": "#0072B2", "bad": "#D55E00", "neutral": "#8C8C8C", "hint": "#009E73"}


def show(
    title: str, *paragraphs: str, code: str = "", kind: str = "neutral", metadata: dict | None = None
) -> None:
    """Display a note, as text/plain and text/html; outside IPython it is printed.

    kind: one of COLOURS. metadata is kept in the output of the saved notebook.
    """
    text = "\n".join([title, *paragraphs, *code.splitlines()])
    try:
        from IPython import get_ipython
        from IPython.display import publish_display_data
    except ImportError:
        return print(text)
    if get_ipython() is None:
        return print(text)
    inner = f"<b>{escape(title)}</b>" + "".join(f"<br>{escape(line)}" for line in paragraphs)
    if code:
        inner += f'<pre style="margin:4px 0 0 0">{escape(code)}</pre>'
    html = (
        f'<div style="border-left:4px solid {BOX_COLOURS[kind]};padding:2px 10px;margin:2px 0">{inner}</div>'
    )
    publish_display_data({"text/plain": text, "text/html": html}, metadata=metadata or {})
