"""The dashboard as a person sees and hears it, in a real browser, with real studies that the command runs.

With TACOTUNE_PICTURES=docs/images the studies are those of the demo, which takes some minutes, and the pictures of the
documentation are made anew.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path
from urllib.parse import urlsplit

import optuna
import pytest
from optuna.trial import TrialState

from objective.dashboard.app import TOKEN
from storage.artifacts import artifacts, publish
from storage.outcome import best_trial, finished, reason
from storage.studies import open_storage
from tests.browser.chromium import PROGRAM, Chromium
from tests.objective.asking import ask
from tests.objective.dashboard.test_command import running as dashboard
from tests.objective.small_study import ROOT, study_arguments
from tests.processes import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no browser on this machine: apt-get install chromium, or install Chrome"),
]
PICTURES = os.environ.get("TACOTUNE_PICTURES")
SECRET = "open sesame, please"
LOADED = "[...document.images].find(it => it.alt === 'alignment.png' && it.complete && it.naturalWidth > 0)"
SAMPLE = """(async () => {
    const sound = [...document.querySelectorAll('audio')].filter(it => it.querySelector('source').type === 'audio/ogg').at(-1)
    sound.pause(); sound.currentTime = 0; await sound.play()
    await new Promise(done => { sound.ontimeupdate = () => sound.currentTime > 0.2 && done() })
    sound.pause(); const heard = sound.currentTime
    sound.currentTime = sound.duration - 0.1; await new Promise(done => { sound.onseeked = done })
    const sought = sound.currentTime
    sound.currentTime = 0; await new Promise(done => { sound.onseeked = done })
    return [heard, sought, sound.duration, sound.error === null]
})()"""


@pytest.fixture(scope="module")
def study(spoken: Path) -> optuna.Study:
    """A finished study, `demo`."""
    more = ["--out", str(spoken), "--device", "cpu", "--profile", "demo"] if PICTURES else study_arguments(spoken)
    line = [sys.executable, "-m", "objective.study", *more, "--study", "demo", "--trials", "8" if PICTURES else "3"]
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return optuna.load_study(storage=open_storage(f"sqlite:///{spoken}/tacotune.db"), study_name="demo")


@pytest.fixture(scope="module")
def address(spoken: Path, study: optuna.Study) -> Iterator[str]:
    """The address of a dashboard with a token that serves the study."""
    with dashboard(spoken, **{TOKEN: SECRET}) as (_, address):
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.fixture
def page(browser: Chromium, address: str) -> Chromium:
    """A browser that was given the token once, and sends it with every picture, sound and request by itself."""
    browser.open(address.replace("://", f"://me:{SECRET.replace(' ', '%20')}@"))
    browser.until("document.readyState === 'complete' && location.pathname === '/dashboard'", "the dashboard")
    return browser


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return Path(PICTURES or tmp_path)


def shown(study: optuna.Study) -> int:
    """Return the trial to look at: the best one, or where all are sick the first."""
    best = best_trial(study)
    return best.number if best else finished(study)[0].number


def test_without_the_token_it_shows_nothing(address: str, tmp_path: Path) -> None:
    with Chromium(tmp_path / "profile") as stranger:
        stranger.open(address + "/dashboard")
        stranger.until("performance.getEntriesByType('navigation')[0]?.responseStatus === 401", "401")
    for path in ("/static/bundle.js", "/api/studies", "/artifacts/1/1/0"):
        assert ask(int(urlsplit(address).port or 0), path=path)[0] == 401


def test_the_list_of_studies(page: Chromium, address: str, study: optuna.Study) -> None:
    page.open(address + "/dashboard")
    page.until("/\\d+\\. demo/.test(document.body.innerText)", "the study")
    links = page.js("[...document.querySelectorAll('a')].map(it => it.getAttribute('href'))")
    assert f"/dashboard/studies/{study._study_id}" in links


def test_the_history_is_drawn(page: Chromium, address: str, study: optuna.Study, pictures: Path) -> None:
    page.open(f"{address}/dashboard/studies/{study._study_id}")
    points = "document.querySelectorAll('#plot-history .scatterlayer .points path').length"
    page.until(f"{points} === {len(finished(study))}", "a point for each trial")
    page.until("document.querySelector('#graph-hyperparameter-importances .bars, #graph-timeline .bars')", "the others")
    title = page.js("document.querySelector('#plot-history .ytitle').textContent")
    assert title == "validation loss", "the axis says what is minimised"
    page.picture(pictures / "dashboard-history.png")
    attributes = page.js(f"fetch('/api/studies/{study._study_id}').then(it => it.json()).then(it => it.union_user_attrs)")
    axes = {attribute["key"] for attribute in attributes if attribute["sortable"]}
    assert {"diagonality", "reading", "gate_accuracy", "coverage", "grad_norm_p95"} <= axes


def test_a_trial_with_its_reason_its_picture_and_its_sound(
    page: Chromium, address: str, study: optuna.Study, pictures: Path
) -> None:
    number = shown(study)
    trial, sick = study.trials[number], next(trial for trial in finished(study) if reason(trial))
    page.open(f"{address}/dashboard/studies/{study._study_id}/trials?numbers={sick.number}")
    page.until(f"document.body.innerText.includes({reason(sick)!r})", "the sentence why")
    page.picture(pictures / "dashboard-reason.png")
    page.open(f"{address}/dashboard/studies/{study._study_id}/trials?numbers={number}")
    page.until(f"document.body.innerText.includes({f'value {trial.value:.3f} after'!r})", "the note")
    assert page.js("document.querySelector('main').scrollWidth <= innerWidth"), "nothing is off the page"
    page.until(LOADED, "the alignment")
    page.until("document.querySelectorAll('audio').length === 4", "the sounds")
    page.until("[...document.querySelectorAll('audio')].every(it => it.readyState === 4)", "sounds that can play through")
    heard, sought, seconds, well = page.js(SAMPLE)
    assert well
    assert 0.2 < heard < sought
    assert sought == pytest.approx(seconds - 0.1, abs=0.02)
    page.js(f"{LOADED}.scrollIntoView({{block: 'center'}})")
    page.picture(pictures / "dashboard-trial.png")


def test_the_better_voice_is_chosen_by_ear(page: Chromium, spoken: Path, study: optuna.Study, pictures: Path) -> None:
    """Three samples of the study, of healthy trials that another one borrows: a network of this size has none."""
    storage = study._storage
    heard = optuna.create_study(storage=storage, study_name="voices", direction="minimize")
    for number, value in enumerate((0.3, 0.2, 0.1)):
        trial = heard.ask()
        sound = spoken / "sample.ogg"
        sound.write_bytes(artifacts(study, finished(study)[number], spoken)["sample.ogg"].read_bytes())
        publish(heard, trial, [sound], spoken)
        heard.tell(trial, value)
    with dashboard(spoken, "--study", "voices", "--listen") as (_, address):
        page.open(address)
        cards = "document.querySelectorAll('audio').length"
        page.until(f"{cards} === 3", "three samples")
        page.until("[...document.querySelectorAll('audio')].every(it => it.readyState === 4)", "sounds that can play through")
        assert not page.js("/0\\.[123]/.test(document.querySelector('main').innerText)"), "no value is shown"
        page.picture(pictures / "dashboard-listen.png")
        page.press("WORST", 2)
        page.until(f"{cards} === 2", "two samples")
        page.press("WORST", 1)
        page.until(f"{cards} === 1", "one sample")
        page.open(address + "/note")
        page.until("document.body.innerText.includes('found better')", "the ranks")
        page.until("[...document.querySelectorAll('td')].map(it => it.innerText).join().startsWith('1,0,2 of 2')", "its row")
    assert heard.user_attrs["listened"] == {"0": 1, "1": 2, "2": 3}


def test_the_fail_button_stops_a_running_trial_and_the_study_continues(browser: Chromium, spoken: Path) -> None:
    """The dashboard that the study starts itself, without a token."""
    port = free_port()
    budget = ["--budget-kframes", "1000", "--set", "budget.reports=250", "--trials", "1"]
    line = [
        sys.executable,
        "-m",
        "objective.study",
        *study_arguments(spoken, "--study", "long", *budget, "--with-dashboard", str(port)),
    ]
    environment = {name: value for name, value in os.environ.items() if name != TOKEN}
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment))
        stack.callback(process.kill)
        assert process.stdout is not None
        header = "".join(takewhile(lambda line: not line.startswith("trial 0  4.0/1000"), process.stdout))
        study = optuna.load_study(storage=open_storage(f"sqlite:///{spoken}/tacotune.db"), study_name="long")
        while not (spoken / "long" / "dashboard.log").read_text().startswith("dashboard: open"):
            assert any(line.startswith("trial 0 ") for line in process.stdout)  # the next report
        browser.open(f"http://127.0.0.1:{port}/dashboard/studies/{study._study_id}/trials?numbers=0")
        browser.until("document.body.innerText.includes('FAIL TRIAL')", "the button")
        browser.press("FAIL TRIAL")
        browser.until("!document.body.innerText.includes('FAIL TRIAL')", "that it is done")
        assert study.trials[0].state == TrialState.FAIL
        reports = spoken / "long" / "trial-00000" / "reports.jsonl"
        seen = len(reports.read_text().splitlines())
        assert any("ended from outside" in line for line in process.stdout)
        assert len(reports.read_text().splitlines()) <= seen + 1
        assert any(line.startswith("trial 1  4.0/1000") for line in process.stdout), "the study continues"
        assert study.trials[1].state == TrialState.RUNNING
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(60) == 130
    assert study.trials[0].state == TrialState.FAIL
    assert "released" not in study.trials[0].user_attrs, "a person wanted it: it is not retried"
    with pytest.raises(ConnectionRefusedError):
        ask(port)
    opened = f"http://127.0.0.1:{port}/dashboard/studies/{study._study_id}"
    assert (spoken / "long" / "dashboard.log").read_text() == f"dashboard: open {opened}\n"
    assert f"dashboard: {opened}" in header
