"""With this folder on PYTHONPATH, the course's own code sees only the Python names that Windows has.

Libraries keep the others, since their Windows builds differ. A lesson's cells count as the course's code.
"""

import builtins
import importlib.util
import types
from pathlib import Path

_spec = importlib.util.spec_from_file_location("posix_names", Path(__file__).with_name("posix_names.py"))
_names = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_names)
_real_import = builtins.__import__
_seen = {}


class _Without(types.ModuleType):
    """A module without some of its names."""

    def __init__(self, module):
        super().__init__(module.__name__)
        self._module = module

    def __getattr__(self, name):
        if name == "name" and self.__name__ == "os":
            return "nt"
        if name in _names.POSIX[self.__name__]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on this system")
        return getattr(self._module, name)


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    place = globals or {}
    package = (place.get("__package__") or "").partition(".")[0]
    ours = package == "course_utils" or (place.get("__name__") == "__main__" and not package)
    if ours and level == 0:
        if name.partition(".")[0] in _names.MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} on this system")
        if name.partition(".")[0] in _names.POSIX and not (fromlist and "." in name):
            module = _real_import(name, globals, locals, (), 0)
            return _seen.setdefault(module.__name__, _Without(module))
    return _real_import(name, globals, locals, fromlist, level)


builtins.__import__ = _import
