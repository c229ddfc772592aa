"""The conditions of every test, set before any import and inherited by nbval's kernels."""

import atexit
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter

import pytest
from faults.table import print_table, tabulate  # noqa: F401  tabulate is a fixture

from course_utils.making.notebooks import CONDITIONS

pytest_plugins = ["night"]

if "PYTEST_XDIST_WORKER" not in os.environ:
    for name in [name for name in os.environ if name.startswith("COURSE_") and name != "COURSE_FAULTS"]:
        del os.environ[name]
    _folder = tempfile.mkdtemp(prefix="course-tests-")
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    os.environ.update(
        CONDITIONS | {name: os.environ[name] for name in ("PYTHONHASHSEED",) if name in os.environ},
        COURSE_HOME=os.path.join(_folder, "home"),
        IPYTHONDIR=os.path.join(_folder, "ipython"),
        JUPYTER_CONFIG_DIR=os.path.join(_folder, "jupyter"),
        TOKENIZERS_PARALLELISM="false",
    )


def pytest_addoption(parser):
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the tests of make check in a random order"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Files with long tests come first, so that workers end at about the same time."""
    config.all_items = list(items)
    yield
    if config.getoption("shuffle") is not None:
        random.Random(config.getoption("shuffle")).shuffle(items)
        return
    long = {
        item.path
        for item in items
        if item.path.suffix == ".ipynb" or any(map(item.get_closest_marker, ("slow", "night", "timing")))
    }
    first = ("test_sweeps.py", "test_smoke.py", "test_short_forms.py", "test_trajectories.py")  # the longest
    items.sort(key=lambda item: (item.path not in long, item.path.name not in first))


def pytest_configure(config):
    """Share the cores among the workers; build matplotlib's font cache before a kernel reports it."""
    if hasattr(config, "workerinput"):
        return
    workers = getattr(config.option, "numprocesses", None) or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    if config.getoption("nbval"):
        import matplotlib.font_manager  # noqa: F401


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """The table of the fault trials, and the slowest files by the total time of their tests."""
    print_table(terminalreporter)
    reports = [report for found in terminalreporter.stats.values() for report in found]
    seconds = Counter()
    for report in reports:
        seconds[getattr(report, "nodeid", "").split("::")[0]] += getattr(report, "duration", 0.0)
    if sum(seconds.values()) < 600:
        return
    terminalreporter.section("seconds by file, the slowest 40")
    for path, spent in seconds.most_common(40):
        terminalreporter.write_line(f"{spent:7.0f}  {path}")


@pytest.fixture(autouse=True)
def no_shell_is_left():
    """Remove an IPython shell that a test or a library has made in this process."""
    yield
    if "IPython.core.interactiveshell" in sys.modules:
        from IPython.core.interactiveshell import InteractiveShell

        InteractiveShell.clear_instance()


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all folders of tests: Playwright's sync API starts once in a process."""
    from course_utils.making.chromium import started_browser

    with started_browser() as browser:
        yield browser


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, although background jobs start with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def shell(monkeypatch):
    """An IPython in this process: shell.run_cell runs a notebook's cell."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from course_utils import session

    monkeypatch.setattr(session, "_stopped_cells", {})
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    session.watch_cells()
    return shell


@pytest.fixture
def tokenizer():
    from helpers import tiny_tokenizer

    return tiny_tokenizer()


@pytest.fixture
def model(tokenizer):
    from helpers import tiny_model

    return tiny_model(vocab_size=len(tokenizer))


@pytest.fixture
def displayed(monkeypatch):
    """The bundles that a cell displays, in a separate IPython shell."""
    bundles = []
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    monkeypatch.setattr(shell.display_pub, "publish", lambda data, **_: bundles.append(data))
    return bundles
