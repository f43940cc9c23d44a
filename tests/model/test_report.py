"""Reports outlive the version that wrote them."""

from model.report import Gradients, Health, Losses, Report

LOSSES = Losses(0.4, 0.3, 0.1, None)
HEALTH = Health(0.9, 0.6, 0.95, 0.0, 0.99, 0.55, 0.97, 0.9, 3.0, reading=0.94)
REPORT = Report(10.0, 20, 1.5, 1e-3, 0.0, LOSSES, LOSSES, Gradients(1.0, 2.0, 0, 0, 0.1), HEALTH, HEALTH)


def test_a_report_is_rebuilt_from_its_values() -> None:
    assert Report.from_dict(REPORT.as_dict()) == REPORT


def test_a_report_of_an_older_version_has_no_reading() -> None:
    old = REPORT.as_dict()
    for health in (old["health"], old["train_health"]):
        del health["reading"]
    rebuilt = Report.from_dict(old)
    assert rebuilt.health.reading is rebuilt.train_health.reading is None
    assert rebuilt.health.diagonality == 0.9
