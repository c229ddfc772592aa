"""The penalty of the bug hunt, and the answer. Read it after the hunt."""

import torch

from course_utils.checks.show import folded, note_html, publish_note


def their_penalty(log_probs_current, log_probs_reference, kl_coeff=0.1, mask=None):
    """Penalty of each generated token, as in somebody's trainer."""
    log_ratio = log_probs_reference - log_probs_current
    return torch.where(mask, kl_coeff * log_ratio, 0.0)


def show_answer(beta_times_kl: float, theirs: float, farther: float) -> None:
    """The hunt's answer, folded.

    beta_times_kl: the exact KL's. theirs: their penalties, summed over each answer, the mean of the batch.
    farther: the KL at the ends of their runs over that of runs without a penalty.
    """
    summary, title = "Write your test first, or open this", "It is 4: the penalty itself has the wrong sign"
    paragraphs = [
        "1 cannot explain the table. A penalty that is too small still holds the policy a little. It "
        "cannot make it leave faster than without one.",
        "Call the penalty yourself, policy first. Sum it over each answer, take the mean, and compare it "
        f"with β times the exact KL, here {beta_times_kl:.2f}. In cases 2 and 3 the two would nearly agree. "
        f"Theirs is {theirs:.2f}: about as large, with the other sign.",
        "They take the reference's log-probability minus the policy's. So each nat away from the reference "
        f"is rewarded. At the end the KL of their runs is {farther:.1f} times that of runs without a "
        "penalty, on the mean of five.",
        "An absolute value or a square would not show it. Test an estimator by its mean, with its sign, "
        "against an exact KL, on two models that differ.",
    ]
    publish_note(
        "\n".join([f"{summary}:", title, *paragraphs]), folded(summary, note_html(title, *paragraphs))
    )
