"""Links in texts and lessons: checks those inside the checkout and lists the external ones.

python -m course_utils.making.links            requests every external link (needs a network)
python -m course_utils.making.links --write    rewrites the list, docs/links.txt
"""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from course_utils.home import ROOT, write_whole
from course_utils.notebook_files import lessons, read_notebook
from course_utils.terminal import Parser

LIST = ROOT / "docs" / "links.txt"
TEXTS = ("*.md", "docs/**/*.md", "data/**/*.md", "recipes/*.md", ".github/**/*.md")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
BARE = re.compile(r"https?://[^\s)>\]\"'`\\]+")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
PATIENCE = 20


def texts() -> dict[str, str]:
    """{path in the checkout: Markdown} of all texts and of the lessons' text cells."""
    found = {}
    for path in sorted({path for pattern in TEXTS for path in ROOT.glob(pattern)}):
        found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
    for path in lessons(more=True):
        cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown"]
        found[path.relative_to(ROOT).as_posix()] = "\n\n".join(cells)
    return found


def anchors(text: str, notebook: bool) -> set[str]:
    """The anchors of the headings: in notebooks as JupyterLab makes them, in texts also as GitHub does.

    GitHub's are in lower case and without punctuation.
    """
    found = set()
    for heading in HEADING.findall(CODE.sub(lambda code: code[0].replace("#", ""), text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        found.add(words.replace(" ", "-"))
        if not notebook:
            found.add(re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-"))
    return found


def internal_faults(found: dict[str, str]) -> list[str]:
    """Links whose file or heading does not exist."""
    faults = []
    for name, text in found.items():
        for target in LINK.findall(CODE.sub("", text)):
            if re.match(r"\w+:", target):
                continue
            file, _, heading = target.partition("#")
            path = (ROOT / name).parent / unquote(file) if file else ROOT / name
            place = path.resolve()
            if not place.exists() or not place.is_relative_to(ROOT):
                faults.append(f"{name}: {target} is not there")
            elif heading and unquote(heading) not in anchors(
                found.get(_name(place), ""), place.suffix == ".ipynb"
            ):
                faults.append(f"{name}: {target}: no such heading")
    return faults


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def external(found: dict[str, str]) -> dict[str, list[str]]:
    """{address: the texts that link to it}."""
    named: dict[str, list[str]] = {}
    for name, text in found.items():
        for address in BARE.findall(text):
            named.setdefault(address.rstrip(".,;:"), []).append(name)
    return {address: sorted(set(names)) for address, names in sorted(named.items())}


def listed(named: dict[str, list[str]]) -> str:
    """The text of docs/links.txt."""
    head = "# External links of texts and lessons. Made by python -m course_utils.making.links --write\n"
    return head + "".join(f"{address}  ({', '.join(names)})\n" for address, names in named.items())


def answer(address: str) -> str:
    """The server's answer to a request for the address: "" if the page exists, else the fault."""
    request = urllib.request.Request(address.partition("#")[0], headers={"User-Agent": "Mozilla/5.0"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as page:
            return "" if page.status < 400 else f"status {page.status}"
    except urllib.error.HTTPError as fault:
        return f"status {fault.code}"
    except OSError as fault:
        return str(getattr(fault, "reason", fault))


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser("python -m course_utils.making.links", description="Check links.")
    parser.add_argument("--write", action="store_true", help=f"write {_name(LIST)}, without requests")
    chosen = parser.parse_args(argv)
    found = texts()
    faults = internal_faults(found)
    if chosen.write:
        write_whole(LIST, listed(external(found)))
    else:
        for address in external(found):
            if why := answer(address):
                faults.append(f"{address}: {why}")
    print("\n".join(faults) or "All links lead somewhere.")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
