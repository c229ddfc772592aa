"""The page in Chromium, from a file: what a visitor does, and what stays as it was."""

import base64
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
    assert "WebAssembly" in page.inner_text("#ready")
    assert page.inner_text("#next li:first-child code") == "Par"
    opened.press("#complete")
    assert page.inner_text("#completion") == "The capital of France is Paris."
    page.click("[data-prompt*=Zorvania]")
    assert page.input_value("#prompt") == "The capital of Zorvania is"
    opened.press("#complete")
    assert page.inner_text("#completion") not in ("", "The capital of Zorvania is Lumo.")
    opened.press("#train")
    assert "After 10 steps" in page.inner_text("#training") and page.locator("#loss path").count() == 1
    opened.press("#complete")
    assert page.inner_text("#completion") == "The capital of Zorvania is Lumo."
    page.fill("#guess", "25")
    opened.press("#look")
    said = page.inner_text("#changed .status")
    assert said.startswith("You guessed 25. After 10 steps at 0.005, it knows ")
    assert page.locator("#changed .dots li.wrong").count() > 100
    assert page.locator("#changed tbody tr").count() == 4
    assert page.inner_text("#tried tbody tr td:nth-child(1)") == "10 steps at 0.005"
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
    page.fill("#fact", "")
    page.fill("#scale", "2")  # with no sentence to show, it says so
    opened.until("find('form').classList.contains('fault')")
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
    page.click("text=my own")
    page.fill("#steps", "100")
    page.click("#train")
    opened.until("find('training').textContent.startsWith('Step 2')")
    page.click("#train ~ .stop")
    opened.until("!running")
    assert "After 100 steps" not in page.inner_text("#training") and "After " in page.inner_text("#training")
    assert page.evaluate("document.activeElement.id") == "train"  # not lost with the button that is gone


def test_going_on_adds_steps_to_the_change_that_is_there(opened):
    once = train(opened, steps=10, rate=1e-3)
    twice = train(opened, steps=10, rate=1e-3, keep=True)
    again = train(opened, steps=10, rate=1e-3)
    assert once["probability"] == again["probability"] < 0.5 < twice["probability"]


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
    page.set_input_files("#open", [folder / "adapter_model.safetensors"])
    opened.until("!running && find('shaped').textContent.includes('in force')")
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
    ({"kind": "train", "fact": {**FACT, "answer": " "}, "steps": 1, "rate": 1e-3}, "Type the beginning"),
    ({"kind": "train", "fact": {**FACT, "prompt": "fox " * 63}, "steps": 1, "rate": 1e-3}, "64 tokens at"),
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
    assert "JavaScript" in other.page.inner_text("#ready")
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
    assert page.evaluate("document.documentElement.scrollWidth") == width


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
    page.click("text=my own")
    page.fill("#steps", "100")
    page.click("#train")
    opened.until("find('training').textContent.startsWith('Step 2')")
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
    page.click("#train ~ .stop")
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
