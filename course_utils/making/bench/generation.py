"""Benchmark rows on sampling and on the plain tuning step."""

import torch

from course_utils.making.bench.timing import row


@row("sampling against generate(): batch 32, 8 + 32 tokens")
def sampling_row():
    return _continuations(do_sample=True)


@row("greedy against generate(): batch 32, 8 + 32 tokens")
def greedy():
    return _continuations(do_sample=False)


@row("tuning step against labels= and AdamW: 16 questions")
def tuning_step():
    from course_utils.data import batches, encode_prompt_completion, load_questions
    from course_utils.models import load_model
    from course_utils.training import accumulated_step, adamw, fast_lm_loss

    model, tokenizer = load_model("pocket")
    examples = [
        encode_prompt_completion(tokenizer, q["prompt"], q["completion"])
        for q in load_questions("tune")[:256]
    ]
    batch = next(batches(examples, 16, 0, tokenizer.pad_token_id))
    mine, theirs = adamw(model, lr=1e-6), torch.optim.AdamW(model.parameters(), lr=1e-6)

    def ours():
        model.zero_grad()
        accumulated_step(model, [batch], fast_lm_loss)
        mine.step()

    def library():
        model.zero_grad()
        model(**batch).loss.backward()
        theirs.step()

    return ours, library


def _continuations(do_sample):
    from course_utils.generation import pad_left, sample_tokens
    from course_utils.models import load_model

    model, _ = load_model("pocket")
    generator = torch.Generator().manual_seed(0)
    rows = [
        torch.randint(1, model.config.vocab_size, (5 + i % 4,), generator=generator).tolist()
        for i in range(32)
    ]
    ids, mask = pad_left(rows, 0)
    sampling = {"do_sample": True, "top_k": 0} if do_sample else {"do_sample": False}

    def ours():
        sample_tokens(model, ids, mask, max_new_tokens=32, temperature=float(do_sample))

    def library():
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=32,
            eos_token_id=None,
            pad_token_id=0,
            **sampling,
        )

    return ours, library
