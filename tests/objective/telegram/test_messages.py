"""What is said, in both languages: the figures of the study, Telegram's HTML and its limits."""

import re
from dataclasses import replace
from pathlib import Path
from string import Formatter

import pytest

from objective.display.summary import seconds_left
from objective.search.repair import REMEDIES, UNKNOWN
from objective.telegram.event_queue import Event, Position, Scene
from objective.telegram.markup import plain, units
from objective.telegram.messages import messages
from objective.telegram.observer import Looks
from objective.telegram.pinned_board import TREND, board
from objective.telegram.translations import EN, RU, Words
from objective.views.launcher import Command
from pruners.combinators import rules
from pruners.thresholds import Levels
from tests.objective.samples import REASON, report
from tests.objective.telegram.server import BotApi
from tests.objective.telegram.studies import NAME, POINT, Made, sick, whole
from tests.objective.telegram.test_event_queue import scene

FOLDER = Path("runs/anna")


def said(event: Event, now: Scene, position: Position, language: str = "en") -> str:
    (message,) = messages(event, now, position, Words(language), FOLDER, lambda trial: {})
    return plain(message.text)


def test_both_languages_say_the_same_things() -> None:
    assert EN.keys() == RU.keys()
    for key in EN:
        asked = [{name for _, name, _, _ in Formatter().parse(texts[key]) if name} for texts in (EN, RU)]
        assert asked[0] == asked[1], key
        assert re.search("[а-яё]", RU[key]) or not re.search("[a-z]{3}", re.sub(r"{\w+}|</?\w+>", "", RU[key])), key
    assert len(EN["menu"].split("/")) == len(RU["menu"].split("/")) == 9


def test_every_shipped_rule_and_every_remedy_has_advice_in_both_languages_and_there_is_no_other() -> None:
    assert {rule.name for rule in rules(Levels())} <= REMEDIES.keys()
    remedies = {f"advice_{remedy.advice}" for remedy in (*REMEDIES.values(), UNKNOWN)}
    for texts in (EN, RU):
        assert {key for key in texts if key.startswith("advice_")} == remedies


def test_a_rule_without_a_remedy_of_its_own_gets_general_advice() -> None:
    assert Words("en").advice("a_rule_of_yours") == "compare its curves with the thresholds under health."


def test_durations_are_in_the_language() -> None:
    assert [Words(language).time(3_725) for language in ("en", "ru")] == ["1 h 02 min", "1 ч 02 мин"]


def test_the_best_so_far_says_rank_cost_health_and_what_it_changed(tmp_path: Path) -> None:
    now = scene(whole(tmp_path, []))
    text = said(Event("ended", 2), now, Position("started", ended={0, 1}))
    assert text.splitlines() == [
        "⭐ trial 2: 0.500, the best so far",
        "rank 1 of 3",
        "500 of 500 kframes in 1 min 12 s",
        "diagonality 0.81, alignment 0.55, coverage 0.95, gate 0.97, gradients 1.2",
        "repair of trial 1: training.learning_rate 0.002 -> 0.001",
        "against trial 0, the best before (0.600): learning_rate 0.002 → 0.001",
    ]


def test_a_pruned_trial_says_why_and_what_to_do(tmp_path: Path) -> None:
    now = scene(whole(tmp_path, []))
    lines = said(Event("ended", 1), now, Position("started", ended={0})).splitlines()
    assert lines[1:3] == [REASON, "→ double the guided weight; at its bound raise the reduction or the prenet's dropout"]
    assert "no rank: it is not healthy, 1 of 2 are" in lines
    assert lines[-1] == "against trial 0, the best before (0.600): reduction 2 → 1"


def test_a_sick_trial_says_what_it_misses(tmp_path: Path) -> None:
    now = scene(whole(tmp_path, []))
    lines = said(Event("ended", 5), now, Position("started", ended={0, 1, 2}), "ru").splitlines()
    assert lines[0] == "⚠️ испытание 5: 0.550, больное"
    assert lines[1] == "misses diagonality by 0.20"
    assert lines[2].startswith("→ вдвое больше guided_weight")


def test_the_same_trial_told_again_after_a_crash_reads_the_same(tmp_path: Path) -> None:
    """Whatever ended since: what was told decides about rank and best, not what there is."""
    made = whole(tmp_path, [])
    position = Position("started", ended={0, 1})
    before = said(Event("ended", 2), scene(made), position)
    made.complete(made.begin(), 0.1)
    assert said(Event("ended", 2), scene(made), position) == before


def test_the_third_in_a_row_that_was_dead_at_birth_is_a_red_flag(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for _ in range(4):
        made.prune(made.begin(), "nonfinite", report(60.0), why="nothing was finite")
    flagged = []
    for number in range(4):
        position = Position("started", ended=set(range(number)))
        (message,) = messages(Event("ended", number), scene(made), position, Words("en"), FOLDER, lambda trial: {})
        flagged.append((message.loud, "🚩 3 trials in a row" in message.text))
    assert flagged == [(False, False), (False, False), (True, True), (False, False)]


def test_done_names_the_best_configuration_and_how_to_go_on_from_it(tmp_path: Path) -> None:
    text = said(Event("done"), scene(whole(tmp_path, [])), Position("started"))
    assert "best: trial 2, 0.500\ntraining.learning_rate 0.001\nnetwork.reduction 2\n" in text
    warm = "python -m objective.study --out runs --study anna-next --warm-start runs/anna/trial-00002/best.pt"
    assert text.endswith(warm)


def test_the_way_on_from_a_trial_that_a_migration_brought_names_its_own_folder_recordings_and_storage(tmp_path: Path) -> None:
    made = Made(tmp_path)
    trial = made.begin()
    trial.set_user_attr("migrated_from", "old-one trial 7")
    made.complete(trial, 0.5)
    settings = made.study.user_attrs["settings"]
    data, storage = (
        {**settings["data"], "path": "/data/anna", "language": "ru"},
        {**settings["study"], "storage": "grpc://db:1"},
    )
    made.study.set_user_attr("settings", {**settings, "data": data, "study": storage})
    now = Looks(made.study, Command()).look()
    text = messages(Event("done"), now, Position("started"), Words("en"), tmp_path / NAME, lambda trial: {})[0].text
    assert f"--warm-start {tmp_path}/old-one/trial-00007/best.pt" in text
    assert "--data /data/anna --language ru --storage grpc://db:1 " in text


def test_a_point_that_is_given_up_and_one_that_was_stopped(tmp_path: Path) -> None:
    made = Made(tmp_path)
    trial = made.begin()
    trial.set_user_attr("given_up", "it does not come again")
    made.lose(trial, "no progress for 1800 s at 120 kframes")
    text = said(Event("lost", 0), scene(made), Position("started"))
    assert text == "💥 trial 0 is lost: no progress for 1800 s at 120 kframes; it does not come again"


def test_the_board_shows_what_runs_and_how_it_is(tmp_path: Path) -> None:
    made = whole(tmp_path, [])
    trial = made.begin()
    made.reports(trial, *(report(10.0 * (place + 1)) for place in range(TREND + 3)), sick(200.0, norm=30.0))
    now = scene(made)
    text = plain(board(now, Position("started"), Words("en")).text)
    assert text.splitlines()[:6] == [
        "anna: 4 of 6",
        "▰▰▰▰▰▰▰▱▱▱ 67%",
        "best: trial 2, 0.500",
        "2 healthy, 1 sick, 1 pruned",
        "380 kframes saved by pruning (19%)",
        f"about {Words('en').time(seconds_left(now.trials, now.wanted, now.budget_kframes))} to go",
    ]
    assert seconds_left(now.trials, now.wanted, now.budget_kframes) == pytest.approx((72 * 3 + 20) / 4 * (2 - 200 / 500))
    running = text[text.index("trial 7") - 2 :].splitlines()
    assert running[0] == "🟡 trial 7 ATTENTION"
    assert running[1:4] == [
        "▰▰▰▰▱▱▱▱▱▱ 40%, loss 0.900",
        "diagonality 0.81, coverage 0.95, gate 0.97",
        "gradients 10.0 " + "▁" * (TREND - 1) + "█",
    ]
    assert running[4].startswith("gradient norm 30.00 > 10.00")


def test_the_board_of_a_killed_command_shows_nothing_that_seems_to_run(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.complete(made.begin(), 0.5)
    made.begin()
    text = plain(board(scene(made, stopped="killed"), Position("stopped"), Words("en")).text)
    assert text.splitlines()[2:] == ["stopped", "best: trial 0, 0.500", "1 healthy, 0 sick, 0 pruned"]


def test_a_paused_board_offers_to_go_on(tmp_path: Path) -> None:
    now = scene(Made(tmp_path))
    for paused, command in ((True, "/resume"), (False, "/pause")):
        shown = board(replace(now, paused=paused), Position("started"), Words("en"))
        assert ("paused" in shown.text) is paused
        assert shown.buttons[1][1] == command


@pytest.mark.parametrize("language", ["en", "ru"])
def test_everything_that_is_said_is_html_that_telegram_reads(tmp_path: Path, telegram: BotApi, language: str) -> None:
    """With every sign that HTML knows in what comes from outside."""
    made = Made(tmp_path)
    nasty = "<b & c> " * 9
    made.prune(made.begin(), why=nasty)
    made.lose(made.begin(POINT, origin=nasty), nasty)
    made.complete(made.begin(POINT, repair_of=0, repair_why=nasty, changes=[nasty], origin=nasty), 0.5)
    made.begin(POINT, again_of=1)
    made.reports(made.begin(), sick(60.0))
    now = scene(made, stopped=nasty, name="a<b")
    kinds = [Event(kind) for kind in ("started", "resumed", "stopped", "done")]
    kinds += [Event("ended", 0), Event("lost", 1), Event("begun", 2), Event("ended", 2), Event("begun", 3), Event("failed", 1)]
    texts = [messages(event, now, Position(), Words(language), FOLDER, lambda trial: {})[0].text for event in kinds]
    texts += [board(now, Position(), Words(language)).text, Words(language)("help", study=nasty)]
    for text in texts:
        assert isinstance(telegram._checked({"text": text, "parse_mode": "HTML"}, "text", 4096), str), text


def test_a_board_of_many_trials_stays_one_message(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for _ in range(12):
        made.reports(made.begin(), sick(60.0))
    text = board(scene(made), Position(), Words("ru")).text
    assert "и ещё 4" in text
    assert units(text) < 4096
