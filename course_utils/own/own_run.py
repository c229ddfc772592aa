"""Tuning on your own data file: a plan, resumable training, evaluation before and after, the result.

SFT on conversations by LoRA, QLoRA or with all weights, then DPO if there are pairs. Unfinished work is in a
folder beside the result, OUT.part; a rename makes the complete result appear.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from types import SimpleNamespace

from filelock import Timeout

from course_utils.chatml import add_chat_tokens, encode_conversation, marker_ids
from course_utils.data import Example, batches, encode, load_source_texts
from course_utils.evaluation import mean_loss, normalise
from course_utils.home import home, naming, write_whole
from course_utils.methods import dpo
from course_utils.methods.chat import fit_context
from course_utils.methods.lora import apply_lora, layer_sizes
from course_utils.methods.lora_fast import speed_up
from course_utils.methods.lora_files import CONFIG_FILE, portable_name
from course_utils.methods.quantization import QuantizedLinear, quantize_model
from course_utils.methods.sft import Reply, replies
from course_utils.methods.token_rows import save_chat_adapter, train_token_rows
from course_utils.model_files import sha256
from course_utils.models import POCKET, Source, resolve, save_model
from course_utils.own.own_data import (
    EXAMPLES,
    Conversation,
    Preference,
    chosen_conversations,
    read_conversations,
    read_pairs_of,
    split_words,
    token_counts,
)
from course_utils.own.pair_forms import columns_of
from course_utils.own.rows import DataError
from course_utils.ownership import (
    MARK_FILE,
    MARKS,
    PART,
    is_marked,
    lock_of,
    made_names,
    mark,
    new_folder,
    own_folder,
    read_regular,
    remove,
    standing,
)
from course_utils.terminal import plain_line
from course_utils.training import History, scored_lm_loss, train

RUN_METHODS = ("lora", "qlora", "full")
START_RATES = {
    "lora": 5e-4,
    "qlora": 5e-4,
    "full": 1e-4,
}  # starting values for models of some hundred million parameters
POCKET_RATES = {"lora": 3e-3, "qlora": 3e-3, "full": 1e-3}
DPO_SHARE = 0.07  # relative to SFT's learning rate
MAX_TOKENS = 1024  # maximum length of a conversation, even if the model can read more
SPARE = 8  # tokens by which an answer may exceed its reference
LONGEST_NAME = 200  # bytes of a folder's name; other names are derived from it
LEAST = 5  # minimum number of conversations for a split
RUN_FILE, KEY_FILE = "run.json", "rating_key.json"
RESULT, OLD = "result", "old"  # folders within the work folder
BASE_FOLDER = "base"  # in a result, the pocket model
WORK_FILES = (RUN_FILE, RESULT, "sft.checkpoint", "dpo.checkpoint", *MARKS, f".*.????????{PART}")
MAKER, OTHER_NAME = "lesson 17", "Name another folder"


# ------------------------------------------------------------------------------------------- inputs


@dataclass(frozen=True)
class Files:
    """The files that a run reads: conversations, pairs, or both."""

    data: Path | None
    pairs: Path | None

    @property
    def name(self) -> str:
        """The run's name: its first file's, without folder and ending."""
        return (self.data or self.pairs).stem


def files_of(data: str, pairs: str, method: str, out: str, overwrite: bool = False) -> Files:
    """The files named by the parameters: "example" is the course's. ValueError, FileNotFoundError.

    Also checks method and folder, so that mistakes are reported before anything is computed.
    """
    method = check_method(method)
    files = _named_files(data, pairs)
    if out and settings_of(out := check_out(out)):
        known = {"method": method, **_sums(files)}
        _check_result(out, {**settings_of(out), **known}, overwrite)
    return files


def _sums(files):
    """Checksums of the existing files; missing files are reported by their readers."""
    paths = {"data": files.data, "pairs": files.pairs}
    return {
        name: sha256(path) if path else None for name, path in paths.items() if not path or path.is_file()
    }


def _named_files(data, pairs):
    for name, file in {"DATA": data, "PAIRS": pairs}.items():
        if file and not isinstance(file, str | Path):
            raise ValueError(f'{name} must be the name of a file, such as "my.jsonl", got {file!r}')
    if data == "example" and pairs:
        raise ValueError(
            'PAIRS names a file, and DATA is still the "example". Set DATA = "" to tune on the chosen '
            "answers of the pairs, or to your own file of conversations."
        )
    if data == "example":
        return Files(EXAMPLES / "conversations.jsonl", EXAMPLES / "pairs.jsonl")
    if not data and not pairs:
        raise ValueError("Give DATA (conversations in .jsonl, or a table in .csv), PAIRS (.jsonl), or both.")
    return Files(*(_of_home(file) if file else None for file in (data, pairs)))


def _of_home(file):
    return Path(os.path.expanduser(file))  # "~x" with an unknown user stays


def read_files(files: Files, columns: str = "") -> tuple[list[Conversation], list[Preference], list[str]]:
    """Conversations, pairs, and notes on what was read as what.

    Without a file of conversations, they are the pairs' chosen answers. columns: which columns are which, as
    for pair_forms.columns_of. DataError naming every bad line of both files.
    """
    named, faults = columns_of(columns), []
    conversations, preferences, notes = [], [], []
    try:
        if files.data:
            conversations = read_conversations(files.data, named)
    except DataError as error:
        faults.append(error)
    try:
        if files.pairs:
            preferences, notes = read_pairs_of(files.pairs, named)
    except DataError as error:
        faults.append(error)
    if faults:
        raise DataError("\n\n".join(map(str, faults)), [fault for error in faults for fault in error.faults])
    if not files.data:
        conversations = chosen_conversations(preferences)
    read = f"{len(conversations)} conversations, {len(preferences)} preference pairs were read."
    return conversations, preferences, [read, *notes]


def shown(path: Path) -> str:
    """A path for printing, relative to the current folder or to the course's own."""
    for name, folder in (("", Path.cwd()), ("COURSE_HOME/", home())):
        if path.is_relative_to(folder):
            return plain_line(name + str(path.relative_to(folder)))
    return plain_line(path.name)


# --------------------------------------------------------------------------------------------- plan


@dataclass(frozen=True)
class Plan:
    """Everything that training depends on, except data and model."""

    method: str
    seed: int
    steps: int
    lr: float
    batch_size: int = 16
    rank: int = 16
    alpha: float = 16.0
    dpo_steps: int = 0
    dpo_lr: float = 0.0
    dpo_batch_size: int = 8
    beta: float = 0.1


def check_method(method: str) -> str:
    """The method in lower case. ValueError for an unknown one."""
    if str(method).lower() not in RUN_METHODS:
        raise ValueError(f"METHOD must be one of {', '.join(RUN_METHODS)}; got {method!r}")
    return method.lower()


def make_plan(session, method: str, conversations: int, pairs: int = 0) -> Plan:
    """Steps and rates for this many training conversations and pairs at the session's scale.

    Four passes over the conversations and two over the pairs; at quick scale at most 120 and 60 steps.
    """
    method = check_method(method)
    rate = (POCKET_RATES if session.model_name == "pocket" else START_RATES)[method]
    passes, most = session.steps(quick=(4, 120), full=(4, math.inf), smoke=(1, 2))
    steps = min(most, math.ceil(passes * conversations / Plan.batch_size))
    dpo_batch = max(1, min(Plan.dpo_batch_size, pairs))
    dpo_steps = min(most / 2, math.ceil(passes * pairs / dpo_batch / 2)) if pairs else 0
    return Plan(
        method,
        session.seed,
        steps,
        rate,
        dpo_steps=math.ceil(dpo_steps),
        dpo_lr=DPO_SHARE * rate,
        dpo_batch_size=dpo_batch,
    )


def context(model) -> int:
    """Maximum number of tokens of a conversation."""
    return min(getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS, MAX_TOKENS)


def prepare_model(model, tokenizer, plan: Plan):
    """The model, prepared in place for the plan's method: markers added, trainable parameters set.

    ValueError for a model that the method cannot train.
    """
    if plan.method != "full" and getattr(model.get_output_embeddings(), "bias", None) is not None:
        raise ValueError("BASE: its head has a bias, which token rows do not support: METHOD=full")
    add_chat_tokens(model, tokenizer)
    if plan.method == "full":
        return model.requires_grad_(True)
    apply_lora(model, plan.rank, plan.alpha)
    if plan.method == "qlora":
        quantize_model(model)
    else:
        speed_up(model)
    train_token_rows(model, marker_ids(tokenizer))
    return model


# ------------------------------------------------------------------------------------------- folder


class Run:
    """The folder of a result, and the one beside it with the work until that is complete."""

    def __init__(self, out: Path, settings: dict, overwrite: bool = False):
        self.out, self.settings, self.overwrite = out, settings, overwrite
        self.work = work_folder(out)
        self.lock = lock_of(out, OTHER_NAME)

    def checkpoint(self, name: str) -> Path:
        return self.work / f"{name}.checkpoint"

    def finish(self, write: Callable[[Path], None]) -> Path:
        """Call write(folder) with a new folder, which then replaces the old result.

        Once the work folder has no RUN_FILE, only the steps of `put_in_place` remain, which can be repeated.
        """
        check_out(self.out)
        mark(self.work, MAKER)
        write_whole(self.work / RUN_FILE, json.dumps(self.settings))
        result = own_folder(self.work / RESULT, MAKER, OTHER_NAME)
        if result.exists():
            result.rename(_free(self.work / OLD))
        with new_folder(result, MAKER) as made:
            write(made)
            (made / RUN_FILE).write_text(json.dumps(self.settings, indent=1) + "\n", encoding="utf-8")
            mark(made, MAKER, [_with_sum(path) for path in made.iterdir() if standing(path) == "a file"])
        _check_result(check_out(self.out), self.settings, self.overwrite)
        (self.work / RUN_FILE).unlink()
        put_in_place(self.out)
        self.lock.release(force=True)
        return self.out


def work_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.part")


def put_in_place(out: Path) -> None:
    """The last steps of a finish, also after a kill: put the result in place, remove the work folder.

    Files that a user added or changed in the old result or the work folder, and the key to its ratings, are
    moved into the new result: the mark has the checksums of the lesson's own files (in earlier editions it
    has none).
    """
    work = work_folder(out)
    if (work / RESULT).is_dir():
        if out.exists():
            out.rename(_free(work / OLD))
        (work / RESULT).rename(out)
    olds = [path for path in sorted(work.iterdir()) if _is_old(path)]
    for old in olds:
        if not is_marked(old, MAKER):
            mark(old, MAKER)
        made = made_names(old)
        for path in sorted(old.iterdir()):
            if path.name == MARK_FILE:
                continue
            of_lesson = path.name != KEY_FILE and standing(path) == "a file" and _with_sum(path) in made
            of_lesson = of_lesson or (path.name == BASE_FOLDER and _is_made_base(path))
            if not of_lesson and not _same(path, out / path.name):
                _move_into(out, path)
        remove(old, MAKER)
    for path in sorted(work.iterdir()):
        if not any(fnmatch(path.name, pattern) for pattern in WORK_FILES):
            _move_into(out, path)
    remove(work)


def _move_into(out, path):
    todo = f"Nothing is lost: the result is in {plain_line(out)}. Make this movable, and repeat the run."
    with naming(path, todo):
        path.rename(_free(out / path.name))


def _is_old(path):
    """Whether it is a result that was moved into the work folder, with a name from _free."""
    named = re.fullmatch(rf"{OLD}(-\d+)?", path.name) and standing(path) == "a folder"
    return bool(named) and (is_marked(path, MAKER) or is_run(settings_of(path)) or not any(path.iterdir()))


def _is_made_base(folder):
    """Whether it is the copy of a base that save_result made, with nothing added or changed."""
    if standing(folder) != "a folder" or not is_marked(folder, MAKER):
        return False
    found = [path for path in folder.iterdir() if path.name != MARK_FILE]
    return all(standing(path) == "a file" and _with_sum(path) in made_names(folder) for path in found)


def _with_sum(path):
    return f"{sha256(path)}  {path.name}"


def _same(path, other):
    return standing(path) == standing(other) == "a file" and sha256(path) == sha256(other)


def _free(path):
    """The path, or a numbered variant that is free."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return path if not standing(path) else next(name for name in names if not standing(name))


def check_out(out) -> Path:
    """The real path of the result. ValueError if something else is there or beside it."""
    if not isinstance(out, str | Path):
        raise ValueError(f"OUT must be the name of a folder, got {out!r}")
    if len(os.fsencode(Path(out).name)) > LONGEST_NAME:
        raise ValueError(f"OUT: the folder's name is too long, at most {LONGEST_NAME} bytes are allowed")
    try:
        out = own_folder(out, MAKER, OTHER_NAME, lambda place: is_run(settings_of(place)))
        own_folder(work_folder(out), MAKER, OTHER_NAME, _is_work)
        lock_of(out, OTHER_NAME)
    except (OSError, RuntimeError, ValueError) as fault:  # taken, or an invalid name
        raise ValueError(f"OUT: {fault}") from None
    if work_folder(out).is_symlink():  # it may lead to another disk, from which no rename is possible
        raise ValueError(f"OUT: {work_folder(out)} is a link. {OTHER_NAME}.")
    if out.is_mount():
        raise ValueError(f"OUT: {out} is the root of a disk. Name a folder in it.")
    return out


def settings_of(folder: Path) -> dict:
    """The settings of a result or of an interrupted run; {} if they cannot be read."""
    try:
        found = json.loads(read_regular(folder / RUN_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_run(settings: dict) -> bool:
    """Whether these can be a run's settings: a file may be damaged, or someone else's."""
    named = all(isinstance(settings.get(name), str) for name in ("base", "weights", "method"))
    return named and {"split", "steps", "lr", "rank", "dpo_steps"} <= settings.keys()


def _is_work(folder):
    """Whether an earlier edition, which left no mark, used this as a work folder."""
    parts = {RUN_FILE, RESULT, "sft.checkpoint", "dpo.checkpoint"}
    return is_run(settings_of(folder)) and {path.name for path in folder.iterdir()} <= parts


def _check_result(out, settings, overwrite):
    """ValueError if a folder has the result of another run."""
    differing = _differing(settings_of(out), settings) if (out / RUN_FILE).exists() else []
    if differing and not overwrite:
        raise ValueError(
            f"OUT: {out.name} holds the result of a run with other {', '.join(differing)}. Name another "
            "folder, or set OVERWRITE = True: your own files there and the key to its ratings are kept."
        )


def _differing(before, settings):
    """Names of settings that differ or that only one side has."""
    now = json.loads(json.dumps(settings))
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def where(session, plan: Plan, files: Files, rows: Sequence, out: str = "") -> tuple[Path, dict]:
    """(folder of the result, settings of the run), for open_run; rows: the training rows.

    Without a name: a folder in the course's own, a different one for different settings.
    """
    settings = run_settings(session, plan, files, rows)
    if out:
        return check_out(out), settings
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    base = settings["base"].replace("/", "--")
    return home() / "own-models" / f"{files.name[:40]}-{base}-{plan.method}-{key}", settings


def open_run(out, settings: dict, overwrite: bool = False) -> Run:
    """Start a run, or resume an interrupted one with the same settings.

    ValueError if OUT holds something else, the result of a run with other settings (unless overwrite), an
    interrupted run with other settings, or a run in progress.
    """
    run = Run(check_out(out), settings, overwrite)
    with naming(run.out, OTHER_NAME):
        run.out.parent.mkdir(parents=True, exist_ok=True)
        try:
            run.lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"OUT: another process is working on {run.out.name}; name another folder"
            ) from None
    try:
        _take_up(run)
    except BaseException:
        run.lock.release(force=True)
        raise
    return run


def _take_up(run):
    file = run.work / RUN_FILE
    if run.work.is_dir() and not file.is_file():
        put_in_place(run.out)  # killed in its last steps, or in its first
    _check_result(check_out(run.out), run.settings, run.overwrite)
    if not file.is_file():
        mark(run.work, MAKER)
        write_whole(file, json.dumps(run.settings))
    elif differing := _differing(settings_of(run.work), run.settings):
        raise ValueError(
            f"OUT: {run.work.name} holds an interrupted run with other {', '.join(differing)}. "
            "Name another folder as OUT, or delete that one to start afresh."
        )
    else:
        mark(run.work, MAKER)
        print(f"An interrupted run is taken up where it stopped ({plain_line(run.work.name)}).")


def run_settings(session, plan: Plan, files: Files, rows: Sequence) -> dict:
    """The identity of a run: base model, plan, checksums of weights and data; JSON values.

    It includes the training rows besides their files, so that no run resumes from a checkpoint that has seen
    rows which its own split holds out.
    """
    source = resolve(session.model_name, session.device)
    return {
        "base": name_of_base(source.name),
        "weights": weights_of(source),
        **asdict(plan),
        **_sums(files),
        "split": _sum_of(rows),
    }


def _sum_of(rows):
    """A checksum of the rows, one after the other: their text can be large."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()[:16]


def name_of_base(model_name: str) -> str:
    """A model's name without its local path; for a folder in the hub's cache, the hub id."""
    return portable_name(SimpleNamespace(name_or_path=model_name))


def weights_of(source: Source) -> str:
    """Checksums of the weight files, or the name of a model that is not on disk."""
    if not isinstance(source.place, Path):
        return str(source.place)
    return " ".join(sha256(path)[:16] for path in sorted(source.place.glob("*.safetensors")))


# ----------------------------------------------------------------------------------------- training


def tune_on_conversations(
    run: Run, model, tokenizer, conversations, held_out, plan: Plan, autocast=nullcontext
) -> History:
    """SFT of a prepared model, in place; resumes from the run's checkpoint."""
    examples = [encode_conversation(tokenizer, row.messages) for row in conversations]
    judged = [encode_conversation(tokenizer, row.messages) for row in held_out]
    history = train(
        model,
        batches(examples, plan.batch_size, plan.seed, tokenizer.pad_token_id),
        steps=plan.steps,
        lr=plan.lr,
        seed=plan.seed,
        loss_fn=scored_lm_loss,
        autocast=autocast,
        label=f"SFT, {plan.method}",
        evaluate=lambda model: {"held_out_loss": mean_loss(model, judged)},
        eval_every=_part(plan.steps, 4),
        checkpoint=run.checkpoint("sft"),
        checkpoint_every=_part(plan.steps, 10),
    )
    return history


def prefer(run: Run, model, tokenizer, pairs, held_out, plan: Plan, autocast=nullcontext):
    """DPO after SFT, in place: (history, metrics on held-out pairs). pairs: (chosen, rejected) Examples."""
    pad_id = tokenizer.pad_token_id
    model.eval()
    reference = dpo.reference_log_probs(model, pairs, pad_id)
    judged = dpo.reference_log_probs(model, held_out, pad_id)

    history = dpo.train_dpo(
        model,
        pairs,
        reference,
        beta=plan.beta,
        steps=plan.dpo_steps,
        lr=plan.dpo_lr,
        pad_id=pad_id,
        batch_size=plan.dpo_batch_size,
        seed=plan.seed,
        held_out=(held_out, judged),
        autocast=autocast,
        eval_every=_part(plan.dpo_steps, 4),
        checkpoint=run.checkpoint("dpo"),
        checkpoint_every=_part(plan.dpo_steps, 10),
    )
    metrics = dpo.pair_metrics(model, held_out, judged, plan.beta, pad_id)
    return history, {f"held_out_{name}": metrics[name] for name in ("loss", "margin", "accuracy")}


def _part(steps, parts):
    return max(1, steps // parts)


# --------------------------------------------------------------------------------------- evaluation


EMPTY_WORDS = frozenset(  # English function words; "no" and "yes" are not among them
    """
    a an and are as at be been but by can could did do does for from had has have he her his how i if in is
    it its may me might my of on or our she should so than that the their them then there these they this
    those to was we were what when where which who whose why will with would you your
    """.split()
)


def agrees(answer: str, reference: str) -> bool:
    """Whether the two are equal, or one contains the other as whole words, ignoring case and punctuation.

    The contained text must be meaningful: one of its words is no function word, or is capitalised inside the
    longer text, as the symbols In and As are.
    """
    texts = sorted((answer, reference), key=lambda text: len(split_words(text)))
    words = [split_words(text) for text in texts]
    short, long = (f" {' '.join(each)} " for each in words)
    if not short.strip() or short not in long:
        return False
    inside = {word.casefold() for word in re.findall(r"(?<=[\w,] )\w+", texts[1]) if word[0].isupper()}
    return short == long or any(word not in EMPTY_WORDS or word in inside for word in words[0])


def shared_words(answer: str, reference: str) -> float:
    """F1 of the answer's words against the reference's: 1 for the same words, 0 for none in common."""
    a, b = Counter(split_words(answer)), Counter(split_words(reference))
    common = sum((a & b).values())
    return 2 * common / (sum(a.values()) + sum(b.values())) if common else float(a == b)


@dataclass(frozen=True)
class Scores:
    """Evaluation of a model on held-out conversations. Shares of the questions; losses in nats per token."""

    loss: float | None  # None if not measured
    other_loss: float  # on text unrelated to the data: its rise measures forgetting
    same: float
    agrees: float
    shared_words: float
    ended: float
    answers: list[str]

    def numbers(self) -> dict[str, float]:
        return {n: value for n, value in asdict(self).items() if n != "answers" and value is not None}


def to_ask(conversations: Sequence[Conversation], tokenizer, limit: int):
    """(prompts, references, lines, room): the conversations without their last answer.

    room: maximum tokens of an answer, SPARE more than the longest reference, at most half of the limit. A
    conversation with a longer reference is dropped, since no model could finish it. Early turns are dropped
    if there is no room for the answer, and the conversation if its last turn does not fit. DataError if none
    is left.
    """
    needed = [token_counts(tokenizer, row.messages[-1:])[1] + SPARE for row in conversations]
    room = max((need for need in needed if need <= limit // 2), default=0)
    prompts, references, lines = [], [], []
    for row, need in zip(conversations, needed, strict=True):
        if need > room:
            continue

        def length(messages):
            return token_counts(tokenizer, [*messages, {"role": "assistant", "content": ""}])[0]

        prompt = fit_context(row.messages[:-1], length, limit - room)
        if length(prompt) <= limit - room:
            prompts.append(prompt)
            references.append(row.messages[-1]["content"].strip())
            lines.append(row.line)
    if not prompts:
        raise DataError(
            f"none of {len(conversations)} questions can be asked: an answer may have half of the limit of "
            f"{limit} tokens, and the question the rest. Shorten them, or choose a BASE that reads more"
        )
    return prompts, references, lines, room


def evaluate(model, tokenizer, held_out: Sequence[Conversation], questions) -> Scores:
    """Losses and greedy answers; questions: from to_ask."""
    prompts, references, _, room = questions
    said = replies(model, tokenizer, prompts, max_new_tokens=room)
    other = [encode(tokenizer, text)[: context(model)] for text in load_source_texts()[:24]]
    return Scores(
        loss=mean_loss(model, [encode_conversation(tokenizer, row.messages) for row in held_out]),
        other_loss=mean_loss(model, [Example(ids, ids) for ids in other]),
        **answer_scores(said, references),
    )


def answer_scores(said: Sequence[Reply], references: Sequence[str]) -> dict:
    """The entries of Scores about answers."""
    texts = [reply.text for reply in said]
    both = list(zip(texts, references, strict=True))
    return {
        "same": _mean([normalise(answer) == normalise(reference) for answer, reference in both]),
        "agrees": _mean([agrees(*pair) for pair in both]),
        "shared_words": _mean([shared_words(*pair) for pair in both]),
        "ended": _mean([reply.ended for reply in said]),
        "answers": texts,
    }


def _mean(values):
    return sum(map(float, values)) / len(values) if values else math.nan


# ------------------------------------------------------------------------------------------- result


def save_result(model, tokenizer, folder, method: str):
    """Save the adapter in PEFT's format, or for `full` the model, with the tokenizer and its template.

    The pocket model, which no hub has, is put beside its adapter, where AutoPeftModel looks for it.
    """
    if method == "full":
        return save_model(model, tokenizer, folder)
    saved = save_chat_adapter(model, tokenizer, folder)
    if Path(model.name_or_path).resolve() == POCKET:
        base, config = Path(folder) / BASE_FOLDER, Path(folder) / CONFIG_FILE
        mark(base, MAKER)
        for name in ("config.json", "generation_config.json", "model.safetensors"):
            shutil.copyfile(POCKET / name, base / name)
        mark(base, MAKER, [_with_sum(path) for path in sorted(base.glob("*.*s*"))])
        settings = json.loads(config.read_text(encoding="utf-8")) | {"base_model_name_or_path": BASE_FOLDER}
        write_whole(config, json.dumps(settings, indent=2) + "\n")
    return saved


def trained_size(model) -> tuple[int, int]:
    """(trained, all) parameter values; quantised layers count with the values they represent."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    packed = [m for m in model.modules() if isinstance(m, QuantizedLinear)]
    total = sum(p.numel() for p in model.parameters())
    return trained, total + sum(math.prod(layer_sizes(layer)) for layer in packed)


def enough(conversations: Sequence) -> None:
    """DataError if there are too few conversations to split."""
    if len(conversations) < LEAST:
        raise DataError(
            f"{len(conversations)} different conversations are too few: about ten questions are needed"
        )


def enough_split(conversations: Sequence, held_out: Sequence) -> None:
    """DataError if there is too little to train on or to evaluate with."""
    if len(conversations) < LEAST - 1 or not held_out:
        raise DataError(
            f"{len(conversations)} conversations to train on and {len(held_out)} to judge by are too few: "
            "about ten different questions are needed"
        )
