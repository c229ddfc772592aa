"""Thin controls over plain functions. A saved notebook keeps their initial text and picture, no state."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"

MAKE_SCRIPT = """
const make = (parent, tag, text = "") => {
  const child = document.createElement(tag);
  child.textContent = text;
  parent.append(child);
  return child;
};
"""

PANEL_STYLE = """
.course-controls {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(19em, 1fr)); gap: 4px 16px; max-width: 60em;
}
.course-controls label { display: flex; align-items: center; gap: 8px; }
.course-controls .wide { grid-column: 1 / -1; }
.course-controls span { min-width: 6em; }
.course-controls input[type=range], .course-controls input[type=text], .course-controls textarea,
.course-controls select { flex: 1; min-width: 0; font: inherit; }
.course-controls input[type=text], .course-controls textarea, .course-controls select {
  color: inherit; background: transparent; border: 1px solid #767676; padding: 3px;
}
.course-controls option { color: black; background: white; }
.course-controls :focus-visible { outline: 2px solid #2F96CC; outline-offset: 1px; }
.course-controls output { min-width: 3.5em; font-variant-numeric: tabular-nums; }
"""

PANEL_SCRIPT = """
function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "course-controls";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Controls");
  box.dataset.lmSuppressShortcuts = "true";  // or JupyterLab would take the keys
  const OWN = /^(Arrow|Page|Home|End)/;  // which the notebook would take all the same
  box.addEventListener("keydown", event => { if (OWN.test(event.key)) event.stopPropagation(); });
  const inputs = {}, updates = {};
  for (const field of model.get("fields")) {
    const label = document.createElement("label"), name = document.createElement("span");
    name.textContent = field.label;
    const tag = { choice: "select", area: "textarea" }[field.kind] || "input";
    const input = document.createElement(tag);
    input.setAttribute("aria-label", field.label);
    label.append(name, input);
    if (tag === "input") input.type = field.kind;
    if (field.kind === "range") {
      [input.min, input.max, input.step] = [field.low, field.high, field.step];
      const shown = document.createElement("output");
      const decimals = (String(field.step).split(".")[1] || "").length;
      label.append(shown);
      updates[field.name] = value => shown.textContent = Number(value).toFixed(decimals);
    }
    if (field.kind === "area") input.rows = 6;
    if (field.kind === "area" || field.kind === "text") label.className = "wide";
    if (field.kind === "text") {
      input.dataset.lmSuppressShortcuts = "true"; // JupyterLab leaves the keys to the field
      input.addEventListener("keydown", event => {
        if (event.key === "Enter") input.dispatchEvent(new Event("change"));
      });
    }
    for (const option of field.options || []) input.add(new Option(option));
    const key = { choice: "selectedIndex", checkbox: "checked" }[field.kind] || "value";
    inputs[field.name] = [input, key];
    input.addEventListener(field.kind === "range" ? "input" : "change", () => {
      const value = field.kind === "range" ? Number(input.value) : input[key];
      updates[field.name]?.(value);
      model.set("values", { ...model.get("values"), [field.name]: value });
      model.save_changes();
    });
    box.append(label);
  }
  const put = () => {
    for (const [name, value] of Object.entries(model.get("values"))) {
      const [input, key] = inputs[name];
      if (input !== document.activeElement || input.type !== "range") input[key] = value;
      updates[name]?.(value);
    }
  };
  const below = document.createElement("div");
  let latest = 0;
  const draw = async () => {
    const mine = ++latest, next = document.createElement("div");
    next.innerHTML = model.get("html");
    // a picture is put in when it is ready, so that nothing flickers
    await Promise.all([...next.querySelectorAll("img")].map(image => image.decode().catch(() => {})));
    if (mine === latest) below.replaceChildren(...next.childNodes);
  };
  model.on("change:values", put);
  model.on("change:html", draw);
  put();
  draw();
  el.append(box, below);
  return () => { model.off("change:values", put); model.off("change:html", draw); };
}
export default { render };
"""


def control(function: Callable[..., dict | None], **values: Any) -> None:
    """Controls for the function's arguments, with what it prints and draws below, updated as they move.

    A value is (low, high) or (low, high, step) for a slider, a sequence or a dict {name: value} for a choice,
    a string for a text field (an area if it has several lines), or a bool for a checkbox. Sliders and choices
    start at the argument's default. A dict of arguments returned by the function moves their controls.
    Without a kernel a reader sees the text and picture of the initial values.
    """

    parameters = inspect.signature(function).parameters
    fields, state = [], {}
    for name, value in values.items():
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        field, state[name] = _field(name, value, default)
        fields.append(field)
    options = {
        name: list(value.values()) if isinstance(value, Mapping) else list(value)
        for name, value in values.items()
        if not isinstance(value, str | bool) and not _is_range(value)
    }

    def shown(state: dict[str, Any], live: bool) -> tuple[str, str, dict]:
        arguments = {
            name: options[name][value] if name in options else _of_kind(value, values[name])
            for name, value in state.items()
        }
        return shown_by(function, arguments, live)

    text, html, moved = shown(state, live=False)
    drawn = state | moved
    view = _panel()(fields=fields, values=drawn, html=html)

    def show(change: dict) -> None:
        nonlocal drawn
        if change["new"] != drawn:  # otherwise the function itself moved a control
            _, html, moved = shown(change["new"], live=True)
            drawn = change["new"] | moved
            view.html, view.values = html, drawn

    view.observe(show, "values")
    publish_view(view, text, html)


def publish_view(view: Any, text: str = "", html: str = "") -> None:
    """Display a widget in all versions of ipywidgets; text and html are for readers without a kernel."""
    from IPython.display import publish_display_data

    static = {kind: value for kind, value in {"text/plain": text, "text/html": html}.items() if value}
    model = {"version_major": 2, "version_minor": 0, "model_id": view.model_id}
    publish_display_data({**static, WIDGET: model})


def _panel() -> type:
    """The controls' widget in JupyterLab: `values` of the fields, and the resulting HTML."""
    import anywidget
    import traitlets

    class Panel(anywidget.AnyWidget):
        _esm, _css = PANEL_SCRIPT, PANEL_STYLE
        fields: traitlets.List = traitlets.List().tag(sync=True)
        values = traitlets.Dict().tag(sync=True)
        html = traitlets.Unicode().tag(sync=True)

    return Panel


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) in (2, 3)
        and all(isinstance(number, int | float) for number in value)
    )


def _of_kind(value: Any, given: Any) -> Any:
    """The browser's value as the argument's type: JavaScript does not distinguish 1 and 1.0."""
    if not _is_range(given):
        return value
    return int(value) if all(isinstance(number, int) for number in given) else float(value)


def _field(name: str, value: Any, default: Any) -> tuple[dict[str, Any], Any]:
    """(the field's description for the page, initial value); for a choice the value is its index."""
    field = {"name": name, "label": name.replace("_", " ")}
    given = default is not inspect.Parameter.empty
    if isinstance(value, bool):
        return field | {"kind": "checkbox"}, value
    if isinstance(value, str):
        return field | {"kind": "area" if "\n" in value else "text"}, value
    if _is_range(value):
        whole = all(isinstance(number, int) for number in value)
        low, high, step = (*value, 1 if whole else (value[1] - value[0]) / 20)[:3]
        return field | {"kind": "range", "low": low, "high": high, "step": step}, default if given else low
    options = list(value.values()) if isinstance(value, Mapping) else list(value)
    return field | {"kind": "choice", "options": [str(each) for each in value]}, (
        options.index(default) if given else 0
    )


def shown_by(
    function: Callable[..., dict | None], arguments: dict[str, Any], live: bool = False
) -> tuple[str, str, dict]:
    """(text, HTML, dict returned) of what the call prints, displays and draws. Errors become text.

    live: pictures are rendered fast.
    """
    import matplotlib.pyplot as plt
    from IPython.utils.capture import capture_output

    from course_utils.plots import figure_html

    before, moved = plt.get_fignums(), None
    with capture_output() as captured:
        try:
            moved = function(**arguments)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    text, parts = captured.stdout.strip(), []
    if text:
        parts.append(_preformatted(text))
    parts += [as_html(output.data) for output in captured.outputs]
    for number in plt.get_fignums():
        if number not in before:
            words, html = figure_html(plt.figure(number), live)
            text = f"{text}\n{words}".strip()
            parts.append(html)
    return text, "".join(parts), moved or {}


def _preformatted(text: str) -> str:
    return f'<div class="jp-RenderedText"><pre style="white-space:pre-wrap">{escape(text)}</pre></div>'


def as_html(data: Mapping[str, Any]) -> str:
    """The HTML of what a cell displays: its own HTML, its picture, or its text."""
    if "text/html" in data:
        return data["text/html"]
    if "image/png" in data:
        png = data["image/png"]
        png = base64.b64encode(png).decode() if isinstance(png, bytes) else png
        return f'<img alt="{escape(data.get("text/plain", ""))}" src="data:image/png;base64,{png}">'
    return _preformatted(data.get("text/plain", ""))
