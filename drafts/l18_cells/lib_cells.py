md(r'''
## In the library

TRL 1.16 has `GRPOTrainer`. Its default is `loss_type="dapo"`, `beta=0` and division by the group's deviation. Its help
names the length bias of `"grpo"`. Here its own loss function gets one batch of our samples, from two groups, and the
log-probabilities of an older policy, so that some ratios are clipped.
''')
code('''
import logging
import tempfile
import warnings

import datasets
import transformers

# on import bitsandbytes reports optional kernels; TRL uses names soon to be dropped
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing` is deprecated", FutureWarning)
datasets.disable_progress_bars()
transformers.utils.logging.disable_progress_bar()
import trl

folder = tempfile.mkdtemp()
LIMIT = task.LIST_TOKENS
''',"library",IGN)
code('''
def their_loss(loss_type, inputs):
    """The loss of TRL's trainer on a batch."""
    config = trl.GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=LIMIT,
        loss_type=loss_type,
        epsilon_high=0.28,
        bf16=False,
        use_cpu=session.device.type == "cpu",
        gradient_checkpointing=False,
        report_to=[],
    )
    trainer = trl.GRPOTrainer(
        copy.deepcopy(model),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list([{"prompt": "Name these:"}]),
    )
    trainer.model.eval()
    with torch.no_grad():
        return trainer._compute_loss(trainer.model, inputs).item()
''',"library")
code('''
prompt = encode_prompts(tokenizer, [row["prompt"]])[0]
written = [task.list_conversation(row)[-1]["content"], "Lima.", "Rome, Oslo.", "Paris, Paris, Paris, Paris."]
ids = [[*tokenizer(text)["input_ids"], tokenizer.convert_tokens_to_ids("<|im_end|>")] for text in written]
examples = [Example([*prompt, *answer], [-100] * len(prompt) + answer) for answer in ids]
batch = {name: value.to(model.device) for name, value in collate(examples, tokenizer.pad_token_id).items()}
mask = answer_mask(batch)
with torch.no_grad():
    log_probs = token_log_probs(model, batch)
    old = token_log_probs(policy, batch)
advantages = group_advantages(torch.tensor([1.0, 0, 0, 0], device=model.device), 4)
cut = len(prompt)
inputs = {
    "prompt_ids": batch["input_ids"][:, :cut],
    "prompt_mask": batch["attention_mask"][:, :cut],
    "completion_ids": batch["input_ids"][:, cut:],
    "completion_mask": batch["attention_mask"][:, cut:],
    "advantages": advantages,
    "old_per_token_logps": old[:, cut - 1 :],
    "num_items_in_batch": mask.sum(),
}
''',"library")
code('''
for loss_type in grpo.LOSS_TYPES:
    ours = grpo_loss(log_probs, old, advantages, token_weights(mask, loss_type, LIMIT), 0.2, 0.28).item()
    theirs = their_loss(loss_type, inputs)
    assert_same(ours, theirs, f"{loss_type}: TRL's loss is ours", tolerance=1e-5 * max(1, abs(ours)))
    print(f"{loss_type}: TRL's loss and ours are the same")
''',"library")
md(r'''
A real run takes a reward function and a data set with a column of answers, which TRL passes on to the function:

```python
def right(completions, answers, **_):
    return [verify(text, wanted) for text, wanted in zip(completions, answers)]

trl.GRPOTrainer(model, reward_funcs=right, args=trl.GRPOConfig(num_generations=8, ...), train_dataset=...)
```
''')
