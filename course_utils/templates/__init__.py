"""The course's HTML pages: jinja2 templates, which escape their values."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined


def _without_halves(value: object) -> object:
    """Replace unpaired surrogates, which no file can hold, by the replacement character."""
    return type(value)(re.sub("[\ud800-\udfff]", "\ufffd", value)) if isinstance(value, str) else value


templates = Environment(
    loader=PackageLoader("course_utils"),
    autoescape=True,
    finalize=_without_halves,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
