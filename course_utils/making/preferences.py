"""Remakes data/preferences from the stories in answers.jsonl: `python -m course_utils.making.preferences`.

With --sample, the instruction-tuned pocket model samples new stories first.
"""

import statistics

from course_utils.making.checksums import write_sums
from course_utils.preferences import FOLDER, Preferences, request, write_jsonl, write_preferences
from course_utils.terminal import Parser
from course_utils.world.annotator import (
    ANSWERS,
    DIFFERENT,
    EQUAL,
    MIN_WORDS,
    NOISE,
    PREFERENCES_SEED,
    gold_agreement,
    load_answers,
    longer_share,
    make_preferences,
    neutral_prompts,
    sample_answers,
    word_count,
)
from course_utils.world.gold import gold_score

PREFERENCES_CARD = """\
# Preferences

`answers.jsonl`: {stories:,} stories that the instruction-tuned pocket model told (`artifacts.sft_model`,
quick scale, seed 0, temperature 1, from a training file with other system lines than today's) at those
{requests} requests of `conversations/story_prompts.jsonl` that ask for no sad story and no rude people. Left
out are unfinished ones, those of fewer than {shortest} words, and some that an earlier draw of pairs did not
use.

The other files hold pairs of them, one line a pair, `{{"prompt", "chosen", "rejected"}}`, each a list of chat
messages, as TRL's RewardTrainer and DPOTrainer read them.

| file | pairs | prompts | chosen is the better one by the gold score | chosen is the longer one |
|---|---|---|---|---|
{table}

- The **gold score** (`course_utils/world/gold.py`) likes a good mood, politeness, sentences of the language
  of the stories, no repetition, and a story that stays with those whom the request names. It lies between 0
  and 1 and does not look at length: its correlation with the number of words is {correlation:.2f} over the
  held-out answers. A broken text cannot win it: see `tests/world/test_gold.py`.
- The **annotator** is a program: it prefers the first answer with probability sigmoid((gold of the first -
  gold of the second) / {noise}). So it errs most where two stories are about equally good.
- `train` has a **bias on purpose**: of all labelled pairs, more were kept in which the longer answer was
  chosen. Every label is honest; the choice of pairs is not. A reward model can take length for quality.
  `held_out` has other prompts and no such bias.
- `controlled` holds pairs of equal gold score (at most {equal} apart) whose lengths differ by {different}
  words or more, the longer one as `chosen`: a model without the shortcut prefers it in half of them. It is
  for measuring, not for training.

The stories are a small model's and often make little sense. Nobody's preferences are in them but a program's.

Made by `python -m course_utils.making.preferences` from `answers.jsonl`, which `--sample` draws anew.
Licence: Apache-2.0, like the course.
"""


def preferences_card(preferences: Preferences) -> str:
    """The text of the folder's README."""
    rows = []
    for name, pairs in preferences._asdict().items():
        prompts = len({request(pair.prompt) for pair in pairs})
        gold = "equal" if name == "controlled" else f"{gold_agreement(pairs):.0%}"
        rows.append(f"| {name}.jsonl | {len(pairs)} | {prompts} | {gold} | {longer_share(pairs):.0%} |")
    told = {(request(p.prompt), text) for p in preferences.held_out for text in (p.chosen, p.rejected)}
    golds, lengths = [gold_score(*pair) for pair in told], [float(word_count(text)) for _, text in told]
    requests, answers = load_answers()
    return PREFERENCES_CARD.format(
        stories=sum(map(len, answers)),
        requests=len(requests),
        table="\n".join(rows),
        correlation=statistics.correlation(golds, lengths),
        noise=NOISE,
        equal=EQUAL,
        different=DIFFERENT,
        shortest=MIN_WORDS,
    )


def main(argv: list[str] | None = None) -> None:
    parser = Parser("python -m course_utils.making.preferences", description="Make data/preferences.")
    parser.add_argument(
        "--sample", action="store_true", help="sample new stories; else pair those of answers.jsonl"
    )
    if parser.parse_args(argv).sample:
        from course_utils.artifacts import sft_model
        from course_utils.session import start

        prompts = neutral_prompts()
        told = sample_answers(*sft_model(start("pocket", "quick", 0)), prompts, ANSWERS, PREFERENCES_SEED)
        rows = [{"prompt": p, "answers": texts} for p, texts in zip(prompts, told, strict=True)]
        write_jsonl(FOLDER / "answers.jsonl", rows)
        write_sums()
    preferences = make_preferences(*load_answers())
    write_preferences(preferences, FOLDER)
    (FOLDER / "README.md").write_text(preferences_card(preferences), encoding="utf-8")
    write_sums()
    print(preferences_card(preferences))


if __name__ == "__main__":
    main()
