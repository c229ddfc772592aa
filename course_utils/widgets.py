"""Thin controls over plain functions. A saved notebook keeps their first text and picture, no state."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"


def control(function: Callable[..., None], **values: Any) -> None:
    """Controls for the function's arguments, and below them what it prints and draws.

    A value is (low, high) or (low, high, step) for a slider, a sequence of strings or a dict for a choice, a
    string for a text field, a bool for a box, or an ipywidget. Sliders and choices start at the argument's
    default. Without a kernel a reader sees the text and the picture of the starting values.
    """
    import inspect

    import ipywidgets
    from IPython.display import publish_display_data

    parameters = inspect.signature(function).parameters
    controls = {name: _control(name, value, parameters[name].default) for name, value in values.items()}
    output = ipywidgets.Output()

    def show(*_: Any) -> None:
        output.outputs = outputs_of(function, {name: widget.value for name, widget in controls.items()})

    for widget in controls.values():
        widget.observe(show, names="value")
    show()
    box = ipywidgets.VBox([*controls.values(), output])
    publish_display_data({**static_view(output.outputs), WIDGET: box._repr_mimebundle_()[WIDGET]})


def _control(name: str, value: Any, default: Any) -> Any:
    import inspect

    import ipywidgets

    if isinstance(value, ipywidgets.Widget):
        return value
    start = {} if default is inspect.Parameter.empty else {"value": default}
    common = {"description": name.replace("_", " "), "style": {"description_width": "120px"}}
    if isinstance(value, bool):
        return ipywidgets.Checkbox(value=value, **common)
    if isinstance(value, str):
        return ipywidgets.Text(value=value, continuous_update=False, layout={"width": "600px"}, **common)
    numbers = isinstance(value, tuple) and all(isinstance(number, int | float) for number in value)
    if numbers and len(value) in (2, 3):
        whole = all(isinstance(number, int) for number in value)
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        low, high, step = (*value, 1 if whole else (value[1] - value[0]) / 20)[:3]
        common |= {"continuous_update": False, "layout": {"width": "420px"}}
        return kind(min=low, max=high, step=step, **start, **common)
    options = value if isinstance(value, Mapping) else list(value)
    return ipywidgets.Dropdown(options=options, **start, **common)


def outputs_of(function: Callable[..., None], arguments: dict[str, Any]) -> tuple[dict, ...]:
    """What the call prints, displays and draws, as notebook outputs. An exception becomes a line of text."""
    import matplotlib.pyplot as plt
    from IPython.utils.capture import capture_output

    from course_utils.plots import png

    before = plt.get_fignums()
    with capture_output() as captured:
        try:
            function(**arguments)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    drawn = [number for number in plt.get_fignums() if number not in before]
    pictures = [{"image/png": png(plt.figure(number))} for number in drawn]
    outputs = [
        {"output_type": "display_data", "data": data, "metadata": {}}
        for data in [*(_encoded(output.data) for output in captured.outputs), *pictures]
    ]
    if captured.stdout:
        outputs.insert(0, {"output_type": "stream", "name": "stdout", "text": captured.stdout})
    return tuple(outputs)


def _encoded(data: dict[str, Any]) -> dict[str, Any]:
    return {
        mime: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for mime, value in data.items()
    }


def static_view(outputs: Sequence[dict]) -> dict[str, Any]:
    """One display for a reader without a kernel: the text, and the first picture."""
    text = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    bundle = {"text/plain": text.strip() or "(a picture)"}
    return {**bundle, "image/png": pictures[0]} if pictures else bundle
