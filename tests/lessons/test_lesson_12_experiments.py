"""What the lessons draw from the stored runs, on runs made up for the test."""

from course_utils import stored_runs
from course_utils.lessons.lesson_12 import experiments
from course_utils.lessons.lesson_12.experiments import CHOICES, PPO_RUN


def stored(monkeypatch, rows):
    monkeypatch.setattr(stored_runs, "load_sweep", lambda name: {"rows": rows[name]})


def test_courses_have_the_seeds_of_each_beta_by_iteration(monkeypatch):
    last = PPO_RUN["iterations"]

    def run(beta, shift):
        names = ("kl", "proxy", "gold")
        return {
            "point": {"beta": beta},
            "result": {f"{n}_{i}": i + shift for n in names for i in range(2, last + 1)},
        }

    stored(monkeypatch, {"ppo": [run(0.2, 5), run(0.0, 0), run(0.0, 1)]})
    courses = experiments.course_of_ppo()
    assert list(courses) == [0.0, 0.2]
    assert courses[0.0]["gold"] == {i: [i, i + 1] for i in range(2, last + 1)}
    assert courses[0.2]["kl"][2] == [7]


def test_methods_are_grouped_by_setting_from_near_to_far(monkeypatch):
    def run(point, kl):
        return {"point": point, "result": {"kl": kl, "proxy": 0, "gold": 0}}

    best = {f"{name}_{n}": n for n in CHOICES for name in ("kl", "proxy", "gold")}
    stored(
        monkeypatch,
        {
            "ppo": [run({"beta": 0.0}, 50), run({"beta": 0.2}, 4), run({"beta": 0.2}, 6)],
            "dpo": [run({"loss": "dpo", "beta": 0.1}, 9)],
            "best_of_n": [{"point": {}, "result": best}],
        },
    )
    found = experiments.by_method()
    assert [[one["kl"] for one in runs] for runs in found["PPO"]] == [[4, 6], [50]]
    assert [[one["kl"] for one in runs] for runs in found["DPO"]] == [[9]]
    assert [runs[0]["kl"] for runs in found["best of n"]] == list(CHOICES)
