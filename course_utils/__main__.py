"""Entry point of `python -m course_utils`."""

import os
import sys

# `python -m` looks for modules in the current folder first, where a stranger's json.py may be
if not sys.flags.safe_path and sys.path[0] != os.path.dirname(os.path.dirname(os.path.abspath(__file__))):
    del sys.path[0]

try:
    from course_utils.commands.cli import main

    sys.exit(main())
except ModuleNotFoundError as fault:
    if (fault.name or "").startswith("course_utils"):
        raise
    sys.exit(
        f"{sys.executable} has no {fault.name}. Is it the Python of the course's environment? That is "
        ".venv/bin/python (on Windows .venv\\Scripts\\python), and make .venv makes it."
    )
