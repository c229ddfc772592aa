"""Controls show what the plain function prints and draws; without a kernel, the first output stays."""

import ipywidgets
import matplotlib.pyplot as plt
import pytest
import torch

from course_utils import plots, widgets
from course_utils.generation import filter_logits
from course_utils.lessons.lesson_00.widgets import sampling
from course_utils.lessons.lesson_02.widgets import learning_rate_picker
from course_utils.lessons.lesson_09.widgets import chat_box
from course_utils.lessons.lesson_11.widgets import gaussian_policies


@pytest.fixture
def panel(displayed, monkeypatch):
    """The panel of the next control, once it is made."""
    made = []
    kind = widgets._panel()
    monkeypatch.setattr(widgets, "_panel", lambda: lambda **state: made.append(kind(**state)) or made[0])
    return made


def move(panel, **values):
    """What the browser sends when controls are moved."""
    [view] = panel
    view.values = view.values | values


def picture(number=2, name="a", loud=False):
    print(f"{name} {number} {'!' if loud else ''}".strip())
    plots.bars({"x": number}, "title", "label")


def test_static_text_and_picture_stand_beside_the_controls(displayed):
    plt.close("all")
    widgets.control(picture, number=(1, 5), name=["a", "b"])
    [bundle] = displayed
    assert bundle["text/plain"] == "a 2\n[picture: title. x: label, 0 to 2.24; x 2.]"
    assert 'alt="title.' in bundle["text/html"] and "data:image/png;base64," in bundle["text/html"]
    assert bundle[widgets.WIDGET]["model_id"]
    assert plt.get_fignums() == []


def test_turning_a_control_calls_the_function(panel):
    widgets.control(picture, number=(1, 5), name={"first": "a", "second": "b"}, loud=False)
    [view] = panel
    assert view.values == {"number": 2, "name": 0, "loud": False}
    move(panel, number=4, name=1, loud=True)
    assert ">b 4 !</pre>" in view.html and 'alt="title. x: label, 0 to 4.48; x 4."' in view.html


def test_kinds_of_controls(displayed, panel):
    seen = []

    def show(whole=3, share=0.5, prompt="", text="", rate=8):
        seen.append((whole, share, prompt, text, rate))
        print(*seen[-1])

    widgets.control(show, whole=(0, 10, 2), share=(0.0, 1.0), prompt="The cat", text="a\nb", rate=[4, 8])
    kinds = [(field["label"], field["kind"]) for field in panel[0].fields]
    names = ("whole", "share", "prompt", "text", "rate")
    assert kinds == list(zip(names, ("range", "range", "text", "area", "choice"), strict=True))
    whole, share, *_ = panel[0].fields
    assert (whole["low"], whole["high"], whole["step"]) == (0, 10, 2)
    assert share["step"] == pytest.approx(0.05)
    assert (
        displayed[0]["text/plain"].startswith("3 0.5 The cat a") and "<img" not in displayed[0]["text/html"]
    )
    move(panel, whole=4, share=1, rate=0)  # JSON knows no 1.0
    assert seen[-1] == (4, 1.0, "The cat", "a\nb", 4) and isinstance(seen[-1][1], float)


def test_an_exception_is_a_line_and_the_control_lives_on(panel):
    def show(x=1):
        print(6 // x)

    widgets.control(show, x=(0, 3))
    move(panel, x=0)
    assert "ZeroDivisionError" in panel[0].html
    move(panel, x=2)
    assert ">3</pre>" in panel[0].html


def test_what_is_printed_is_text_and_not_markup(panel):
    widgets.control(lambda x: print(f"<b>{x}</b> & more"), x=(1, 3))
    assert "&lt;b&gt;1&lt;/b&gt; &amp; more" in panel[0].html


def test_what_the_function_returns_moves_controls_and_calls_it_once(panel):
    calls = []

    def show(low=1, high=2):
        calls.append((low, high))
        return {"high": max(low, high)}

    widgets.control(show, low=(0, 9), high=(0, 9))
    move(panel, low=5)
    assert panel[0].values == {"low": 5, "high": 5} and calls == [(1, 2), (5, 2)]


def test_learning_rates_averages_seeds_and_names_the_best(panel):
    rows = [
        {"lr": lr, "target_loss": loss + shift, "forgetting": lr * 100}
        for lr, loss in ((1e-4, 3.0), (1e-3, 1.0), (1e-2, 2.0))
        for shift in (-0.5, 0.5)
    ]
    learning_rate_picker(rows, 1e-3)
    assert (
        "learning rate 0.001: loss on the task 1.000, forgetting +0.100; lowest loss on the task at 0.001<"
    ) in panel[0].html
    move(panel, learning_rate=2)
    assert "loss on the task 2.000, forgetting +1.000" in panel[0].html


def test_sampling_draws_by_the_rules_it_is_given_and_shows_their_probabilities(monkeypatch, capsys):
    class Tokenizer:
        eos_token_id, model_max_length = 0, 64

        def __call__(self, text, **options):
            return {"input_ids": [1, 2]}

        def decode(self, ids):
            return " ".join(f"t{token}" for token in ids)

    class Model:
        device = "cpu"

        def __call__(self, ids):
            logits = torch.tensor([0.5, 0.3, 0.2, *[1e-6] * 9]).log()
            return type("Output", (), {"logits": logits.expand(1, ids.shape[1], -1)})

    given = []

    def rules(logits, temperature, top_k, top_p):
        given.append((temperature, top_k, top_p))
        return filter_logits(logits, temperature, top_k, top_p)

    drawn = []
    monkeypatch.setattr(plots, "bars", lambda values, title, label: drawn.append((values, title)))
    sampling(Model(), Tokenizer(), rules, "two words", 30, top_k=2)
    text = capsys.readouterr().out
    assert text.startswith("two words[t") and set(text.strip()[10:-1].split()) == {"t0", "t1"}
    assert set(given) == {(1.0, 2, 1.0)}
    values, title = drawn[0]
    assert values["t0"] == pytest.approx(0.625) and values["t1"] == pytest.approx(0.375)
    assert title.startswith("2 tokens")
    sampling(Model(), Tokenizer(), rules, "two words", 3, temperature=0)
    assert drawn[1][0]["t0"] == 1 and drawn[1][1].startswith("1 token ")
    assert capsys.readouterr().out == "two words[t0 t0 t0]\n"


class Parrot:
    """Stands in for chat.chat: repeats the question word by word, and records its arguments."""

    def __init__(self):
        self.seen = []

    def __call__(self, model, tokenizer, messages, text, **sampling):
        self.seen.append([message["content"] for message in messages])
        if text == "too long":
            raise ValueError("this example has 999 tokens")
        for word in text.split():
            yield word + " "
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": text}]


@pytest.fixture
def box(monkeypatch, displayed):
    """(system, turns, field, buttons, parrot, bundles) of a chat box after one question."""
    parrot = Parrot()
    monkeypatch.setattr("course_utils.methods.chat.chat", parrot)
    made = []
    vbox = ipywidgets.VBox
    monkeypatch.setattr(ipywidgets, "VBox", lambda parts: made.extend(parts) or vbox(parts))
    chat_box(None, None, ["Is this a test?"])
    system, turns, field, row = made
    return system, turns, field, row.children[1:], parrot, displayed


def test_the_chat_box_shows_and_saves_the_first_answers(box):
    _, turns, field, _, _, [bundle] = box
    assert bundle["text/plain"].splitlines()[1:] == ["user: Is this a test?", "assistant: Is this a test?"]
    assert turns.value.count("Is this a test?") == 2 and field.value == ""


def test_the_chat_box_streams_and_keeps_the_conversation(box):
    _, turns, field, (send, _), parrot, _ = box
    states = []
    turns.observe(lambda change: states.append(change["new"]), names="value")
    field.value = "one two three"
    assert [sum(f"{word} </div>" in state for state in states) for word in ("one", "two", "three")] == [1] * 3
    assert parrot.seen[1][1:] == ["Is this a test?"] * 2, "the second question comes after the first exchange"
    send.click()
    assert len(parrot.seen) == 2, "nothing is asked without a question"


def test_a_new_conversation_and_a_new_system_line_forget_the_old_one(box):
    system, turns, field, (_, new), parrot, _ = box
    new.click()
    assert turns.value == ""
    field.value = "again"
    system.value = "You are a pirate."
    field.value = "and again"
    assert [len(seen) for seen in parrot.seen] == [1, 1, 1] and parrot.seen[2] == ["You are a pirate."]


def test_markup_and_errors_in_the_chat_box_are_text(box):
    _, turns, field, _, _, _ = box
    field.value = "<b>bold</b> & more"
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in turns.value
    field.value = "too long"
    assert "this example has 999 tokens" in turns.value and "&lt;b&gt;" in turns.value


@pytest.mark.parametrize("distance, width", [(1.0, 1.0), (0.5, 0.9), (2.0, 1.5)])
def test_gaussian_policies_print_the_integrals(capsys, distance, width):
    from torch.distributions import Normal

    x = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    policy, reference = Normal(distance, width).log_prob(x), Normal(0.0, 1.0).log_prob(x)
    mass = policy.exp() * (x[1] - x[0])
    values = (reference - policy).expm1() - (reference - policy)
    mean = (mass * values).sum()
    std = (mass * (values - mean).square()).sum().sqrt()
    gaussian_policies(distance, width, samples=10)
    plt.close("all")
    printed = capsys.readouterr().out
    assert f"KL(policy || reference) {mean:.3f} nats" in printed
    assert f"on paper {std:.3g}\n" in printed


def test_a_narrow_policy_has_no_spread_of_k3(capsys):
    gaussian_policies(0.0, 0.7, samples=10)
    plt.close("all")
    assert "on paper inf\n" in capsys.readouterr().out
