"""Entry point of `python -m course_utils`."""

import sys

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
