"""Our instruction tuning against TRL's SFTTrainer: the same loss on the same conversations, step by step."""

import copy

import pytest

from course_utils.chatml import add_chat_tokens
from course_utils.methods import sft

pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing`:FutureWarning")
CONVERSATIONS = [
    [{"role": "user", "content": "Is the cat a mat?"}, {"role": "assistant", "content": "Paris"}],
    [
        {"role": "system", "content": "a mat"},
        {"role": "user", "content": "a cat sat on"},
        {"role": "assistant", "content": "the mat, a helpful cat."},
        {"role": "user", "content": "Question?"},
        {"role": "assistant", "content": "Answer"},
    ],
    [{"role": "user", "content": "the assistant"}, {"role": "assistant", "content": "is on the mat"}],
]


@pytest.fixture
def trainer_losses(tmp_path):
    """losses(model, tokenizer, steps, **settings): what SFTTrainer reports; a batch has all of them."""
    pytest.importorskip("trl")
    import datasets
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()

    def losses(model, tokenizer, steps, **settings):
        config = SFTConfig(
            str(tmp_path),
            max_steps=steps,
            per_device_train_batch_size=len(CONVERSATIONS),
            bf16=False,
            learning_rate=1e-3,
            weight_decay=0.01,
            lr_scheduler_type="cosine",
            warmup_steps=0,
            logging_steps=1,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            max_length=None,
            **settings,
        )
        rows = datasets.Dataset.from_list([{"messages": messages} for messages in CONVERSATIONS])
        trainer = SFTTrainer(model, config, train_dataset=rows, processing_class=tokenizer)
        trainer.train()
        return [row["loss"] for row in trainer.state.log_history if "loss" in row]

    return losses


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("name", ["model", "llama"])
def test_losses_step_by_step(name, everything, request, tokenizer, trainer_losses):
    model = request.getfixturevalue(name)
    add_chat_tokens(model, tokenizer)
    theirs = trainer_losses(
        copy.deepcopy(model), copy.deepcopy(tokenizer), 4, assistant_only_loss=not everything
    )
    history = sft.instruction_tune(
        model, tokenizer, CONVERSATIONS, steps=4, lr=1e-3, batch_size=3, warmup=0.0, everything=everything
    )
    if everything and name == "model":  # transformers also counts GPT-2's first tokens
        tokens = history.rows[0]["tokens"]
        theirs = [loss * (tokens + len(CONVERSATIONS)) / tokens for loss in theirs]
    assert history.column("loss")[1] == pytest.approx(theirs, rel=1e-4)
    assert theirs[3] < theirs[0]
