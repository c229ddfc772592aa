"""The learner's code is what trains: the training calls a marked answer in the exercise's cell."""

import matplotlib.pyplot as plt
import pytest

from course_utils.checks.exercises import find
from course_utils.notebook_files import code_cells, lessons, read_notebook

CALLED = [  # (lesson, exercise, text in the cell of the experiment that calls it)
    ("00", "filter_logits", "name: continue_texts("),
    ("00", "append_tokens", "name: continue_texts("),
    ("00m", "attention_head", "experiments.train_on_letters("),
    ("01", "token_losses", "runs_on(token_losses, batch_perplexity"),
    ("01", "batch_perplexity", "runs_on(token_losses, batch_perplexity"),
    ("01", "library_loss", "runs_on(library_loss)"),
    ("02", "accumulated_step", "by_hand(tuned, RATE, update"),
    ("02", "adamw_step", "by_hand(tuned, RATE, update"),
    ("02", "train_step", "by_hand(tuned, RATE, update"),
    ("09", "sft_loss", "= one_skill(sft_loss"),
    ("12", "reinforce_loss", "= reinforce_loss(fast_token"),
    ("06", "quantize", "qlora = quantised()"),
    ("06", "loss_terms", "runs_on(loss_terms"),
    ("05", "save_adapter", "save_adapter(model, library / name)"),
    ("05", "mixed_lora", "together = server("),
    ("05", "stacked_sum", "half = add_up(stacked_sum"),
    ("10", "bradley_terry_loss", "history = fit(mine"),
    ("10", "score", "rated = dict(zip("),
    ("11", "exact_kl", "map(exact_kl, logits"),
    ("11", "rewards_by_token", "held, held_rows = trained("),
    ("11", "mean_sequence_kl", "held, held_rows = trained("),
    ("12", "per_token_rewards", "= train_with(beta=0.1"),
    ("12", "gae", "= train_with(beta=0.1"),
    ("12", "clipped_policy_loss", "= train_with(beta=0.1"),
    ("15", "bm25_scores", "index = Index(documents"),
    ("15", "choose_threshold", "threshold = choose_threshold("),
    ("15m", "contrastive_loss", "embedder, history = drills.train_embedding("),
    ("13", "answer_log_probs", "history = train_dpo("),
    ("13", "dpo_loss", "history = train_dpo("),
    ("14", "choose_setting", "chosen = {method: choose_setting("),
    ("16", "rows_of_process", "shares = []"),
    ("16", "process_loss", "added = sum("),
    ("17", "weighted_overlap", "alike = [(i, j)"),
    ("17", "held_out_rows", "drawn = split.split_rows("),
    ("17", "leak_of", "leaking = leak_of("),
    ("17", "wilson_interval", '"The base on {len('),
    ("18", "pass_at_k", "before = {"),
    ("18", "group_advantages", "history = train_grpo("),
    ("18m", "token_weights", "for weights in [token_weights(mask"),
    ("18", "grpo_loss", "history = train_grpo("),
    ("19", "token_kl", "history = train_distillation("),
    ("19", "distillation_step", "history = train_distillation("),
    ("19", "sampled_loss", "by_samples = copy.deepcopy("),
    ("19m", "later_kl", "runs_on(later_kl"),
]


@pytest.fixture
def smoke(monkeypatch):
    for name, value in {"MODEL": "pocket", "SCALE": "smoke", "SEED": "0"}.items():
        monkeypatch.setenv(f"COURSE_{name}", value)
    yield
    plt.close("all")


def marked_answer(name):
    """(a wrapper of the course's solution, a list that grows with each call)."""
    solution, calls = find(name).reference, []

    def answer(*arguments, **named):
        calls.append(name)
        return solution(*arguments, **named)

    answer.__name__ = name
    return answer, calls


@pytest.mark.night
@pytest.mark.parametrize("lesson", sorted({lesson for lesson, _, _ in CALLED}))
def test_training_calls_what_the_learner_wrote(lesson, smoke, capsys):
    """One run of a lesson with a marked answer to each exercise that an experiment uses."""
    experiments = {name: cell for its, name, cell in CALLED if its == lesson}
    answers = {name: marked_answer(name) for name in experiments}
    namespace, [path], printed = {"__name__": "__main__", "marked_answers": answers}, lessons([lesson]), ""
    for cell in code_cells(read_notebook(path)):
        before, source = {name: len(calls) for name, (_, calls) in answers.items()}, cell.source
        for name in answers:
            if f"check.{name}(" in source:
                source = f"{name} = check.{name}(marked_answers[{name!r}][0])"
        exec(compile(source, f"lesson {lesson}", "exec"), namespace)
        printed += capsys.readouterr().out
        for name in [name for name, experiment in experiments.items() if experiment in source]:
            assert f"your {name}" in printed, name
            assert len(answers[name][1]) > before[name], f"{name} is not called"
            del experiments[name]
        if not experiments:
            break
    assert not experiments, f"no cell of lesson {lesson} has these"
