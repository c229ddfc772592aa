"""Helper package of the course on fine-tuning language models, rebuilt from scratch on GPT-2."""

import os
import sys

# `python -m course_utils...` looks for modules in the current folder first, where a stranger's json.py may be
_checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path[0] != _checkout:
    del sys.path[0]
