"""A wheel holds the course, too: lessons, data, guides and recipes lie in course_utils/course."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

COURSE = ("notebooks", "data", "docs", "recipes", "README.md", "TUTOR.md", "LICENSE", "pyproject.toml")


class WithCourse(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return
        course = Path(self.build_lib) / "course_utils" / "course"
        shutil.rmtree(course, ignore_errors=True)
        for name in COURSE:
            source, target = Path(name), course / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


setup(cmdclass={"build_py": WithCourse})
