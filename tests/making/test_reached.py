"""Trajectories or short forms run all code that a lesson's sweeps reach, unless there is a reason.

So `make test` detects a changed definition. A sweep without a short form has its reason in
test_short_forms.py.
"""

import ast
import functools
import importlib
import os
import sys

import pytest

from course_utils.home import ROOT
from course_utils.making.short_forms import file_of, short_run
from course_utils.making.trajectories import stored
from course_utils.reach import module_of, reach
from course_utils.stored_runs import SWEEPS, load_experiments

load_experiments()
stored.load_trajectories()
LESSONS = {}
for _name, _sweep in SWEEPS.items():
    if _sweep.short:
        LESSONS.setdefault(file_of(_name).stem, []).append(_name)

NOT_RUN = {  # reasons why nothing runs them: modules, or definitions as module.name
    "files, folders, and commands in messages": """
        home ownership terminal model_files.check_sums model_files.pickle_files model_files.write_checksums
        models.save_model preferences.as_row preferences.write_jsonl preferences.write_pairs
        preferences.write_preferences methods.reward.load_reward_model methods.reward.save_reward_model""",
    "models that are not the shipped one": """
        models._cached_folder models._choose models._download models._find_gpt2 models._unknown
        generation._cached_forward generation.cache_name log_probs.last_hidden""",
    "a run here ends well, on the CPU, with one thread, and is not resumed": """
        training._check_state training._read_checkpoint training._resume training._save
        training._why_diverged training.load_checkpoint training.save_checkpoint training.TrainingDiverged
        methods.lora._candidates machine.cores machine.find_device""",
    "seed 0 of the pocket model is shipped; test_artifacts_made.py makes it anew": """
        artifacts.conditions_of artifacts.train_assistant artifacts.train_reward_model artifacts._reward_pairs
        artifacts.preference_pairs methods.sft.assistant methods.reward.epoch_steps
        lessons.lesson_18.task.start_model lessons.lesson_18.task.list_conversation
        lessons.lesson_19.students.train_list_teacher session.Session""",
    "the preferences are shipped": """
        data.load_story_prompts world.annotator.make_controlled world.annotator.make_preferences
        world.annotator.neutral_prompts world.annotator.sample_answers world.annotator.spread
        world.annotator.with_longer_share""",
    "only a padded batch needs it": "gpt2.visible_tokens",
    "only a frozen head or LoRA needs it": "log_probs.FrozenHeadLogProbs kernels.is_plain",
    "what their properties and methods say, no run here asks": """
        models.Source methods.lora.Adapter training.History""",
    "called where the module is imported": """
        methods.quantization.dynamic_levels methods.quantization.e2m1_levels
        methods.quantization.integer_levels methods.quantization.normal_levels world.passages._real
        world.tables._both world.tables._groups world.tables._pairs""",
    "lesson 17's runs bring conversations as JSON lines, and no other file": """
        own.chat_forms._call own.chat_forms._joined own.own_data._exchange own.own_data._exchange_fault
        own.prompting.Prompt own.rows.DataError own.rows._header own.rows._is_json own.rows._ranges
        own.rows._table_error own.rows._table_row own.rows.quoted_list own.rows.table_rows""",
    "lesson 15 makes up no jobs": "world.passages.activity",
    "rows on other models ask for it, to choose a rate": """
        lessons.lesson_12.experiments.mean_proxy lessons.lesson_15.experiments.name_loss
        lessons.lesson_18.experiments.pass_of lessons.lesson_18.experiments.validation""",
    "rows on other models ask for it: their layers, or what they know": """
        lessons.lesson_07.experiments.tokens_as_lora methods.lora.attention_targets
        methods.lora_analysis.linear_layers lessons.lesson_02.measures.encode_statements
        lessons.lesson_02.measures.statement_scores lessons.lesson_09.experiments.answered_if_known
        lessons.lesson_09.experiments.right_share world.tables.bare world.templates.article
        world.templates.capitalise world.templates.fill""",
}
REASONED = {name for names in NOT_RUN.values() for name in names.split()}


@functools.cache
def reached():
    """{lesson: functions, and classes with functions, that its sweeps reach, as module.name}"""
    found = {}
    for lesson, names in LESSONS.items():
        for module, name in set().union(*(reach(SWEEPS[each].run).names for each in names)):
            importlib.import_module(module)  # calls during its import are not recorded
            nodes = module_of(module).definitions[name]
            if any(isinstance(inner, ast.FunctionDef) for node in nodes for inner in ast.walk(node)):
                found.setdefault(lesson, set()).add(f"{module}.{name}".removeprefix("course_utils."))
    return found


def recorded(run, *arguments):
    """The definitions of the package that a call executes, with empty caches: {module.name}."""
    for name, module in list(sys.modules.items()):
        if name.startswith("course_utils.") and name != "course_utils.reach":
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    found, inside, before = set(), f"{ROOT / 'course_utils'}{os.sep}", sys.gettrace()

    def note(frame, event, argument):  # for each call; None: its lines are not traced
        code = frame.f_code
        if code.co_filename.startswith(inside):
            module = frame.f_globals["__name__"].removeprefix("course_utils.")
            found.add(f"{module}.{code.co_qualname.partition('.')[0]}")

    sys.settrace(note)
    try:
        run(*arguments)
    finally:
        sys.settrace(before)
    return found


@functools.cache
def ran(trajectory):
    return recorded(stored.run_trajectory, trajectory)


@functools.cache
def missing(lesson):
    """What the lesson's sweeps reach but nothing runs."""
    left = set(reached()[lesson])
    for name in LESSONS[lesson]:
        left -= recorded(short_run, name)
        left = left.difference(*map(ran, stored.trajectories_of(SWEEPS[name].run)))
    return left


def excused(name):
    return {name, name.rpartition(".")[0]} & REASONED


@pytest.mark.night
@pytest.mark.parametrize("lesson", LESSONS)
def test_what_a_lessons_sweeps_reach_is_run(lesson):
    assert sorted(name for name in missing(lesson) if not excused(name)) == []


@pytest.mark.night
@pytest.mark.timeout(3600)  # records what no earlier test has recorded
def test_each_reason_is_needed():
    assert set().union(*(excused(name) for lesson in LESSONS for name in missing(lesson))) == REASONED
