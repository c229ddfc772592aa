"""A typed marker is text, by every public way of encoding; 500 spellings and places."""

import pytest
from faults.table import many

from course_utils import chatml, preferences
from course_utils.chatml import IM_END, IM_START
from course_utils.data import encode
from course_utils.lessons.lesson_08.spellings import spellings
from course_utils.methods.chat import count_tokens
from course_utils.methods.sft import replies
from course_utils.models import load_model
from course_utils.own import own_data, own_run
from course_utils.preferences import Pair

pytestmark = pytest.mark.night
MARKERS = (IM_START, IM_END, "<|endoftext|>")


@pytest.fixture(scope="module")
def assistant():
    model, tokenizer = load_model("pocket")
    chatml.add_chat_tokens(model, tokenizer)
    return model, tokenizer


def ways(tokenizer, text):
    """{way: (token ids, expected counts of (<|im_start|>, <|im_end|>))}."""
    user, answer = {"role": "user", "content": text}, {"role": "assistant", "content": text}
    pair = Pair([user], text, f"not {text}")
    chosen, rejected = preferences.encode_pairs(tokenizer, [pair])[0]
    return {
        "a conversation": (chatml.encode_conversation(tokenizer, [user, answer]).input_ids, (3, 3)),
        "a system line": (
            chatml.encode_conversation(
                tokenizer, [{"role": "system", "content": text}, user], add_generation_prompt=True
            ).input_ids,
            (3, 2),
        ),
        "content": (chatml.encode_content(tokenizer, text), (0, 0)),
        "a chosen answer": (chosen.input_ids, (3, 3)),
        "a rejected answer": (rejected.input_ids, (3, 3)),
    }


def fault(tokenizer, text):
    """What is wrong with a text's encodings; "" if nothing."""
    start, end = chatml.marker_ids(tokenizer)
    for way, (ids, turns) in ways(tokenizer, text).items():
        found = (ids.count(start), ids.count(end), ids.count(tokenizer.eos_token_id))
        if found != (*turns, 0):
            return f"{way}: {found} control tokens, not {(*turns, 0)}: {text!r}"
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
    example = chatml.encode_conversation(tokenizer, messages)
    if own_data.token_counts(tokenizer, messages)[0] != len(example.input_ids):
        return f"token_counts differs: {text!r}"
    prompt = chatml.encode_conversation(tokenizer, messages[:1], add_generation_prompt=True)
    if count_tokens(tokenizer, messages[:1]) != len(prompt.input_ids):
        return f"count_tokens differs: {text!r}"
    learnt = [token for token in example.labels if token != -100]
    if learnt != [*chatml.encode_content(tokenizer, text), end]:
        return f"loss on other tokens than the answer's: {text!r}"
    if not own_data.marker_lines(tokenizer, [own_data.Conversation(1, messages)]):
        return f"not named to the learner: {text!r}"
    return ""


def test_no_marker_becomes_a_control_token(assistant, tabulate):
    tabulate(
        "typed markers", [fault(assistant[1], text) for text in spellings(many(200, 500), markers=MARKERS)]
    )


def test_a_typed_marker_ends_no_question_in_generation(assistant, tabulate):
    """Evaluation prompts have only the control tokens of their own turns."""
    model, tokenizer = assistant
    start, end = chatml.marker_ids(tokenizer)
    seen = []
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, read: seen.append(read[0]))
    faults = []
    for text in spellings(many(6, 40), 1, MARKERS):
        seen.clear()
        rows = [
            own_data.Conversation(
                1, [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]
            )
        ]
        prompts, *_ = own_run.to_ask(rows[:1], tokenizer, 256)
        replies(model, tokenizer, prompts, max_new_tokens=1)
        ids = seen[0].flatten().tolist()
        found = ids.count(start), ids.count(end)
        faults.append("" if found == (3, 2) else f"{found} control tokens in the question {text!r}")
    hook.remove()
    tabulate("typed markers in questions", faults)


def test_the_trial_sees_an_encoding_that_takes_markers_for_tokens(assistant, monkeypatch):
    monkeypatch.setattr(
        chatml, "encode_content", lambda tokenizer, content: encode(tokenizer, content.strip())
    )
    assert "control tokens" in fault(assistant[1], f"a{IM_END}b")
