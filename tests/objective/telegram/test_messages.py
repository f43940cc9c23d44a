"""The texts of messages and of the board: the figures of the study, Telegram's HTML and its limits."""

from dataclasses import replace
from pathlib import Path

import pytest

from objective.display.summary import seconds_left
from objective.telegram.event_queue import Event, Position, StudyState
from objective.telegram.markup import plain, units
from objective.telegram.messages import messages, sample
from objective.telegram.observer import Observer
from objective.telegram.pinned_board import TREND, board
from objective.telegram.translations import LANGUAGES, Translator
from objective.views.launcher import StudyCommand
from tests.objective.samples import FREE, REASON, report
from tests.objective.telegram.server import BotApi
from tests.objective.telegram.studies import NAME, PARAMS, StudyBuilder, eventful_study, sick, voice

FOLDER = Path("runs/anna")


def text_of(event: Event, state: StudyState, position: Position, language: str = "en") -> str:
    (message,) = messages(event, state, position, Translator(language), FOLDER, lambda trial: {})
    return plain(message.text)


def test_the_best_trial_so_far_has_its_rank_cost_health_and_changes(tmp_path: Path) -> None:
    state = eventful_study(tmp_path, []).state()
    text = text_of(Event("ended", 2), state, Position("started", ended={0, 1}))
    assert text.splitlines() == [
        "⭐ trial 2: 0.500, best so far",
        "rank 1 of 3",
        "500 of 500 kframes in 1 min 12 s",
        "diagonality 0.81, reading 0.89, coverage 0.95, stop token 0.97, gradient norm 1.2",
        "repair of trial 1: training.learning_rate 0.002 -> 0.001",
        "compared with trial 0, the best before it (0.600): learning_rate 0.002 → 0.001",
    ]


def test_a_judged_trial_says_what_was_heard_and_how_well(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.complete(builder.begin(), 0.5, spoken=voice("we share", 0.5, "cut"))
    builder.complete(builder.begin(), 0.6, spoken=voice("", 1.0, "cut"))
    builder.complete(builder.begin(), 0.7, spoken=voice(None))
    heard, unheard, without = (
        text_of(Event("ended", number), builder.state(), Position("started")).splitlines()[1:4] for number in range(3)
    )
    said = "said: “we share <one> kitchen.”"
    errors = "25% of letters heard wrong, recordings 0.2%; faults in 50% of 2 sentences"
    assert heard == [said, "heard: “we share”", errors]
    assert unheard == [said, "heard: nothing", errors.replace("25", "50")]
    assert without[:2] == [said, "faults in 0% of 2 sentences"]
    russian = text_of(Event("ended", 0), builder.state(), Position("started"), "ru")
    assert "неверно услышано букв: 25%, в записях 0.2%; дефекты в 50% из 2 предложений" in russian
    sound = tmp_path / "sample.ogg"
    sound.write_bytes(b"a voice")
    message = sample(builder.trials[0], {sound.name: sound}, Translator("en"))
    assert message is not None
    assert plain(message.text) == f"trial 0: synthesized sample\n{said}", "a telephone shows it below the sound"


def test_the_board_says_how_well_the_best_is_understood_or_how_badly_the_closest(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    lines = []
    for value, missed in ((0.9, 0.4), (0.5, -0.1)):
        builder.complete(builder.begin(), value, missed, voice("we share", value))
        lines.append(plain(board(builder.state(), Position("started"), Translator("en")).text).splitlines()[2])
    assert lines == [
        "no healthy trial yet; the closest is trial 0: 45% of letters heard wrong, recordings 0.2%",
        "best: trial 1, 0.500, 25% of letters heard wrong, recordings 0.2%",
    ]


def test_the_board_shows_the_newest_free_running_figures_of_a_running_trial(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    worse = replace(FREE, errors=0.5)
    builder.reports(builder.begin(), report(30.0, free=worse), report(60.0, free=FREE), report(120.0))
    text = plain(board(builder.state(), Position("started"), Translator("en")).text)
    assert "\nheard wrong 4.1%, faults 6.2% at 60 kframes\n" in text


def test_a_pruned_trial_has_the_reason_and_advice(tmp_path: Path) -> None:
    state = eventful_study(tmp_path, []).state()
    lines = text_of(Event("ended", 1), state, Position("started", ended={0})).splitlines()
    advice = "→ double guided_weight; if it is at its bound, raise reduction or prenet_dropout"
    assert lines[1:3] == [REASON, advice]
    assert "not ranked; healthy trials: 1 of 2" in lines
    assert lines[-1] == "compared with trial 0, the best before it (0.600): reduction 2 → 1"


def test_a_sick_trial_has_the_target_that_it_misses_and_advice(tmp_path: Path) -> None:
    state = eventful_study(tmp_path, []).state()
    lines = text_of(Event("ended", 5), state, Position("started", ended={0, 1, 2}), "ru").splitlines()
    assert lines[0] == "⚠️ испытание 5: 0.550, проблемное"
    assert lines[1] == "misses diagonality by 0.20"
    assert lines[2].startswith("→ увеличить guided_weight вдвое")


def test_a_trial_reported_again_after_a_crash_reads_the_same(tmp_path: Path) -> None:
    """Its rank and the best depend on what has been reported, not on what has finished since."""
    builder = eventful_study(tmp_path, [])
    position = Position("started", ended={0, 1})
    before = text_of(Event("ended", 2), builder.state(), position)
    builder.complete(builder.begin(), 0.1)
    assert text_of(Event("ended", 2), builder.state(), position) == before


def test_the_third_consecutive_trial_pruned_at_its_first_report_is_a_red_flag(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    for _ in range(4):
        builder.prune(builder.begin(), "nonfinite", report(60.0), why="nothing was finite")
    flagged = []
    for number in range(4):
        position = Position("started", ended=set(range(number)))
        (message,) = messages(Event("ended", number), builder.state(), position, Translator("en"), FOLDER, lambda trial: {})
        flagged.append((message.loud, "🚩 3 consecutive trials pruned at the first report" in message.text))
    assert flagged == [(False, False), (False, False), (True, True), (False, False)]


def test_done_has_the_best_configuration_and_the_command_that_starts_from_it(tmp_path: Path) -> None:
    text = text_of(Event("done"), eventful_study(tmp_path, []).state(), Position("started"))
    assert "best: trial 2, 0.500\ntraining.learning_rate 0.001\nnetwork.reduction 2\n" in text
    command = "python -m objective.study --out runs --study anna-next --warm-start runs/anna/trial-00002/best.pt"
    assert text.endswith(command)


def test_the_command_from_a_migrated_trial_has_its_own_folder_recordings_and_storage(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    trial = builder.begin()
    trial.set_user_attr("migrated_from", "old-one trial 7")
    builder.complete(trial, 0.5)
    settings = builder.study.user_attrs["settings"]
    settings["data"] |= {"path": "/data/anna", "language": "ru"}
    settings["study"] |= {"storage": "grpc://db:1"}
    builder.study.set_user_attr("settings", settings)
    state = Observer(builder.study, StudyCommand()).observe()
    text = messages(Event("done"), state, Position("started"), Translator("en"), tmp_path / NAME, lambda trial: {})[0].text
    assert f"--warm-start {tmp_path}/old-one/trial-00007/best.pt" in text
    assert "--data /data/anna --language ru --storage grpc://db:1 " in text


def test_a_lost_trial_that_is_given_up_has_both_reasons(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    trial = builder.begin()
    trial.set_user_attr("given_up", "it is not retried")
    builder.lose(trial, "no progress for 1800 s at 120 kframes")
    text = text_of(Event("lost", 0), builder.state(), Position("started"))
    assert text == "💥 trial 0 lost: no progress for 1800 s at 120 kframes; it is not retried"


def test_the_board_shows_the_running_trials_and_their_health(tmp_path: Path) -> None:
    builder = eventful_study(tmp_path, [])
    trial = builder.begin()
    builder.reports(trial, *(report(10.0 * (place + 1)) for place in range(TREND + 3)), sick(200.0, norm=30.0))
    state = builder.state()
    text = plain(board(state, Position("started"), Translator("en")).text)
    left = seconds_left(state.trials, state.wanted, state.budget_kframes)
    assert left == pytest.approx((72 * 3 + 20) / 4 * (2 - 200 / 500))
    assert text.splitlines()[:6] == [
        "anna: 4 of 6 trials finished",
        "▰▰▰▰▰▰▰▱▱▱ 67%",
        "best: trial 2, 0.500",
        "2 healthy, 1 sick, 1 pruned",
        "stopping early saved 380 kframes (19%)",
        f"about {Translator('en').duration(left)} left",
    ]
    running = text[text.index("trial 7") - 2 :].splitlines()
    assert running[0] == "🟡 trial 7 ATTENTION"
    assert running[1:4] == [
        "▰▰▰▰▱▱▱▱▱▱ 40%, validation loss 0.900",
        "diagonality 0.81, coverage 0.95, stop token 0.97",
        "gradient norm 10.0 " + "▁" * (TREND - 1) + "█",
    ]
    assert running[4].startswith("gradient norm 30.00 > 10.00")


def test_the_board_of_a_killed_command_shows_no_running_trials(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.complete(builder.begin(), 0.5)
    builder.begin()
    text = plain(board(builder.state(stopped="killed"), Position("stopped"), Translator("en")).text)
    assert text.splitlines()[2:] == ["stopped", "best: trial 0, 0.500", "1 healthy, 0 sick, 0 pruned"]


def test_the_board_offers_to_resume_a_paused_study_and_to_pause_any_other(tmp_path: Path) -> None:
    state = StudyBuilder(tmp_path).state()
    for paused, command in ((True, "/resume"), (False, "/pause")):
        message = board(replace(state, paused=paused), Position("started"), Translator("en"))
        assert ("paused" in message.text) is paused
        assert message.buttons[1][1] == command


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_html_that_telegram_parses(tmp_path: Path, telegram: BotApi, language: str) -> None:
    """Names and reasons from outside hold every special character of HTML."""
    builder = StudyBuilder(tmp_path)
    nasty = "<b & c> " * 9
    builder.prune(builder.begin(), why=nasty)
    builder.lose(builder.begin(PARAMS, origin=nasty), nasty)
    repair = builder.begin(PARAMS, repair_of=0, repair_why=nasty, changes=[nasty], origin=nasty)
    builder.complete(repair, 0.5, spoken=voice(nasty, 1.0))
    builder.begin(PARAMS, again_of=1)
    builder.reports(builder.begin(), sick(60.0))
    state, translate = builder.state(stopped=nasty, name="a<b"), Translator(language)
    events = [Event(kind) for kind in ("started", "resumed", "stopped", "done")]
    events += [Event("ended", 0), Event("lost", 1), Event("begun", 2), Event("ended", 2), Event("begun", 3), Event("failed", 1)]
    texts = [messages(event, state, Position(), translate, FOLDER, lambda trial: {})[0].text for event in events]
    texts += [board(state, Position(), translate).text, translate("help", study=nasty, commands=nasty)]
    for text in texts:
        assert isinstance(telegram._checked({"text": text, "parse_mode": "HTML"}, "text", 4096), str), text


def test_a_board_of_many_trials_stays_one_message(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    for _ in range(12):
        builder.reports(builder.begin(), sick(60.0))
    text = board(builder.state(), Position(), Translator("ru")).text
    assert "и ещё 4" in text
    assert units(text) < 4096
