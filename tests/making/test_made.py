"""The guide to how the model was made says what the models' reports say."""

from course_utils.making.pocket.made import PAGE, made_page, reports
from course_utils.models import POCKET, SHIPPED_MODELS, load_model


def test_the_guide_is_made_of_the_reports():
    assert PAGE.read_text(encoding="utf-8") == made_page(), "python -m course_utils.making.pocket.made"


def test_the_reports_are_of_the_models_that_ship():
    found = reports()
    for name, folder in {"pocket": POCKET, "pocket-s": SHIPPED_MODELS["pocket-s"]}.items():
        weights = sum(weight.numel() for weight in load_model(name)[0].parameters())
        assert found[folder.name]["parameters"] == weights
        assert found[folder.name]["tokens"] // 10**5 in (159, 160)  # the same reading


def test_the_small_one_learns_the_facts_on_its_way_and_the_larger_ends_lower():
    found = list(reports().values())
    known = [row["completion"] for row in found[0]["curve"] if "completion" in row]
    assert known[0] == 0 and known[-1] > 0.95
    losses = [each["loss"] for each in found]
    assert losses == sorted(losses, reverse=True)
