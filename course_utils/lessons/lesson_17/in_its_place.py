"""What the verdict says of others, judged in the tuned model's place on the same held-out questions."""

from collections.abc import Sequence
from dataclasses import replace

from course_utils.lessons.lesson_17.rewording import beginning_of
from course_utils.methods.sft import Reply
from course_utils.own.own_run import Scores, answer_scores
from course_utils.own.verdict import judge_result, with_caution

INVENTED = "Zubrowitz"


def wrong_names(before: Scores, questions: Sequence[str], references: Sequence[str]) -> Scores:
    """Scores of answers with the right form and one invented name: not one of them is right."""
    said = [Reply(f"{beginning_of(question)} {INVENTED}.", True) for question in questions]
    return replace(before, loss=None, **answer_scores(said, references))


def others_judged(
    references: Sequence[str],
    before: Scores,
    opponents: dict[str, tuple[Scores, Scores]],
    usual: Sequence[str],
) -> list[dict]:
    """Rows of a table: F1, answers that agree, verdict. opponents: {name: (its scores, those by prompt)}."""
    rows = []
    for name, (scores, prompted) in opponents.items():
        said = judge_result(references, before, prompted, scores, usual)
        rows.append(
            {
                "in the tuned model's place": name,
                "F1": scores.shared_words,
                "agree": f"{round(scores.agrees * len(references))} of {len(references)}",
                "verdict": with_caution(said.word, said.caution),
            }
        )
    return rows
