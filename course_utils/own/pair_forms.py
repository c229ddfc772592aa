"""Preference files as they come, as rows of prompt, chosen and rejected.

Known are TRL's forms (texts or messages, with a prompt or with one that both answers begin with), the columns
of UltraFeedback, HH, Orca and OpenAI's preference files, and two answers with a column that names the winner.
"""

import re

from course_utils.own.rows import quoted_list

PROMPTS = ("prompt", "instruction", "question", "input", "query")
ANSWER_COLUMNS = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("preferred_output", "non_preferred_output"),
    ("preferred", "rejected"),
)
SYSTEMS = ("system", "system_prompt")
WINNERS = ("winner", "preference", "preferred", "better_response_id", "better", "choice", "label")
SIDE = re.compile(r"((?:response|answer|completion|output|conversation|reply|text)?[ _-]?)(a|b|0|1|2)", re.I)
SIDE_NAMES = (("a", "b"), ("0", "1"), ("1", "2"))
TIES = ("", "tie", "tie (bothbad)", "both", "neither", "same", "draw", "none")
TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")
ROLE = {"Human": "user", "Assistant": "assistant"}
NAMED = ("prompt", "chosen", "rejected", "a", "b", "winner", "question", "answer")
NO_PREFERENCE = "Lines that prefer neither answer"
KNOWN = (
    "no preference pairs were recognised. Known are the columns prompt, chosen and rejected (texts or "
    "messages; the prompt may be the beginning of both), instruction with chosen_response and "
    "rejected_response or with completions (UltraFeedback), chosen and rejected as Human:/Assistant: texts "
    "(HH), and a prompt with response_a, response_b and winner. Say which columns are which, with "
    'COLUMNS = "prompt=..., chosen=..., rejected=..." or "prompt=..., a=..., b=..., winner=..."'
)


def columns_of(text: str) -> dict[str, str]:
    """{name here: column in the file} of a text like "prompt=Question, chosen=Good". ValueError."""
    if not isinstance(text, str):
        raise ValueError(f'COLUMNS must be a text such as "prompt=question, chosen=good", got {text!r}')
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not equals or not column or name not in NAMED or name in found:
            raise ValueError(
                f"COLUMNS: {part!r} is not understood. Write name=column, each name once, commas between; "
                f"the names are {', '.join(NAMED)}"
            )
        found[name] = column
    for names in (("chosen", "rejected"), ("a", "b", "winner"), ("question", "answer")):
        if missing := [name for name in names if name not in found] if {*names} & found.keys() else []:
            raise ValueError(f"COLUMNS: {', '.join(names)} go together; also say {', '.join(missing)}=...")
    return found


def names_pair(names, columns: dict[str, str] | None = None) -> bool:
    """Whether these columns can be read as a pair."""
    return bool(_answers(names, columns or {}) or _sides(names, columns or {}) or _rated(names))


def plain_pair(row: dict, columns: dict[str, str] | None = None) -> tuple[dict | None, str]:
    """({"prompt", "chosen", "rejected"} or None if neither is preferred, which columns were read as what).

    Texts stay texts, messages messages. ValueError for a row that is not understood.
    """
    columns = columns or {}
    if found := _answers(row, columns):
        chosen, rejected = (row[column] for column in found)
        form = f'chosen from "{found[0]}", rejected from "{found[1]}"'
    elif found := _sides(row, columns):
        first, second, winner = found
        won = _won(row[winner], first, second)
        if won is None:
            return None, ""
        chosen, rejected = (row[first], row[second])[:: 1 if won == first else -1]
        form = f'chosen and rejected from "{first}" and "{second}" by "{winner}"'
    elif _rated(row):
        chosen, rejected = _best_and_worst(row["completions"])
        if chosen is None:
            return None, ""
        form = 'chosen and rejected from "completions", the best and the worst "overall_score"'
    elif "messages" in row:
        raise ValueError("this is a conversation; give the file as DATA")
    else:
        raise ValueError(f"no chosen and rejected answer; the line has {quoted_list(row)}")
    prompt, asked, (chosen, rejected) = _prompt(row, columns, _messages(chosen), _messages(rejected))
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}, f"prompt from {asked}, {form}"


def _answers(names, columns):
    """The columns of the preferred and of the other answer, or None."""
    if {"chosen", "rejected"} <= columns.keys():
        pairs = [(columns["chosen"], columns["rejected"])]
    else:
        pairs = ANSWER_COLUMNS
    return next((pair for pair in pairs if set(pair) <= set(names)), None)


def _sides(names, columns):
    """The columns of two answers and of the winner, or None."""
    if {"a", "b", "winner"} <= columns.keys():
        named = columns["a"], columns["b"], columns["winner"]
        return named if set(named) <= set(names) else None
    winner = next((name for name in WINNERS if name in names), None)
    found = {}
    for name in names:
        if side := SIDE.fullmatch(name):
            found.setdefault(side[1].lower(), {})[side[2].lower()] = name
    for by_side in found.values():
        for a, b in SIDE_NAMES:
            if winner and {a, b} <= by_side.keys():
                return by_side[a], by_side[b], winner
    return None


def _rated(row):
    """Whether these are UltraFeedback's columns before a pair is chosen: many answers with scores."""
    return "completions" in row and "instruction" in row


def _best_and_worst(completions):
    try:
        rated = sorted(
            ((float(each["overall_score"]), each["response"]) for each in completions), key=lambda it: it[0]
        )
        (low, worst), (high, best) = rated[0], rated[-1]
    except (TypeError, KeyError, ValueError, IndexError):
        raise ValueError(
            '"completions" must be a list of objects with "response" and "overall_score", got '
            f"{str(completions)[:60]}"
        ) from None
    return (best, worst) if high > low else (None, None)


def _won(value, first, second):
    """The winner's column, or None for a tie. ValueError for another value."""
    said = "" if value is None else str(value).strip().casefold()
    if said in TIES:
        return None
    for column, letter in ((first, "a"), (second, "b")):
        side = SIDE.fullmatch(column)
        side = side[2].lower() if side else letter
        if said in (column.casefold(), side, f"model_{side}"):
            return column
    raise ValueError(
        f"the winner is {str(value)[:40]!r}; write the better one's column ({first} or {second}), or tie"
    )


def _messages(answer):
    """A list of messages for a message or an HH text; other values as they are."""
    if isinstance(answer, dict):
        return [answer]
    if isinstance(answer, str):
        answer = answer.replace("\r\n", "\n")
    if isinstance(answer, str) and re.match(r"\s*Human:", answer) and "\n\nAssistant:" in answer:
        _, *parts = TURN.split(answer.strip())
        return [
            {"role": ROLE[role], "content": content.strip()}
            for role, content in zip(parts[::2], parts[1::2], strict=True)
        ]
    return answer


def _prompt(row, columns, chosen, rejected):
    """(prompt, the words for where it is from, the two answers without it)."""
    both = isinstance(chosen, list) and isinstance(rejected, list) and chosen and rejected
    if both and (len(chosen) > 1 or len(rejected) > 1):
        if chosen[:-1] != rejected[:-1]:
            raise ValueError(
                "the two answers belong to different conversations: they differ before the last turn"
            )
        prompt, asked = _with_system(row, chosen[:-1], "what both begin with")
        return prompt, asked, (chosen[-1:], rejected[-1:])
    name = columns.get("prompt") or next((name for name in PROMPTS if name in row), None)
    if name not in row:
        raise ValueError(f'no "{name or "prompt"}"; the line has {quoted_list(row)}')
    prompt, asked = row[name], f'"{name}"'
    if name == "instruction" and isinstance(prompt, str) and isinstance(more := row.get("input"), str):
        prompt, asked = f"{prompt}\n{more}".strip(), '"instruction" and "input"'
    if isinstance(prompt, dict) and isinstance(prompt.get("messages"), list):
        prompt = prompt["messages"]
    prompt = _messages(prompt)
    if isinstance(prompt, list) and prompt[-1:] == [
        {"role": "assistant", "content": ""}
    ]:  # HH's "Assistant:"
        prompt = prompt[:-1]
    if isinstance(prompt, str) and (both or _system(row)):
        prompt = [{"role": "user", "content": prompt}]
    prompt, asked = _with_system(row, prompt, asked)
    answers = [
        [{"role": "assistant", "content": one}] if isinstance(prompt, list) and isinstance(one, str) else one
        for one in (chosen, rejected)
    ]
    return prompt, asked, answers


def _system(row):
    """The column of a system line that is not empty, or None."""
    return next((name for name in SYSTEMS if isinstance(row.get(name), str) and row[name].strip()), None)


def _with_system(row, prompt, asked):
    """(prompt with the row's system line before it, where it is from)."""
    system = _system(row)
    told = isinstance(prompt, list) and any(
        turn.get("role") == "system" for turn in prompt if isinstance(turn, dict)
    )
    if not system or not isinstance(prompt, list) or told:
        return prompt, asked
    return [{"role": "system", "content": row[system]}, *prompt], f'"{system}" and {asked}'
