"""The pages that the course writes: jinja2 templates, which escape what they are given."""

import re

from jinja2 import Environment, PackageLoader, StrictUndefined


def _without_halves(value: object) -> object:
    """Halves of surrogate pairs, which no file can hold, as the sign for what cannot be read."""
    return type(value)(re.sub("[\ud800-\udfff]", "\ufffd", value)) if isinstance(value, str) else value


templates = Environment(
    loader=PackageLoader("course_utils"),
    autoescape=True,
    finalize=_without_halves,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
