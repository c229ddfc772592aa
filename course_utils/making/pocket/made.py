"""`python -m course_utils.making.pocket.made` writes docs/made.md: how the pocket model was made.

What it read, the loss over tokens of the model and its relatives, and what the small one knew when.
"""

from __future__ import annotations

import base64
import json
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt

from course_utils.home import write_whole
from course_utils.making.pocket.corpus import documents
from course_utils.making.pocket.train import BEGINNINGS, MODEL_SIZES
from course_utils.models import POCKET, SHIPPED_MODELS
from course_utils.ownership import ROOT
from course_utils.plots import SCREEN, alt_text, lines, png
from course_utils.stored_runs import RESULTS
from course_utils.templates import templates
from course_utils.world.tables import all_facts

PAGE, PICTURE = ROOT / "docs" / "made.md", ROOT / "docs" / "images" / "loss-by-tokens.png"
MODEL_FOLDERS = (
    SHIPPED_MODELS["pocket-s"],
    POCKET,
    RESULTS / "pocket-l",
)  # by size; of the large one only the report ships
DOCUMENT_LETTERS = 160  # characters of a document


def reports() -> dict[str, dict]:
    """{name: evaluation.json, and the sizes of config.json} of the models made, the smallest first."""
    return {folder.name: report_of(folder) for folder in MODEL_FOLDERS if folder.exists()}


def report_of(folder: Path) -> dict:
    evaluated, config = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("evaluation", "config")
    )
    embedding = (config["vocab_size"] + config["n_positions"]) * config["n_embd"]
    sizes = {"layers": config["n_layer"], "width": config["n_embd"], "embedding": embedding}
    [size] = [size for size in MODEL_SIZES.values() if size.name == folder.name]
    return evaluated | sizes | {"name": folder.name, "rate": size.lr}


def examples() -> dict[str, str]:
    """{kind: the beginning of the first document of that kind}."""
    first: dict[str, str] = {}
    for document in islice(documents(0), 500):
        first.setdefault(document.kind, " ".join(document.text.split())[:DOCUMENT_LETTERS])
    return first


def loss_by_tokens(found: dict[str, dict]) -> None:
    curves = {
        name: ([row["tokens"] / 1e6 for row in each["curve"]], [row["loss"] for row in each["curve"]])
        for name, each in found.items()
    }
    title = "The loss falls with the tokens read: two sizes, a run each"
    lines(curves, title, "millions of tokens read", "loss of a new batch (nats a token)", logx=True)


def made_page() -> str:
    """The guide's text."""
    found = reports()
    loss_by_tokens(found)
    words = alt_text(plt.gcf())
    plt.close("all")
    small = found[MODEL_SIZES["small"].name]
    return templates.get_template("made.md").render(
        reports=list(found.values()),
        picture=PICTURE.name,
        words=words,
        shares=found[MODEL_SIZES["medium"].name]["corpus"]["shares"],
        examples=examples(),
        facts=len(all_facts()),
        beginnings=BEGINNINGS,
        seen=[row for row in small["curve"] if "said" in row],
    )


def write_made() -> None:
    """Write the guide and its picture."""
    write_whole(PAGE, made_page())
    loss_by_tokens(reports())
    write_whole(PICTURE, base64.b64decode(png(plt.gcf(), 1.5 * SCREEN)))


if __name__ == "__main__":
    write_made()
