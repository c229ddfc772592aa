"""The page: all modules, the pocket model and the probes in one file, under a strict policy."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from course_utils.checks.lesson_texts import titles
from course_utils.models import POCKET
from course_utils.playground import probes
from course_utils.templates import templates

MODULES = Path(__file__).parent
ENGINE = (*("tokenizer", "safetensors", "engine", "lora", "gpt2", "training", "generation"), "adapter_files")
CONFIG = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size")
IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
EXPORT = re.compile(r"^export ", re.MULTILINE)


def one_script(modules: tuple[str, ...]) -> str:
    """The JavaScript modules of these names as one script, in this order."""
    texts = [(MODULES / f"{name}.js").read_text(encoding="utf-8") for name in modules]
    return "\n".join(EXPORT.sub("", IMPORT.sub("", text)) for text in texts)


def merges_of(tokenizer: dict) -> str:
    """The merges of a tokenizer.json, a line each. ValueError if its ids do not follow from them."""
    pairs = [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    letters = vocabulary[1:257]  # after <|endoftext|>
    if letters != sorted(letters) or vocabulary[257:] != [pair.replace(" ", "") for pair in pairs]:
        raise ValueError("tokenizer.json: ids are not in the order end of text, bytes, merges.")
    return "\n".join(pairs)


def page_data() -> dict:
    """What the page and the engine read, besides the weights: JSON."""
    config = json.loads((POCKET / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((POCKET / "tokenizer.json").read_text(encoding="utf-8"))
    return {
        "config": {key: config[key] for key in CONFIG},
        "merges": merges_of(tokenizer),
        "kernel": base64.b64encode((MODULES / "kernel.wasm").read_bytes()).decode(),
        "groups": probes.groups(),
        "replayed": probes.facts_to_replay(),
        "taught": probes.fact_to_teach(),
        "untaught": probes.UNTAUGHT,
    }


def playground_page(lesson_link: Callable[[str], str] | None = None) -> str:
    """The page. lesson_link: the address of a lesson by its number; without it, lessons are only named."""
    script = _read("page.js")
    style = _read("page.css")
    return templates.get_template("playground.html").render(
        script=Markup(script),
        style=Markup(style),
        script_hash=_policy_hash(script),
        style_hash=_policy_hash(style),
        engine=Markup(one_script((*ENGINE, "worker"))),
        data=page_data(),
        weights=base64.b64encode((POCKET / "model.safetensors").read_bytes()).decode(),
        titles=titles(),
        link=lesson_link,
    )


def _read(name: str) -> str:
    return (MODULES / name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    """The source of a content security policy that allows this inline text alone."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
