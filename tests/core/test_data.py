import itertools
import json

import pytest

from course_utils import data
from course_utils.data import DATA, Example
from course_utils.making.checksums import data_sums
from course_utils.preferences import load_preferences
from course_utils.world.annotator import load_answers


def examples(lengths):
    return [Example([i + 1] * n, [i + 1] * n) for i, n in enumerate(lengths)]


def test_read_jsonl_reads_objects_and_skips_blank_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('\ufeff{"text": "été"}\r\n\n{"text": "line\u2028separator"}\n'.encode())
    assert data.read_jsonl(path) == [{"text": "été"}, {"text": "line\u2028separator"}]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"a": 1', "line 2, column 8: not JSON"),
        (b"[1]", "line 2: expected an object"),
        (b"\xff", "line 2: not UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 2: not JSON that can be read"),
        (b"[" * 200_000, "line 2: not JSON that can be read"),
    ],
)
def test_read_jsonl_names_file_line_and_fault(tmp_path, line, fault):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl, ") as error:
        data.read_jsonl(path)
    assert fault in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.jsonl: no such file"):
        data.read_jsonl(tmp_path / "none.jsonl")


def test_facts_are_filtered_by_split_and_relation(tmp_path, monkeypatch):
    rows = [
        {"relation": relation, "subject": subject, "object": "x", "split": split}
        for relation, subject, split in [
            ("capital", "A", "tune"),
            ("capital", "B", "held_out"),
            ("young", "C", "tune"),
        ]
    ]
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(data, "DATA", tmp_path)
    assert [fact.subject for fact in data.load_facts()] == ["A", "B", "C"]
    assert [fact.subject for fact in data.load_facts(split="tune", relation="capital")] == ["A"]
    with pytest.raises(ValueError, match=r"unknown split 'test'; choose one of tune, validation, held_out"):
        data.load_facts(split="test")
    with pytest.raises(ValueError, match=r"unknown relation 'colour'; choose one of capital, young"):
        data.load_facts(relation="colour")
    with pytest.raises(
        ValueError, match=r"unknown set of questions 'test'; choose one of tune, .*paraphrase"
    ):
        data.load_questions("test")


LOADERS = {
    "facts.jsonl": data.load_facts,
    "questions/tune.jsonl": lambda: data.load_questions("tune"),
    "conversations/train.jsonl": data.load_conversations,
    "conversations/story_prompts.jsonl": data.load_story_prompts,
    "source/held_out.jsonl": data.load_source_texts,
    "preferences/train.jsonl": load_preferences,
    "preferences/answers.jsonl": load_answers,
}


def a_letter(content):
    """Change a letter in the middle of a text."""
    place = content.index(b"e", len(content) // 2)
    return content[:place] + b"a" + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2 + 20],
    "a letter": a_letter,
    "a line more": lambda content: content + content[: content.index(b"\n") + 1],
}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A copy of data/ that the loaders read."""
    for path in (*DATA.rglob("*.jsonl"), data.DATA_SUMS):
        target = tmp_path / path.relative_to(DATA)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    monkeypatch.setattr(data, "DATA", tmp_path)
    monkeypatch.setattr(data, "DATA_SUMS", tmp_path / "checksums.json")
    monkeypatch.setattr("course_utils.world.annotator.FOLDER", tmp_path / "preferences")
    return tmp_path


def load(file, folder):
    return LOADERS[file](folder / "preferences") if LOADERS[file] is load_preferences else LOADERS[file]()


@pytest.mark.parametrize("file", LOADERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_the_course_is_named_with_the_remedy(shipped, file, damage):
    load(file, shipped)
    path = shipped / file
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{path} has changed.*Restore it: git checkout -- {path}"):
        load(file, shipped)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]"])
def test_a_damaged_list_of_checksums_is_named(shipped, content):
    data.DATA_SUMS.unlink() if content is None else data.DATA_SUMS.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{data.DATA_SUMS} is missing or damaged. Restore it"):
        data.load_facts()


def test_data_of_your_own_have_no_checksums(shipped):
    """Neither elsewhere nor in the course's folder."""
    (shipped / "conversations" / "mine.jsonl").write_bytes(
        (shipped / "conversations" / "held_out_facts.jsonl").read_bytes().replace(b" is ", b" was ")
    )
    assert data.load_conversations("mine") != data.load_conversations("held_out_facts")


def test_every_data_file_has_its_checksum():
    assert json.loads(data.DATA_SUMS.read_text()) == data_sums()


def test_prompt_has_no_loss_completion_and_end_do(tokenizer):
    prompt, completion = "Question: is Paris the capital?\nAnswer:", " a cat"
    example = data.encode_prompt_completion(tokenizer, prompt, completion)
    assert tokenizer.decode(example.input_ids) == prompt + completion + tokenizer.eos_token
    learnt = [token for token in example.labels if token != -100]
    assert tokenizer.decode(learnt) == completion + tokenizer.eos_token
    assert example.labels[-len(learnt) :] == learnt


def test_text_has_loss_everywhere(tokenizer):
    example = data.encode_text(tokenizer, "a cat sat")
    assert example.labels == example.input_ids
    assert tokenizer.decode(example.input_ids) == "a cat sat" + tokenizer.eos_token


def test_a_text_over_the_context_is_named(tokenizer, capfd):
    with pytest.raises(
        ValueError, match=r"has 201 tokens, the model reads 128: 'cat cat .*Shorten it or split it"
    ) as error:
        data.encode_text(tokenizer, "cat" + " cat" * 199)
    assert len(str(error.value)) < 200
    assert capfd.readouterr().err == ""


def test_collate_pads_by_position_and_keeps_a_real_end_of_text():
    end = 0  # also the pad token
    batch = data.collate([Example([5, 6, end], [-100, 6, end]), Example([7, end], [7, end])], pad_id=end)
    assert batch["input_ids"].tolist() == [[5, 6, 0], [7, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 0], [7, 0, -100]]
    left = data.collate([Example([5, 6, end], [-100, 6, end]), Example([7, end], [7, end])], end, side="left")
    assert left["input_ids"].tolist() == [[5, 6, 0], [0, 7, 0]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert left["labels"].tolist() == [[-100, 6, 0], [-100, 7, 0]]


def test_collate_and_batches_refuse_nothing():
    with pytest.raises(ValueError, match="empty list of examples"):
        data.collate([], 0)
    with pytest.raises(ValueError, match="no examples"):
        data.batches([], 4, 0, 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        data.batches(examples([3]), 0, 0, 0)


def first_ids(batch):
    return batch["input_ids"][:, 0].tolist()


def test_every_example_comes_once_an_epoch_in_another_order():
    made = data.batches(examples([3] * 10), 4, seed=1, pad_id=0)
    epochs = [[first_ids(batch) for batch in itertools.islice(made, 3)] for _ in range(2)]
    assert [sorted(itertools.chain(*epoch)) for epoch in epochs] == [list(range(1, 11))] * 2
    together = [{frozenset(batch) for batch in epoch} for epoch in epochs]
    assert together[0] != together[1]


def test_the_seed_decides_the_order():
    def run(seed):
        return [
            first_ids(batch) for batch in itertools.islice(data.batches(examples([3] * 40), 4, seed, 0), 30)
        ]

    assert run(1) == run(1) != run(2)


def test_batches_of_an_epoch_do_not_run_from_short_to_long():
    for seed in range(3):
        made = itertools.islice(data.batches(examples(range(3, 67)), 4, seed, 0), 16)
        lengths = [batch["input_ids"].shape[1] for batch in made]
        assert sorted(lengths) == list(range(6, 67, 4))  # each batch has four neighbours
        assert lengths != sorted(lengths)


def test_length_buckets_save_padding():
    lengths = [5, 60] * 32
    padded = sum(
        batch["input_ids"].numel() for batch in itertools.islice(data.batches(examples(lengths), 8, 0, 0), 8)
    )
    assert padded == sum(lengths)
