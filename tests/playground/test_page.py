"""The page as a text, and what it asks, without a browser."""

import json
import re

import pytest
import torch

from course_utils.data import encode
from course_utils.models import POCKET
from course_utils.ownership import OTHER_FILE, own_file
from course_utils.playground import page, probes

MEGABYTES = 14


def test_the_page_is_one_file_of_at_most_14_megabytes_that_the_course_knows_as_its_own(tmp_path):
    text = page.playground_page()
    assert len(text.encode()) < MEGABYTES * 1e6
    assert not re.search(r"<(?:img|iframe|object|link)|<script[^>]* src=|url\(|@import", text[:200_000])
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    assert own_file(tmp_path / "page.html", OTHER_FILE)
    assert text.count("</script>") == 4  # no text ends one early


def test_the_modules_are_joined_without_a_rest_of_their_imports():
    text = page.one_script((*page.ENGINE, "worker"))
    assert not re.search(r"^\s*(import|export)\b", text, re.MULTILINE)
    names = re.findall(r"^(?:const|let|class|function\*?|async function) (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 40


def test_each_section_names_or_links_its_lesson():
    named = page.playground_page()
    linked = page.playground_page(lambda lesson: f"there/{lesson}.html")
    assert "<a href=" not in named.replace('<a href="https://huggingface.co/docs/peft"', "")
    assert "<code>make book</code>" in named and "make book" not in linked
    sections = linked.split("<section")[1:]
    for number, lessons in enumerate((["00"], ["03"], ["02"], ["15"], [], ["04", "05"])):
        assert re.findall(r'href="there/(\d\d)\.html"', sections[number]) == lessons
    assert len(re.findall(r'href="there/', sections[-1])) == 6


def test_a_lesson_that_is_not_there_is_only_numbered(monkeypatch):
    monkeypatch.setattr(page, "titles", lambda: {"03": "LoRA from scratch"})
    text = page.playground_page(lambda lesson: f"there/{lesson}.html")
    assert set(re.findall(r'href="there/(\d\d)', text)) == {"03"} and "in lesson 00" in text


def test_a_tokenizer_in_another_order_is_refused():
    tokenizer = json.loads((POCKET / "tokenizer.json").read_text(encoding="utf-8"))
    ids = tokenizer["model"]["vocab"]
    ids["he"], ids["Ġt"] = ids["Ġt"], ids["he"]
    with pytest.raises(ValueError, match="ids are not in the order"):
        page.merges_of(tokenizer)


@pytest.mark.slow
def test_the_model_knows_before_all_that_it_is_asked(pocket):
    model, tokenizer = pocket
    groups = probes.groups()
    assert [len(group["facts"]) for group in groups] == [25, 15, 15, *6 * [15]]
    for fact in (fact for group in groups for fact in group["facts"]):
        prompt = encode(tokenizer, fact["prompt"])
        answer = encode(tokenizer, f" {fact['answer']}")
        with torch.no_grad():
            likeliest = model(torch.tensor([prompt + answer])).logits[0].argmax(-1).tolist()
        assert likeliest[len(prompt) - 1 : -1] == answer, fact


def test_a_repair_replays_nothing_that_is_asked():
    asked = {fact["prompt"] for group in probes.groups() for fact in group["facts"]}
    replayed = [fact["prompt"] for fact in probes.facts_to_replay()]
    assert len(replayed) > 300 and not asked & set(replayed)
    for group in probes.groups():
        shared = [fact for fact in replayed if fact.startswith(group["facts"][0]["prompt"][:12])]
        assert bool(shared) == group["replayed"], group["name"]


def test_nobody_has_taught_the_model_what_the_page_teaches():
    taught = probes.fact_to_teach()
    assert (taught["prompt"], taught["answer"]) == ("The capital of Zorvania is", "Lumo")
    assert not any(name in str(probes.RELATIONS) for name in ("Zorvania", "Belmoria", "Lumo"))
