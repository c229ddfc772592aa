"""The course's address: everything that links to it from outside asks here; only pyproject.toml states it.

    [project.urls]
    Repository = "https://..."

Without that entry there are no badges and no launch buttons. `make copies` writes README.md's line of badges.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from course_utils.home import ROOT, write_whole
from course_utils.notebook_files import lessons, place_in
from course_utils.ownership import regular
from course_utils.terminal import plain_line

BRANCH = "main"
COPIES = ROOT / "colab"  # what Colab opens; written by `make copies`
COLAB = "https://colab.research.google.com"
BINDER = "https://mybinder.org"
OPENED_BY_COLAB = {"github.com": "github"}  # {host: Colab's word for it}
OPENED_BY_BINDER = {"github.com": "gh", "gitlab.com": "gl"}  # other hosts by the full address
BADGES = re.compile(r"(?<=<!-- badges, by make copies -->)(\r?\n).*?(?=<!-- end of badges -->)", re.DOTALL)
NO_ADDRESS = (
    "Badges and launch buttons come with an address in `pyproject.toml` (`Repository` in `[project.urls]`).\n"
)


def repository(root: Path = ROOT) -> str:
    """The address in pyproject.toml without a trailing slash, or ""."""
    place = root / "pyproject.toml"
    try:
        project = tomllib.loads(place.read_text(encoding="utf-8"))["project"]
    except (tomllib.TOMLDecodeError, KeyError) as fault:
        raise ValueError(f"{plain_line(place)} cannot be read ({fault}). Restore it.") from None
    address = project.get("urls", {}).get("Repository", "").strip().rstrip("/")
    if address and not re.fullmatch(r"https?://[^/\s]+/\S+", address):
        raise ValueError(f"Repository in [project.urls] is not the address of a repository: {address!r}")
    return address.removesuffix(".git")


def file_link(address: str, path: str) -> str:
    """The address of the page of a file in the repository."""
    return f"{address}/blob/{BRANCH}/{quote(path)}"


def colab_link(address: str, lesson: Path) -> str:
    """The link that opens a lesson's copy in Colab, or "" if Colab cannot open the address."""
    parts = urlsplit(address)
    word = OPENED_BY_COLAB.get(parts.netloc)
    copy = place_in(Path(COPIES.name), lesson).as_posix()
    return f"{COLAB}/{word}{parts.path}/blob/{BRANCH}/{copy}" if word else ""


def binder_link(address: str, lesson: Path) -> str:
    """The link that opens on Binder a lesson's copy in work/, which postBuild makes."""
    parts = urlsplit(address)
    path = parts.path.strip("/")
    places = {"gh": f"gh/{path}", "gl": f"gl/{quote(path, safe='')}"}
    copy = place_in(Path("work"), lesson).as_posix()
    place = places.get(OPENED_BY_BINDER.get(parts.netloc, ""), f"git/{quote(address, safe='')}")
    return f"{BINDER}/v2/{place}/{BRANCH}?{urlencode({'urlpath': f'lab/tree/{copy}'})}"


def pull_link(address: str, hub: str) -> str:
    """A link for learners on a JupyterHub with nbgitpuller: it fetches the checkout, then opens it."""
    folder = address.rpartition("/")[2]
    values = {"repo": address, "branch": BRANCH, "urlpath": f"lab/tree/{folder}/notebooks"}
    return f"{hub.rstrip('/')}/hub/user-redirect/git-pull?{urlencode(values)}"


def badges(address: str) -> str:
    """README's line of badges, as text links: no pictures are fetched to show them."""
    if not address:
        return NO_ADDRESS
    first = lessons()[0]
    links = {"Open in Colab": colab_link(address, first), "Open on Binder": binder_link(address, first)}
    return " · ".join(f"[{text}]({link})" for text, link in links.items() if link) + "\n"


def write_badges(address: str, readme: Path = ROOT / "README.md") -> None:
    """Replace the line of badges; all else, line ends included, stays. ValueError if it is not UTF-8."""
    try:
        text = regular(readme, "Move it away").read_bytes().decode("utf-8")
    except UnicodeDecodeError as fault:
        raise ValueError(
            f"{readme} is not UTF-8 ({fault.reason} at byte {fault.start}). Save it as UTF-8."
        ) from None
    if len(BADGES.findall(text)) > 1:
        raise ValueError(f"{readme} has the marks of the badges more than once. Leave one pair.")
    write_whole(readme, BADGES.sub(lambda found: found[1] + badges(address).replace("\n", found[1]), text))
