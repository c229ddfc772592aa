"""The base with a prompt only: an instruction and examples before the question, without training.

The baseline for tuning. The prompt's form and number of examples are chosen on training questions.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

from course_utils.data import encode
from course_utils.generation import sample_rows
from course_utils.methods.chat import fit_context
from course_utils.methods.sft import Reply, replies
from course_utils.own.own_data import Conversation, token_counts
from course_utils.own.own_run import Scores, answer_scores, shared_words

PROMPT_FORMS = ("chat", "text")
SHOTS = (0, 8)
NEXT = "\nQuestion:"  # marks the end of an answer in plain text
TRIED = 16  # training questions on which a prompt is chosen
NO_INSTRUCTION = (
    "No PROMPT was given, so the base was tried with examples alone. Write the instruction that you "
    "would use, or the comparison is too easy."
)


@dataclass(frozen=True)
class Prompt:
    """Exchanges before the question, as chat turns or as plain text, and an instruction.

    In a chat the instruction is appended to the data's own system message; in plain text it follows the
    question.
    """

    form: str
    shots: list[dict]  # messages of user and assistant, alternating
    instruction: str = ""

    @property
    def name(self) -> str:
        form = "a chat" if self.form == "chat" else "plain text"
        count = len(self.shots) // 2
        return (
            f"{form}, {f'{count} examples' if count else 'no example'}"
            f"{', with the instruction' if self.instruction else ''}"
        )


def prompt_candidates(rows: Sequence[Conversation], instruction: str, seed: int) -> list[Prompt]:
    """Both forms, with and without examples (exchanges from the rows), with and without the instruction."""
    chosen = random.Random(seed).sample(list(rows), min(max(SHOTS), len(rows)))
    exchanges = [_first_exchange(row.messages) for row in chosen]
    return [
        Prompt(form, [message for exchange in exchanges[:count] for message in exchange], words)
        for form, count, words in product(PROMPT_FORMS, SHOTS, dict.fromkeys(["", instruction]))
    ]


def _first_exchange(messages):
    """The first user turn that is directly followed by an answer, and the answer."""
    for turn, answer in pairwise(messages):
        if (turn["role"], answer["role"]) == ("user", "assistant"):
            return [turn, answer]
    raise ValueError("no user turn is answered")


def as_text(messages: Sequence[dict]) -> str:
    """The messages as plain text that an answer continues."""
    heads = {"system": "", "user": "Question: ", "assistant": "Answer: "}
    return "".join(f"{heads[message['role']]}{message['content']}\n" for message in messages) + "Answer:"


def answers_by_prompt(
    model, tokenizer, prompt: Prompt, prompts: Sequence[list[dict]], limit: int, room: int
) -> list[Reply]:
    """The base's greedy answers of at most `room` tokens; too long prompts lose their first examples."""
    asked = [_with_shots(prompt, messages) for messages in prompts]
    if prompt.form == "chat":

        def length(messages):
            return token_counts(tokenizer, [*messages, {"role": "assistant", "content": ""}])[0]

        fitted = [fit_context(messages, length, limit - room) for messages in asked]
        asked = [  # an instruction that leaves no room for the question is dropped
            new if length(new) <= limit - room else messages
            for new, messages in zip(fitted, prompts, strict=True)
        ]
        return replies(model, tokenizer, asked, max_new_tokens=room)
    ids = [encode(tokenizer, as_text(messages))[-(limit - room) :] for messages in asked]
    new = sample_rows(
        model,
        ids,
        tokenizer.pad_token_id,
        batch_size=64,
        seed=0,
        max_new_tokens=room,
        temperature=0.0,
        stop_ids=(tokenizer.eos_token_id,),
    )
    return [_text_reply(tokenizer, row) for row in new]


def _with_shots(prompt, messages):
    head = [message for message in messages[:1] if message["role"] == "system"]
    *turns, question = messages[len(head) :]
    if prompt.instruction and prompt.form == "chat":
        lines = [*(message["content"] for message in head), prompt.instruction]
        head = [{"role": "system", "content": "\n".join(lines)}]
    elif prompt.instruction:
        question = question | {"content": f"{question['content']} {prompt.instruction}"}
    return [*head, *prompt.shots, *turns, question]


def _text_reply(tokenizer, row):
    """The answer, up to the next question or the end of text."""
    ends = tokenizer.eos_token_id in row
    if ends:
        row = row[: row.index(tokenizer.eos_token_id)]
    answer, begun, _ = tokenizer.decode(row, skip_special_tokens=True).partition(NEXT)
    return Reply(answer.strip(), ends or bool(begun))


def choose_prompt(
    model, tokenizer, rows: Sequence[Conversation], questions_of, limit: int, instruction: str = "", seed=0
) -> tuple[Prompt, list[tuple[str, float]]]:
    """(the best prompt, [(name, words shared with the references)]), tried on training questions.

    questions_of(rows): the result of own_run.to_ask. The examples in the prompts are not among the questions.
    """
    drawn = random.Random(seed).sample(list(rows), len(rows))
    shots = drawn[: min(max(SHOTS), len(drawn) // 2)]
    prompts, references, _, room = questions_of(drawn[len(shots) :])
    prompts, references = prompts[:TRIED], references[:TRIED]
    tried = []
    for prompt in prompt_candidates(shots, instruction, seed):
        said = answers_by_prompt(model, tokenizer, prompt, prompts, limit, room)
        scores = [shared_words(reply.text, right) for reply, right in zip(said, references, strict=True)]
        tried.append((sum(scores) / len(scores), prompt))
    best = max(tried, key=lambda pair: pair[0])[1]
    return best, [(prompt.name, score) for score, prompt in tried]


def evaluate_prompt(model, tokenizer, prompt: Prompt, questions, limit: int, base: Scores) -> Scores:
    """Scores of the base with the prompt. The weights are the base's, and so is the loss on other text.

    The loss on held-out answers is not measured.
    """
    prompts, references, _, room = questions
    said = answers_by_prompt(model, tokenizer, prompt, prompts, limit, room)
    return replace(base, loss=None, **answer_scores(said, references))
