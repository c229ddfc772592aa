"""The memory calculator of lesson 14's companion: choices change what fits, and the price the cost."""

import re

WIDGET = "widgets.memory_calculator()"
ABOVE = ("COURSE_MODEL", "session = start(", "lesson_14 import")


def test_the_calculator_answers_to_method_card_and_price(open_lesson, tmp_path):
    notebook = open_lesson("more/14")
    for text in (*ABOVE, WIDGET):
        index = notebook.find(text)
        notebook.run(index)
    notebook.cell(index).locator("img").first.wait_for()

    def shown():
        """(fits, GiB used, GiB of the card, hours, cost) below the controls."""
        text = notebook.cell(index).locator(".jp-RenderedText").inner_text()
        memory = re.search(r"trained: (fits|does not fit). ([\d.]+) of (\d+) GiB", text)
        cost = re.search(r"about ([\d.]+) hours, cost ([\d,.]+)", text)
        numbers = [float(number.replace(",", "")) for number in (*memory.groups()[1:], *cost.groups())]
        return memory.group(1) == "fits", *numbers

    def choose(name, value):
        """Choose an option from the list of that name, and wait for the resulting text."""
        before = notebook.cell(index).locator(".jp-RenderedText").inner_text()
        notebook.cell(index).get_by_role("combobox", name=name, exact=True).select_option(value)
        notebook.wait_for_other_text(index, before)

    fits, quantised, card, hours, cost = shown()
    assert fits and card == 24 and quantised < card
    notebook.page.screenshot(path=tmp_path / "qlora.png")
    choose("method", "full")
    fits, full, card, hours, cost = shown()
    assert not fits and full > 8 * quantised
    picture = notebook.cell(index).locator("img").first.get_attribute("src")
    choose("card", "H200")
    fits, same, card, faster, _ = shown()
    assert (fits, card) == (full < 141, 141) and same == full and faster < hours
    assert notebook.cell(index).locator("img").first.get_attribute("src") != picture
    notebook.set_slider(index, "price", ["End"])
    *_, hours, cost = shown()
    assert abs(cost - 10 * hours) <= 10 * 0.05 + 0.01  # hours are rounded to tenths
    notebook.page.screenshot(path=tmp_path / "full.png")
