"""Generating, retrieving, judging: the evaluations of stored runs."""

import torch

from course_utils import evaluation
from course_utils.data import (
    batches,
    encode_prompt_completion,
    encode_text,
    load_questions,
    load_source_texts,
)
from course_utils.generation import filter_logits, generate, sample_from, sample_rows
from course_utils.lessons.lesson_15 import drills, knowledge, libraries
from course_utils.making.trajectories.pieces import chat_start, every, moved, replayed, weights
from course_utils.making.trajectories.stored import digest, trajectory
from course_utils.methods import distributed, retrieval, sft
from course_utils.models import load_model
from course_utils.own.own_run import shared_words
from course_utils.training import lm_loss
from course_utils.world import annotator, gold, lists, manners


@trajectory("greedy", generate, evaluation.answer_questions)
def _greedy():
    model, tokenizer = load_model("pocket")
    questions = every(load_questions("held_out"), 24)
    answers = evaluation.answer_questions(model, tokenizer, questions, max_new_tokens=10)
    texts = generate(model, tokenizer, ["Once upon a time", "The"], max_new_tokens=12, stop=("eos", "\n"))
    scores = evaluation.score_answers(answers, questions)
    exact = {"asked": [row["prompt"] for row in questions], "answers": answers, "texts": texts}
    return {"exact": exact | {"right": scores[0], "by relation": scores[1]}, "close": {}}


@trajectory("sampling", sample_rows)
def _sampling():
    model, tokenizer = load_model("pocket")
    questions = every(load_questions("tune"), 6)
    prompts = [tokenizer(row["prompt"])["input_ids"] for row in questions]
    answers = {
        tuple(prompt): [tokenizer(row["completion"])["input_ids"] + [tokenizer.eos_token_id]]
        for prompt, row in zip(prompts, questions, strict=True)
    }
    options = {"batch_size": 4, "seed": 0, "max_new_tokens": 8, "stop_ids": [tokenizer.eos_token_id]}
    close = {}
    for name, rules in {
        "plain": {},
        "cool": {"temperature": 0.7},
        "top k": {"top_k": 2000},
        "top p": {"top_p": 0.999},
    }.items():
        with replayed(answers) as replay:
            rows = sample_rows(model, prompts, tokenizer.pad_token_id, **options, **rules)
        close[name] = [max(value, -1e3) for value in replay.log_probs]
    logits = torch.arange(12.0).view(2, 6) % 5 / 3
    kept = filter_logits(logits, 0.8, 4, 0.9).softmax(-1)
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_from(torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 4), generator).tolist() for _ in range(4)]
    exact = {"rows": rows, "asked": replay.asked, "drawn": drawn}
    return {"exact": exact, "close": close | {"filtered": kept.flatten().tolist()}}


@trajectory("replies", sft.replies, sft.answered)
def _replies():
    model, tokenizer = chat_start()
    questions = sft.asked("tune")[::41][:12]
    conversations = [sft.as_conversation(row) for row in questions]
    sft.instruction_tune(model, tokenizer, conversations, steps=10, lr=1e-3, batch_size=12)
    said = sft.replies(model, tokenizer, [messages[:1] for messages in conversations], max_new_tokens=16)
    exact = {"asked": [digest(messages[:1]) for messages in conversations]}
    exact |= {"texts": [reply.text for reply in said], "ended": [reply.ended for reply in said]}
    return {"exact": exact | sft.answered(model, tokenizer, questions), "close": {}}


@trajectory("facts", drills.drill, drills.read_facts, drills.train_embedding)
def _facts():
    model, tokenizer = chat_start()
    drawn = drills.draw_facts(1, 1, 0)
    exact = {name: [[fact.relation, fact.subject] for fact in part] for name, part in drawn.items()}
    before = weights(model)
    options = {"rounds": 4, "lr": 3e-4, "seed": 0}
    history = drills.drill(
        model, tokenizer, drawn["invented"], replay=drills.old_conversations()[:24], **options
    )
    close = {"drill": history.column("loss")[1], "moved": moved(model, before)}
    model, _ = chat_start()
    history = drills.read_facts(
        model, tokenizer, drawn["invented"], "both directions", rounds=4, lr=3e-4, seed=0
    )
    close["read"] = history.column("loss")[1]
    exact["tokens"] = [row["tokens"] for row in history.rows]
    model, tokenizer = load_model("pocket")
    made_up = knowledge.made_up(4, 0)
    model, history = drills.train_embedding(
        model, tokenizer, made_up, loss=retrieval.contrastive_loss, steps=5, seed=0, rows=8
    )
    close["embedding"] = history.column("loss")[1]
    return {"exact": exact, "close": close}


@trajectory("retrieval", retrieval.Index, retrieval.text_vectors, retrieval.fuse)
def _finding():
    model, tokenizer = load_model("pocket")
    shelf = [fact for fact in libraries.shelf(0, 6) if fact.relation in libraries.NO_SHARED_WORD]
    documents = libraries.write_down(shelf, 0)
    questions = [libraries.asked_in(libraries.WORDINGS[place % 3], fact) for place, fact in enumerate(shelf)]
    index = retrieval.Index(documents)
    scores = [index.scores(question) for question in questions]
    vectors = retrieval.text_vectors(model, tokenizer, [*documents, *questions])
    dense = vectors[len(documents) :] @ vectors[: len(documents)].T
    best = [max(row) for row in scores]
    threshold = retrieval.choose_threshold(best, [place % 2 == 0 for place in range(len(best))])
    both = [retrieval.fuse(*pair) for pair in zip(scores, dense.tolist(), strict=True)]
    return {
        "exact": {
            "documents": digest(documents),
            "questions": questions,
            "found": [libraries.best_of(row) for row in scores],
            "shown": [digest(retrieval.ask_with_passage(index, question)) for question in questions],
        },
        "close": {
            "words": scores[0],
            "dense": dense.diagonal().tolist(),
            "both": both[0],
            "threshold": [threshold],
        },
    }


@trajectory(
    "judges",
    evaluation.exact_match,
    evaluation.wilson_interval,
    gold.gold_score,
    annotator.relabel,
    lists.verify,
    manners.manner_score,
    shared_words,
)
def _judges():
    prompts, answers = annotator.load_answers()
    pairs = annotator.make_pairs(prompts[::40], [texts[:3] for texts in answers[::40]], annotator.NOISE, 0)
    texts = [pair.chosen for pair in pairs]
    rows = every(lists.load_lists("held_out"), 8)
    said = [", ".join(row["answers"][:: -1 if place % 2 else 1]) for place, row in enumerate(rows)]
    questions = every(load_questions("paraphrase"), 12)
    given = [f"The {row['object'].upper()}." for row in questions]
    return {
        "exact": {
            "pairs": [digest([pair.prompt, pair.chosen, pair.rejected]) for pair in pairs],
            "lists": [lists.verify(text, row["answers"]) for text, row in zip(said, rows, strict=True)],
            "asked": [row["prompt"] for row in questions],
            "match": [
                evaluation.exact_match(text, row["object"], kind)
                for text, row in zip(given, questions, strict=True)
                for kind in ("short", "sentence")
            ],
            "retold": [digest(manners.retell(text, "gossip")) for text in texts[:4]],
        },
        "close": {
            "gold": [score for pair in pairs for score in annotator.gold_of(pair)],
            "agreement": [annotator.gold_agreement(pairs), annotator.ceiling(pairs, annotator.NOISE)],
            "longer": [annotator.longer_share(pairs)],
            "manner": [manners.manner_score(text, "gossip") for text in texts[:8]],
            "F1": [shared_words(pair.chosen, pair.rejected) for pair in pairs[:8]],
            "interval": list(evaluation.wilson_interval(7, 20)),
        },
    }


@trajectory("old_texts", evaluation.perplexity, evaluation.source_loss, evaluation.forgetting)
def _old_texts():
    model, tokenizer = load_model("pocket")
    texts = load_source_texts()[:24]
    examples = [encode_text(tokenizer, text) for text in texts]
    perplexity = evaluation.perplexity(model, tokenizer, texts[:8])
    before = evaluation.mean_loss(model, examples)
    with torch.no_grad():
        model.transformer.ln_f.weight.mul_(1.1)
    after = evaluation.mean_loss(model, examples, batch_size=7)
    exact = {"texts": [digest(example.input_ids) for example in examples]}
    return {
        "exact": exact,
        "close": {"loss": [before, after, perplexity, evaluation.forgetting(before, after)]},
    }


@trajectory("processes", distributed.train_by_hand, distributed.train_alone)
def _processes():
    """Rows and loss division of two processes, one after the other; tests/methods runs both at once."""
    model, tokenizer = load_model("pocket")
    rows = every(load_questions("tune"), 24)
    examples = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]
    stream = batches(examples, 6, 0, tokenizer.pad_token_id)
    optimizer, losses, tokens, before = torch.optim.AdamW(model.parameters(), lr=2e-4), [], [], weights(model)
    for batch in [next(stream) for _ in range(3)]:
        parts = [lm_loss(model, distributed.rows_of(batch, rank, 2)) for rank in range(2)]
        tokens.append([int(count) for _, count in parts])
        for loss, _ in parts:
            distributed.process_loss(loss, sum(tokens[-1]), 2).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(sum(loss.item() for loss, _ in parts) / sum(tokens[-1]))
    alone, _ = load_model("pocket")
    _, _, of_one = distributed.train_alone(alone, batches(examples, 6, 0, tokenizer.pad_token_id), 3, 2e-4)
    close = {"two": losses, "alone": of_one, "moved": moved(model, before)}
    return {"exact": {"tokens": tokens}, "close": close}
