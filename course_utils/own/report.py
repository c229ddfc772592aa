"""The report and model card of a run on your own data file; figures of its lengths and losses."""

import json
import platform
import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from course_utils import plots
from course_utils.evaluation import wilson_interval
from course_utils.own.own_run import BASE_FOLDER, Plan, Scores
from course_utils.own.verdict import KIND_OF, Fit, Verdict
from course_utils.templates import templates

LABELS = {
    "loss": "loss on held-out answers (nats a token)",
    "other_loss": "loss on other text (nats a token)",
    "same": "answers that are the reference",
    "agrees": "answers that agree with the reference",
    "shared_words": "words shared with the reference (F1)",
    "ended": "answers that end by themselves",
}
RESULTS_FILE = "results.json"
SHARES = ("same", "agrees", "ended")  # shares of the questions asked


def lengths(counts: Sequence[tuple[int, int]], limit: int) -> None:
    """Draw the lengths of the conversations and of their trained parts; counts: (tokens, targets) of each."""
    _, (left, right) = plots.figure(
        "How long the conversations are, and how much of each is trained on", "", "", columns=2
    )
    totals, targets = zip(*counts, strict=True)
    left.hist([min(total, 2 * limit) for total in totals], bins=30, color=plots.COLOURS[0])
    left.axvline(limit, color=plots.COLOURS[1], linestyle="--")
    over = sum(total > limit for total in totals)
    left.set(
        xlabel=f"tokens; {over} beyond the limit of {limit} ({2 * limit} stands for more, too)",
        ylabel="conversations (log scale)",
    )
    right.hist(targets, bins=30, color=plots.COLOURS[2])
    right.set(xlabel="tokens in it that are trained on", ylabel="conversations (log scale)")
    for ax in (left, right):
        ax.set(yscale="log", ylim=(0.7, None))
        ax.yaxis.set_major_formatter("{x:g}")


def loss_curves(sft, preferences=None) -> None:
    """Draw the losses of SFT and, beside them, those of DPO if there are any."""
    stages = {"SFT": (sft, "token"), "DPO": (preferences, "pair")}
    stages = {name: stage for name, stage in stages.items() if stage[0] is not None}
    _, axes = plots.figure("Loss of training, and on what was held out", "", "", columns=len(stages))
    for ax, (name, (history, unit)) in zip([axes] if len(stages) == 1 else axes, stages.items(), strict=True):
        plots.history(history, ax=ax)
        ax.set(xlabel=f"step of {name}", ylabel=f"loss (nats a {unit})")


def picture(draw, *arguments) -> str:
    """The figure drawn by draw(*arguments), as a PNG in base64; the figure is closed."""
    draw(*arguments)
    return plots.png(plots.plt.gcf(), dpi=100)


def number(name: str, value: float | None, asked: int, interval_of: Callable = wilson_interval) -> str:
    """A score as text; a share with its interval, by interval_of(right answers, questions)."""
    if value is None:
        return ""
    if name not in SHARES or not asked:
        return f"{value:.3f}"
    low, high = interval_of(round(value * asked), asked)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def score_rows(stages: dict[str, Scores], interval_of: Callable = wilson_interval) -> list[list[str]]:
    """A row per score: its label, and its value at each stage."""
    asked = len(next(iter(stages.values())).answers)
    return [
        [label, *(number(name, getattr(scores, name), asked, interval_of) for scores in stages.values())]
        for name, label in LABELS.items()
    ]


def score_cells(stages: dict[str, Scores], interval_of) -> list[dict]:
    """The same for show_table; a share as (share, low, high) by interval_of(right answers, questions)."""
    asked = len(next(iter(stages.values())).answers)

    def cell(name, value):
        if name not in SHARES or not asked:
            return value
        return (value, *interval_of(round(value * asked), asked))

    return [
        {"score": label} | {stage: cell(name, getattr(scores, name)) for stage, scores in stages.items()}
        for name, label in LABELS.items()
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: bool = False) -> str:
    """An HTML table; every cell is escaped."""
    kind = "text" if text_columns else "number"
    return templates.get_template("table.html").module.table(head, rows, kind)


def side_by_side(questions, stages: dict[str, Scores], most: int = 12) -> str:
    """An HTML table of questions (from own_run.to_ask), references and the answers at each stage."""
    prompts, references, lines, _ = questions
    rows = []
    for index, (prompt, reference, line) in enumerate(zip(prompts, references, lines, strict=True)):
        said = [scores.answers[index] for scores in stages.values()]
        rows.append([str(line), prompt[-1]["content"], reference, *said])
    return table(["line", "question", "reference", *stages], rows[:most], text_columns=True)


def report_page(
    title: str,
    fit: Fit,
    verdict: Verdict,
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str],
    pictures: dict[str, str],
    questions,
    stages: dict[str, Scores],
    interval_of: Callable = wilson_interval,
) -> str:
    """The report as a self-contained HTML page."""
    return templates.get_template("report.html").render(
        title=title,
        fit=fit,
        verdict=verdict,
        colour=KIND_OF[verdict.word],
        facts=facts,
        notes=notes,
        pictures=pictures,
        asked=len(questions[0]),
        scores=table(["", *stages], score_rows(stages, interval_of)),
        answers=side_by_side(questions, stages, 40),
    )


MODEL_CARD = """\
---
library_name: {library}
base_model: {base_as_json}
tags: [{tags}]
---
# {title}

**{verdict}.** {reason}. {beside}

{fit}

{what} of **{base}**, made with lesson 17 of the course on fine-tuning.
It was tuned on {conversations} conversations{pairs}. `report.html` shows answers before and after.

## Use

```python
{use}
```

{auto}The chat format is ChatML, by the template in the tokenizer. Stop at `<|im_end|>`.

## Evaluation

On {asked} held-out questions; in brackets 95% intervals. {split}

| | {stages} |
|---|{rule}|
{scores}

"Other text" is text that the data has nothing to do with: a rise of its loss is what the model forgot.

## Limits

- It was judged on questions like those of its data, and by comparing words. Whether its answers are true or
  harmless was not measured. Tuning on harmless data can undo refusals (arXiv 2310.03693).
- It does not reliably know what only its tuning data said: see lesson 15.
- The licences of the base model and of the data apply. Fill in yours here before you publish this.

## Training

{settings}
"""

PEFT_USE = """\
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
base = AutoModelForCausalLM.from_pretrained({place!r}, dtype=torch.float32)  # {where}
tokenizer = AutoTokenizer.from_pretrained(folder)
base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
model = PeftModel.from_pretrained(base, folder)"""

# {kind of base: (what the code says of its place, whether AutoPeftModel finds it)}
AUTO = 'AutoPeftModelForCausalLM.from_pretrained(".", dtype=torch.float32)'
BASES = {
    "beside": ("beside the adapter", f"In this folder `{AUTO}` loads both: `base/` is the base model.\n\n"),
    "hub": ("of the hub", f"`{AUTO}` loads both, the base from the hub.\n\n"),
    "folder": (
        "write its folder",
        f"`{AUTO}` does not find the base, whose folder is not published. Write it into adapter_config.json, "
        "as `base_model_name_or_path`.\n\n",
    ),
}

FULL_USE = """\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)"""

ASK_THE_MODEL = """

def encode(text, **options):
    return tokenizer(text, add_special_tokens=False, **options)["input_ids"]

# a question is encoded by itself: a marker such as <|im_end|> that somebody types in it stays ordinary text
question = "Your question"
chat = [{"role": "user", "content": "QUESTION"}]
text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
before, after = text.split("QUESTION")
ids = torch.tensor([encode(before) + encode(question.strip(), split_special_tokens=True) + encode(after)])
said = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=60, do_sample=False,
                      pad_token_id=tokenizer.pad_token_id,
                      eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"))
print(tokenizer.decode(said[0, ids.shape[1]:], skip_special_tokens=True))"""


def as_markdown(text: str) -> str:
    """The text escaped for Markdown, on one line."""
    return re.sub(r"([\\`*_\[\]()#|~<>&!])", r"\\\1", " ".join(text.split()))


def _kind_of_base(base):
    if base == "pocket":
        return "beside"
    return "hub" if base == "gpt2" or re.fullmatch(r"[\w.-]+/[\w.-]+", base) else "folder"


def model_card(
    title: str,
    fit: Fit,
    verdict: Verdict,
    base: str,
    plan: Plan,
    conversations: int,
    pairs: int,
    split: str,
    stages: dict[str, Scores],
    interval_of: Callable = wilson_interval,
) -> str:
    """The model card, README.md: description, use, evaluation and limits.

    split: what the split implies for the scores (FileSplit.note).
    """
    full = plan.method == "full"
    kind = _kind_of_base(base)
    where, auto = BASES[kind]
    peft_use = PEFT_USE.format(place=BASE_FOLDER if kind == "beside" else base, where=where)
    rows = [" | ".join(["", *row, ""]).strip() for row in score_rows(stages, interval_of)]
    settings = {
        "torch": version("torch"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
    }
    shown = {
        name: value for name, value in vars(plan).items() if pairs or not name.startswith(("dpo", "beta"))
    }
    if full:
        shown = {name: value for name, value in shown.items() if name not in ("rank", "alpha")}
    settings = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in shown.items()
    } | settings
    return MODEL_CARD.format(
        title=as_markdown(title),
        verdict=verdict.title,
        reason=as_markdown(verdict.reason),
        beside=verdict.beside,
        fit=fit.words,
        base=as_markdown(base),
        base_as_json=json.dumps(base),
        library="transformers" if full else "peft",
        tags="sft, dpo" if pairs else "sft",
        what="A tuned copy" if full else f"An adapter ({plan.method})",
        conversations=conversations,
        pairs=f" and {pairs} preference pairs" if pairs else "",
        use=(FULL_USE if full else peft_use) + ASK_THE_MODEL,
        auto="" if full else auto,
        asked=len(next(iter(stages.values())).answers),
        split=split,
        stages=" | ".join(stages),
        rule="|".join("---" for _ in stages),
        scores="\n".join(rows),
        settings=", ".join(f"{name} {value}" for name, value in settings.items()) + ".",
    )


def write_report(folder: Path, report: str, card_text: str, verdict: Verdict, results: dict) -> None:
    """Write report.html, README.md and results.json, which has the verdict, into the folder."""
    results = {"verdict": vars(verdict)} | results
    texts = {
        "report.html": report,
        "README.md": card_text,
        RESULTS_FILE: json.dumps(results, indent=1) + "\n",
    }
    for name, text in texts.items():
        (Path(folder) / name).write_text(text, encoding="utf-8")
