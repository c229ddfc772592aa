"""The night's journal: what passed at this state of the course is not run again, and parts end in time.

`python -m course_utils test --night` gives the options. The cells of a notebook stay together, since each
needs those before it.
"""

import time
from pathlib import Path

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("night")
    group.addoption("--journal", type=Path, help="leave out the tests that this file names; add what passes")
    group.addoption("--minutes", type=float, default=float("inf"), help="then start no other test")
    group.addoption("--seeds-of", default="", metavar="LESSONS", help="of the tests of seeds these lessons'")


def pytest_configure(config):
    if config.getoption("journal"):
        config.pluginmanager.register(Night(config), "night_of_tests")


class Night:
    def __init__(self, config):
        self.journal, self.is_worker = config.getoption("journal"), hasattr(config, "workerinput")
        self.plugins = config.pluginmanager
        self.until = time.time() + 60 * config.getoption("minutes")
        self.lessons = config.getoption("seeds_of").split()
        self.failed, self.left = set(), 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        passed = set()
        if self.journal.exists():
            passed.update(self.journal.read_text(encoding="utf-8").splitlines())
        due = [item for item in items if item.nodeid not in passed]
        unfinished = {item.path for item in due if item.path.suffix == ".ipynb"}
        kept = {item for item in items if item.path in unfinished} | {
            item for item in due if self._asked(item)
        }
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]

    def _asked(self, item):
        of_each = ("[{}-", "[{}m-", "lesson_{}")
        parts = [part.format(lesson) for lesson in self.lessons for part in of_each]
        return not item.get_closest_marker("seeds") or any(part in item.nodeid for part in parts)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        if time.time() > self.until:
            self.left += 1
            return True

    def pytest_runtest_logreport(self, report):
        if report.outcome != "passed":
            self.failed.add(report.nodeid)
        if report.failed and not self.is_worker:  # a night is long, and pytest names them at its end
            terminal = self.plugins.get_plugin("terminalreporter")
            terminal.write_line(f"\nFAILED {report.nodeid}")
        if report.when == "teardown" and report.nodeid not in self.failed and not self.is_worker:
            with self.journal.open("a", encoding="utf-8") as file:
                file.write(f"{report.nodeid}\n")

    def pytest_sessionfinish(self, session):
        if self.is_worker:
            session.config.workeroutput["left"] = self.left
        elif self.left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.INTERRUPTED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.left += getattr(node, "workeroutput", {}).get("left", 0)

    def pytest_terminal_summary(self, terminalreporter):
        if self.left:
            terminalreporter.write_line(f"{self.left} tests are left: the same command goes on with them.")
