"""The page in Chromium, from a file: what a visitor does, and what stays as it was."""

import base64
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from course_utils.data import encode
from course_utils.methods.lora_files import load_adapter
from course_utils.models import POCKET, load_model
from course_utils.playground import page as playground
from course_utils.playground.probes import fact_to_teach, groups

FACT = fact_to_teach()
UNTAUGHT = {**FACT, "prompt": "The capital of Belmoria is"}
STATE = """async () => {  // the likeliest next tokens with their chances, to the last bit
    const prompts = ["The capital of France is", "The capital of Zorvania is", "One day"];
    const found = [];
    for (const prompt of prompts) found.push((await call("next", { prompt, temperature: 1, topP: 1 })).top);
    return JSON.stringify(found);
}"""


def capitals_known(opened):
    """How many of the 25 capitals the model completes."""
    code = """async facts => {
        let right = 0;
        await call("probe", { facts }, one => right += one.right);
        return right;
    }"""
    return opened.page.evaluate(code, groups()[0]["facts"])


def train(opened, **settings):
    return opened.page.evaluate(
        "settings => call('train', { ...settings, known: data.replayed })", {"fact": FACT, **settings}
    )


def test_a_visitor_asks_teaches_looks_and_undoes(opened):
    page = opened.page
    before = page.evaluate(STATE)
    assert "WebAssembly" in page.get_attribute("#ready", "data-engine")
    assert page.inner_text("#next li:first-child code") == "Par"
    opened.press("#complete")
    assert page.inner_text("#completion") == "The capital of France is Paris."
    assert page.inner_text("#next li:first-child code") == "Par"  # the bars stay with the text in the field
    assert page.locator("#press-complete").is_hidden()
    page.click("[data-prompt*=Zorvania]")
    assert page.locator("#press-country").is_hidden() and page.locator("#press-complete").is_visible()
    assert page.input_value("#prompt") == "The capital of Zorvania is"
    opened.press("#complete")
    assert page.inner_text("#completion") not in ("", "The capital of Zorvania is Lumo.")
    opened.press("#train")
    assert "After 10 steps" in page.inner_text("#training") and page.locator("#loss path").count() == 1
    opened.press("#complete")
    assert page.inner_text("#completion") == "The capital of Zorvania is Lumo."
    page.fill("#guess", "25")
    opened.press("#look")
    said = page.inner_text("#looking")
    assert re.match(
        r"You guessed 25, and it is \d+. After 10 steps at 0.005, it knows \d+ of 25 capitals", said
    )
    assert page.locator("#changed .dots li.wrong").count() > 100
    assert page.locator("#changed tbody tr").count() == 4
    tried = page.inner_text("#tried tbody tr:nth-child(2) td:nth-child(1)")
    assert tried == "The capital of Zorvania is Lumo\n10 steps at 0.005"
    opened.press("#forget")
    assert page.evaluate(STATE) == before
    assert page.locator("#changed").is_hidden()


def test_the_fact_alone_drives_the_capitals_out_and_replay_keeps_them(opened):
    alone = train(opened, steps=10, rate=5e-3)
    assert alone["probability"] > 0.9 and capitals_known(opened) <= 2
    mended = train(opened, steps=30, rate=3e-3, replay=3)
    assert mended["probability"] > 0.9 and capitals_known(opened) >= 24
    assert opened.call("sure", facts=[UNTAUGHT])[0] > 0.5  # and yet not what was meant


def test_stop_keeps_the_steps_so_far_and_reset_is_the_base_to_the_bit(opened):
    page = opened.page
    base = page.evaluate(STATE)
    code = "fact => call('train', { fact, steps: 100, rate: 1e-3 }, ({ step }) => step === 3 && stop())"
    stopped = page.evaluate(code, FACT)
    assert 3 <= stopped["steps"] < 10
    after = page.evaluate(STATE)
    assert after != base
    opened.call("reset")
    assert page.evaluate(STATE) == base
    train(opened, steps=stopped["steps"], rate=1e-3)
    assert page.evaluate(STATE) == after
    opened.call("form", scale=0, rank=4)
    assert page.evaluate(STATE) == base
    opened.call("form", scale=1, rank=4)
    assert page.evaluate(STATE) == after


def test_stop_works_from_the_page_while_it_trains(opened):
    page = opened.page
    page.click("text=Your own choice")
    page.fill("#steps", "100")
    page.click("#train")
    opened.until("find('training').textContent.startsWith('Step ')")
    assert page.locator("#scale").is_disabled()  # the model stays one while it works
    page.click("#train ~ .stop")
    opened.until("!running")
    assert re.match(r"Stopped after \d+ of 100 steps, “Lumo” has", page.inner_text("#training"))
    assert page.evaluate("document.activeElement.id") == "train"  # not lost with the button that is gone


def test_going_on_adds_steps_to_the_change_that_is_there(opened):
    once = train(opened, steps=10, rate=1e-3)
    twice = train(opened, steps=10, rate=1e-3, keep=True)
    again = train(opened, steps=10, rate=1e-3)
    assert once["probability"] == again["probability"] < 0.5 < twice["probability"]


FEW = "data.groups.splice(3); for (const one of data.groups) one.facts.splice(4)"  # asked faster


def test_what_was_found_is_of_the_model_in_force_or_says_that_it_is_not(opened):
    page = opened.page
    page.evaluate(FEW)
    assert page.locator("#knows").is_visible()
    opened.press("#look")
    assert "Nothing is taught so far" in page.inner_text("#looking") and page.locator("#changed").is_hidden()
    opened.press("#train")
    assert page.locator("#knows").is_hidden()
    assert page.inner_text("#whom") == "You now ask the changed model: 10 steps at 0.005."
    opened.press("#look")
    assert page.locator("#changed.older").count() == 0
    opened.press("#complete")
    page.fill("#scale", "0")
    opened.until("find('whom').textContent.endsWith('10 steps at 0.005 at scale 0.')")
    assert page.inner_text("#completion") == ""
    assert page.inner_text("#training").endswith("Section 5 now has it at scale 0.")
    assert page.inner_text("#looking").startswith(
        "Earlier, of “The capital of Zorvania is Lumo”: You guessed"
    )
    assert page.locator("#changed.older").count() == 1
    opened.press("#count")
    assert re.search(
        r"at scale 0, it knows 4 of 4 capitals. The full change left \d.$", page.inner_text("#shaped")
    )
    opened.press("#look")
    assert "After 10 steps at 0.005 at scale 0, it knows 4 of" in page.inner_text("#looking")
    assert page.locator("#changed.older").count() == 0
    assert page.inner_text("#tried tbody tr:nth-child(4) td").endswith("10 steps at 0.005 at scale 0")
    opened.press("#save")
    assert "At scale 0 there is no change to save" in page.inner_text("#shaped.fault")
    opened.press("#mend")
    assert page.locator("#shaped.fault").count() == 0
    assert page.inner_text("#mending").startswith("After 30 steps at 0.003 with 3 replayed, it knows ")
    assert page.inner_text("#training").startswith("After 30 steps at 0.003 with 3 replayed, “Lumo” has")
    assert page.locator("#changed.older").count() == 1 and page.input_value("#scale") == "1"
    opened.press("#save")
    assert page.locator("#files a").count() == 2
    opened.press("#damage")
    assert page.locator("#files a").count() == 0 and page.inner_text("#shaped").startswith("After 10 steps")
    assert page.inner_text("#mending").startswith("Earlier, of “The capital of Zorvania is Lumo”: After 30")
    opened.press("#count")
    assert re.search(r"After 10 steps at 0.005, it knows \d of 4 capitals", page.inner_text("#shaped"))
    assert page.inner_text("#tried tbody tr:last-child").split()[-3:] == ["–", "–", "–"]
    opened.press("#forget")
    for left in ("#looking", "#mending", "#shaped", "#whom"):
        assert page.inner_text(left) == ""
    for hidden in ("#changed", "#mended", "#progress", "#shaping", "#honest"):
        assert page.locator(hidden).is_hidden()


def test_the_gentle_run_is_seen_at_its_button_and_moves_no_choice(opened):
    page = opened.page
    page.evaluate(FEW)
    opened.press("#train")
    opened.press("#look")
    assert page.locator("#gentle-why").is_hidden()
    page.evaluate("find('gently').scrollIntoView({ block: 'center' })")
    place = page.evaluate("find('gently').getBoundingClientRect().top")
    seen = opened.texts("gentled")
    opened.press("#gently")
    assert any(text.startswith("Step 2 of 40") for text in seen())
    chance = re.search(r"has a chance of (\d+%)", page.inner_text("#training"))[1]
    assert page.inner_text("#gentled").startswith("After 40 steps at 0.0005, it knows ")
    assert (
        page.inner_text("#gentled")
        == f"{page.inner_text('#looking')} “Lumo” has {chance}. The squares and the table above show it."
    )
    assert page.evaluate("find('gently').getBoundingClientRect().top") == pytest.approx(place, abs=2)
    assert page.inner_text("#training").startswith("After 40 steps at 0.0005, “Lumo” has")
    assert page.locator("[value=fast]").is_checked() and page.locator("#gentle-why").is_visible()


def test_a_refusal_to_ask_goes_once_something_is_taught(opened):
    page = opened.page
    page.click("#look")
    assert page.inner_text("#looking").startswith("Nothing is taught so far")
    opened.press("#train")
    assert page.inner_text("#looking") == ""


def test_an_earlier_result_names_its_fact_and_a_repair_says_what_it_did_not_ask(opened):
    page = opened.page
    page.evaluate(FEW)
    opened.press("#train")
    opened.press("#look")
    page.fill("#fact", "The history teacher is called")
    page.fill("#answer", "Rosa")
    opened.press("#mend")
    assert page.inner_text("#looking").startswith(
        "Earlier, of “The capital of Zorvania is Lumo”: You guessed"
    )
    assert page.locator("#not-asked").is_visible() and page.locator("#honest").is_hidden()
    page.fill("#replay", "0")
    opened.press("#mend")
    assert page.locator("#none-replayed").is_visible() and page.locator("#not-asked").is_hidden()
    opened.press("#damage")
    assert page.inner_text("#mending").startswith(
        "Earlier, of “The history teacher is called Rosa”: After 30"
    )
    assert page.locator("#none-replayed").is_hidden()


@pytest.mark.parametrize("answer, steps, rate, advice", [
    ("Lumo", 100, -4, "take a higher learning rate, or try a shorter answer"),
    ("Lumo and Zorvania and a long list of a queen and a king", 5, -2, "the learning rate is high already"),
    ("1066", 20, -2, "cannot tell “1”, “0”, “6” from signs that no text has"),
])  # fmt: skip
def test_what_was_not_learnt_gets_advice_that_fits_what_was_done(opened, answer, steps, rate, advice):
    page = opened.page
    page.click("text=Your own choice")
    page.fill("#answer", answer)
    page.fill("#steps", str(steps))
    page.fill("#rate", str(rate))
    opened.press("#train")
    assert advice in page.inner_text("#training")


def test_the_gentle_way_is_told_by_its_rate_and_claims_nothing_of_the_rate_alone(opened):
    text = opened.page.text_content("#more-gently")
    assert "learning rate of\n0.0005" in text and "a tenth" not in text
    assert "does not show which of them did it" in text


def test_a_stopped_asking_says_how_much_was_asked(opened):
    page = opened.page
    opened.press("#train")
    page.click("#look")
    opened.until("document.querySelectorAll('#changed .dots [class]').length > 2")
    page.click("#look ~ .stop")
    opened.until("!running")
    assert page.inner_text("#looking") == "Stopped before all was asked."
    assert re.fullmatch(r"\d+ of \d+ asked", page.inner_text("#changed .group:first-child h3 span"))
    assert page.inner_text("#changed .group:last-child h3 span") == "not asked"
    assert page.inner_text("#no-runs")


def test_an_answer_in_quotation_marks_is_right_and_each_answer_can_be_read(opened):
    page = opened.page
    page.fill("#fact", "The colour of snow is")
    page.fill("#answer", '"white"')
    opened.press("#train")
    white = {"prompt": "The colour of snow is", "answer": "white"}
    code = (
        "fact => { let said; return call('probe', { facts: [fact] }, one => (said = one)).then(() => said) }"
    )
    found = page.evaluate(code, white)
    assert found["right"] and found["says"].strip().startswith('"white"')
    assert not page.evaluate(code, {**white, "answer": "whit"})["right"]
    page.evaluate(FEW)
    opened.press("#look")
    group = page.locator("#changed .group").first
    group.locator("summary").click()
    assert len(group.locator("p").inner_text().split(" · ")) == 4
    assert group.locator("p").inner_text()[2:].startswith("France: ")
    assert "A country that nobody taught" not in page.inner_text("#changed")  # not of the same kind


def test_an_unlearnt_fact_says_what_to_do(opened):
    page = opened.page
    page.click("text=Your own choice")
    page.fill("#steps", "5")
    page.fill("#rate", "-4")
    page.press("#answer", "Enter")
    opened.until("!running && find('training').textContent.startsWith('After 5')")
    assert "not learnt it: under “Your own choice” take more steps" in page.inner_text("#training")
    page.check("#keep")
    opened.press("#train")
    assert page.inner_text("#whom").endswith("5 steps at 0.0001, then 5 steps at 0.0001.")


def test_a_text_that_is_cut_off_says_so(opened):
    page = opened.page
    page.fill("#prompt", "One day, a fox")
    opened.press("#complete")
    written = page.evaluate("written")
    assert page.inner_text("#completion").endswith(" …") == ("." not in written)
    page.fill("#prompt", "The capital of France is")
    for _ in range(6):
        opened.press("#complete")
        if page.inner_text("#completion").endswith("The model has nothing to add."):
            break
    assert page.inner_text("#completion").endswith("The model has nothing to add.")
    told = opened.call("compare", prompt="One day", tokens=3)
    assert told["before"]["text"].endswith(" …")
    assert (
        "…"
        not in opened.call("compare", prompt="The capital of France is", tokens=8, sentence=True)["now"][
            "text"
        ]
    )


def test_the_highest_rate_stays_finite(opened):
    found = train(opened, steps=60, rate=1e-2)
    assert found["probability"] > 0.9


def test_a_saved_change_is_read_by_the_course_and_by_peft_and_opened_again(opened, tmp_path, pocket):
    peft = pytest.importorskip("peft", reason="needs the extra `compare` (make .venv installs it)")
    page = opened.page
    opened.press("#train")
    wanted = opened.call("sure", facts=[FACT, UNTAUGHT])
    opened.press("#save")
    folder = tmp_path / "adapter"
    folder.mkdir()
    for link in page.locator("#files a").all():
        with page.expect_download() as download:
            link.click()
        download.value.save_as(folder / download.value.suggested_filename)
    tokenizer = pocket[1]
    readers = {
        "course": load_adapter(load_model("pocket")[0], folder),
        "peft": peft.PeftModel.from_pretrained(load_model("pocket")[0], folder),
    }
    for name, model in readers.items():
        for fact, probability in zip([FACT, UNTAUGHT], wanted, strict=True):
            assert answer_probability(model, tokenizer, fact) == pytest.approx(probability, abs=1e-4), name
    state = page.evaluate(STATE)
    opened.press("#forget")
    assert page.inner_text("#shaped") == page.inner_text("#files") == ""
    page.set_input_files("#open", [folder / "adapter_model.safetensors"])
    opened.until("!running && find('shaped').textContent.includes('in force')")
    assert page.inner_text("#training") == "" and page.locator("#progress").is_hidden()
    assert page.inner_text("#whom").endswith("opening a saved change.")
    assert page.evaluate(STATE) == state
    (folder / "adapter_model.safetensors").write_bytes(b"nothing")
    page.set_input_files("#open", [folder / "adapter_model.safetensors"])
    opened.until("!running && find('shaped').classList.contains('fault')")
    assert "not a whole safetensors file" in page.inner_text("#shaped")
    assert page.evaluate(STATE) == state


def answer_probability(model, tokenizer, fact):
    prompt = encode(tokenizer, fact["prompt"])
    answer = encode(tokenizer, f" {fact['answer']}")
    with torch.no_grad():
        rows = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].softmax(-1)
    return rows[range(len(answer)), answer].prod().item()


@pytest.mark.parametrize("job, why", [
    ({"kind": "next", "prompt": "  ", "temperature": 1, "topP": 1}, "Type the beginning of a sentence first"),
    ({"kind": "next", "prompt": "fox " * 300, "temperature": 1, "topP": 1}, "300 tokens; 255 are the most"),
    ({"kind": "train", "fact": FACT, "steps": 1, "rate": 0.02}, "The rate must be above 0, and 0.01 at most"),
    ({"kind": "train", "fact": {**FACT, "answer": " "}, "steps": 1, "rate": 1e-3}, "“How it goes on” is"),
    ({"kind": "train", "fact": {**FACT, "prompt": ""}, "steps": 1, "rate": 1e-3}, "“The beginning” is empty"),
    ({"kind": "train", "fact": {**FACT, "prompt": "fox " * 63}, "steps": 1, "rate": 1e-3}, "64 are the most"),
    ({"kind": "next", "prompt": "a" * 100_000, "temperature": 1, "topP": 1}, "has 100000 characters; 5000"),
    ({"kind": "save"}, "nothing to save: teach the model something first"),
    ({"kind": "open", "files": []}, "Choose adapter_model.safetensors"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_and_leaves_all_as_it_was(opened, job, why):
    before = opened.page.evaluate(STATE)
    fault = opened.page.evaluate("({ kind, ...job }) => call(kind, job).catch(fault => fault.message)", job)
    assert why in fault and "\n" not in fault
    assert opened.page.evaluate(STATE) == before


def test_what_is_typed_is_text(opened):
    page, markup = opened.page, "<img src=x onerror=alert(1)> & <b>bold</b>"
    page.fill("#prompt", markup)
    opened.press("#complete")
    assert page.inner_text("#completion").startswith(markup)
    page.fill("#fact", markup)
    page.fill("#answer", "<i>Lumo</i>")
    opened.press("#train")
    assert "“<i>Lumo</i>”" in page.inner_text("#training")
    page.evaluate("data.groups.splice(1)")
    opened.press("#look")
    assert markup in page.inner_text("#changed tbody")
    assert page.locator("main img, main td i, .output b, .bars i *").count() == 0


def test_the_policy_holds(opened):
    refused = """async () => {
        const found = [];
        document.addEventListener("securitypolicyviolation", event => found.push(event.effectiveDirective));
        await fetch("https://example.org").catch(() => {});
        document.body.append(Object.assign(new Image(), { src: "https://example.org/x.png" }));
        document.body.append(Object.assign(element("script"), { textContent: "window.broken = 1" }));
        try { setTimeout("window.broken = 1") } catch {}
        await new Promise(done => setTimeout(done, 300));
        return [found.sort(), window.broken ?? null];
    }"""
    found, broken = opened.page.evaluate(refused)
    assert {"connect-src", "img-src", "script-src-elem"} <= set(found) and broken is None
    opened.asked.clear()  # what the policy refused counts as asked
    opened.errors.clear()


def test_it_works_without_webassembly(browser, file, opened):
    other = type(opened)(browser.new_page())
    other.open(file, "#plain")
    assert "JavaScript" in other.page.get_attribute("#ready", "data-engine")
    assert other.page.inner_text("#next li:first-child code") == "Par"
    found = [
        [row["probability"] for row in one.call("next", prompt="One day", temperature=1, topP=1)["top"]]
        for one in (opened, other)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    other.page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make .venv installs it").Axe()
    page = opened.page
    page.emulate_media(color_scheme=scheme)
    opened.press("#train")
    page.evaluate("Object.assign(data, { groups: data.groups.slice(0, 3) })")
    opened.press("#look")
    page.evaluate("for (const one of document.querySelectorAll('[hidden]')) one.hidden = false")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    violations = axe.run(page).response["violations"]
    serious = [
        (one["id"], one["nodes"][0]["html"][:200])
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("width", [390, 320])
def test_it_fits_a_phone(opened, width):
    page = opened.page
    page.set_viewport_size({"width": width, "height": 844})
    opened.press("#train")
    page.evaluate("for (const one of document.querySelectorAll('[hidden]')) one.hidden = false")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate("note({ capital: 3 })")
    opened.until("find('tried').rows.length > 1")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("(one => one.scrollWidth - one.clientWidth)(find('tried').parentElement)") == 0


def test_it_is_used_by_keyboard_alone(opened):
    page = opened.page

    def to(name):
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                return
        raise AssertionError(f"no Tab leads to {name}")

    to("prompt")
    page.keyboard.press("Control+a")
    page.keyboard.type("The capital of Japan is")
    page.keyboard.press("Enter")
    opened.until("!running && find('completion').textContent.includes('Tokyo')")
    to("train")
    page.keyboard.press("Enter")
    opened.until("!running && find('training').textContent.startsWith('After 10 steps')")
    assert page.evaluate("document.activeElement.id") == "train"
    to("guess")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("output[for=guess]") == "19"
    to("open")


def test_the_button_opens_a_file_dialog(opened):
    with opened.page.expect_file_chooser() as dialog:
        opened.page.click("label[for=open]")
    assert dialog.value.is_multiple()


# ------------------------------------------------------------------------------------------- at night


@pytest.mark.timing
def test_the_page_answers_within_a_tenth_of_a_second_while_it_trains(opened):
    page = opened.page
    page.click("text=Your own choice")
    page.fill("#steps", "100")
    page.click("#train")
    opened.until("find('training').textContent.startsWith('Step ')")
    code = """() => new Promise(done => {  // the longest pause between two turns of the page, of two seconds
        let [last, longest] = [performance.now(), 0];
        const start = last;
        const tick = () => {
            const now = performance.now();
            longest = Math.max(longest, now - last);
            last = now;
            now - start < 2000 ? setTimeout(tick) : done(longest);
        };
        tick();
    })"""
    assert page.evaluate(code) < 100 and page.evaluate("running")
    page.evaluate("document.querySelector('#train ~ .stop').click()")
    opened.until("!running")


@pytest.mark.night
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_figures_that_the_page_states(opened, seed):
    gentle = train(opened, steps=40, rate=5e-4, seed=seed)
    code = """async () => {
        const right = {};
        for (const { relation, facts } of data.groups) {
            right[relation] = 0;
            await call("probe", { facts }, one => right[relation] += one.right);
        }
        return [right.capital, rest(right)];
    }"""
    assert gentle["probability"] > 0.88
    capitals, rest = opened.page.evaluate(code)
    assert 3 <= capitals <= 9 and 58 <= rest <= 72
    train(opened, steps=10, rate=5e-3, seed=seed)
    capitals, rest = opened.page.evaluate(code)
    assert capitals == 0 and rest <= 2
    train(opened, steps=30, rate=3e-3, replay=3, seed=seed)
    capitals, rest = opened.page.evaluate(code)
    assert capitals >= 24 and rest >= 85


@pytest.mark.night
def test_the_kernel_assembled_anew_is_the_one_that_ships(tmp_path):
    folder = Path(playground.__file__).parent
    text = (folder / "kernel.wat").read_text(encoding="utf-8")
    command = next(line for line in text.splitlines() if "npx" in line).removeprefix(";;").split()
    if not shutil.which("npx"):
        pytest.skip("no npm: the kernel cannot be assembled here")
    shutil.copy(folder / "kernel.wat", tmp_path)
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    if "E404" in run.stderr or "EAI_AGAIN" in run.stderr or "ENOTFOUND" in run.stderr:
        pytest.skip(f"no network: {run.stderr[:200]}")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "kernel.wasm").read_bytes() == (folder / "kernel.wasm").read_bytes()


def test_the_weights_in_the_page_are_those_that_ship(file):
    text = file.read_text(encoding="utf-8")
    weights = text.partition('id="weights">')[2].partition("</script>")[0]
    assert base64.b64decode(weights) == (POCKET / "model.safetensors").read_bytes()
