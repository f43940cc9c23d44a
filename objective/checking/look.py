"""Look at a corpus with every instrument, the quick ones first, and put together what they have found."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from model.data.corpus import Corpus, Reading, Texts, corpus_of, read_sounds, read_texts, refuse_texts
from model.data.problems import CorpusError, counted
from model.listener import spelled
from model.text.languages import Language
from objective.checking.findings import Finding, of_lengths, of_listener, of_network, of_sounds, of_texts, sorted_by_harm
from objective.checking.listening import cross_hear, likely_source
from objective.checking.measures import Row, columns, measured
from objective.checking.network import Step, largest_batch, probe
from objective.checking.report import Report
from objective.checking.statistics import shifted
from objective.settings.schema import Settings
from objective.trial.corpus import CORPUS_SEED, Told, phases, speech_of

LEGIBLE = 0.7  # median error of the letters up to which the words that the listener wrote down are of use to a person
ENOUGH_HOURS = 0.5  # from which on a listener learns enough to tell texts apart
HOPELESS = ("shifted", "shuffled", "cut", "crowded")  # verdicts on the lengths, after which nobody needs to listen


@dataclass(frozen=True, slots=True)
class Listen:
    """The wish that a listener hears the lines, and its limits."""

    wanted: bool | None  # None: where there is enough speech
    kframes: float
    seconds: float


def look(settings: Settings, device: torch.device, listen: Listen, network: bool = True, probing: bool = False) -> Report:
    """Return what is found in the corpus of the settings. Raises BadInput where there is nothing to look at.

    network: try it on the largest batch; probing: also let it learn one batch by heart.
    """
    began = time.monotonic()
    data, language = settings.data, settings.data.spoken()
    assert data.path is not None
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    with phases(settings.quiet) as told:
        cache, reading_told = settings.out / "cache" / "mels", partial(told, "reading the recordings")
        reading_texts = partial(told, f"reading the texts as {language.input}")
        texts = read_texts(data.path, language, data.limits, data.columns, cache.parent / "stress", reading_texts)
        reading = read_sounds(texts, settings.audio, cache, data.limits, reading_told, data.margin_s)
        rows = list(measured(reading, language, settings.audio, partial(told, "measuring the recordings")))
        corpus, findings = _accepted(texts, reading, language, settings)
        _sides(rows, corpus)
        verdict, found = of_lengths(rows)
        findings += [*found, *of_texts(rows), *of_sounds(rows, settings.audio.fmax_hz)]
        listening = _listened(rows, corpus, verdict, listen, device, told)
        findings += [] if verdict in HOPELESS else of_listener(rows)
        step, losses = _tried(corpus if network else None, settings, device, probing, told)
        findings += of_network(step, losses)
    letters, seconds = columns(rows, "letters"), columns(rows, "sound_s")
    return Report(
        path=data.path,
        language=language.code,
        columns=texts.manifest.columns,
        lines=texts.total,
        rows=tuple(rows),
        problems=reading.problems,
        remarks=corpus.remarks if corpus is not None else (*texts.manifest.remarks, *reading.remarks),
        findings=tuple(sorted_by_harm(findings)),
        lengths=verdict,
        correlations=shifted(seconds, letters) if rows else {0: 0.0},
        listening=listening,
        step=step,
        losses=tuple(losses),
        seconds=time.monotonic() - began,
    )


def _accepted(texts: Texts, reading: Reading, language: Language, settings: Settings) -> tuple[Corpus | None, list[Finding]]:
    """Return the corpus as a study would have it, and why it would refuse it: then with limits that refuse less, if at all."""
    data, findings = settings.data, []
    if reading.problems:
        what = f"{len(reading.problems)} of {texts.total} lines are left out: {counted(reading.problems)}"
        findings.append(Finding("bad lines", what, "correct them, or delete their lines"))
    lenient = replace(data.limits, max_bad_share=1.0, max_dropped_share=1.0, min_train=1)
    for limits in (data.limits, lenient):
        try:
            refuse_texts(texts, language, limits)
            return corpus_of(reading, language, limits, data.validation_utterances, CORPUS_SEED), findings
        except CorpusError as why:
            if limits is data.limits:
                findings.append(_refusal(why))
    return None, findings


def _refusal(why: CorpusError) -> Finding:
    rule, _, way_out = str(why).partition("\n")[0].rpartition(": ")
    return Finding("refused", f"a study refuses this: {rule}", way_out, stops=True)


def _sides(rows: list[Row], corpus: Corpus | None) -> None:
    held = set() if corpus is None else {utterance.id for utterance in corpus.validation}
    for row in rows:
        row.validation = row.id in held


def _listened(
    rows: list[Row], corpus: Corpus | None, verdict: str, listen: Listen, device: torch.device, told: Told
) -> dict[str, Any]:
    """Let a listener hear the rows where that is wanted; return its figures, or why it did not."""
    hours = sum(row.seconds for row in rows) / 3600
    if listen.wanted is False:
        return {"why_not": "not wanted (--no-listen): texts of other recordings are found by their lengths only"}
    if corpus is None or len(rows) < 4:
        return {"why_not": "nothing to learn from"}
    if not listen.wanted and hours < ENOUGH_HOURS:
        rule = f"{60 * hours:.0f} minutes of speech are too few to learn from, need {60 * ENOUGH_HOURS:.0f}"
        return {"why_not": f"{rule}: texts of other recordings are found by their lengths only (--listen tries it)"}
    if not listen.wanted and verdict in HOPELESS:
        return {"why_not": "the lengths say enough"}
    hearing = cross_hear(corpus, listen.kframes, listen.seconds, device, told)
    for row in rows:
        row.errors, row.fit = hearing.impressions[row.id].errors, hearing.impressions[row.id].fit
    fits, errors = (float(np.median(columns(rows, name))) for name in ("fit", "errors"))
    spellings = [spelled(row.read, corpus.language) for row in rows]
    for row, own in zip(rows, spellings, strict=True):
        if errors <= LEGIBLE:
            row.heard = hearing.impressions[row.id].heard
            source = likely_source(row.heard, own, spellings)
            row.belongs = None if source is None else rows[source].place
    return {"kframes": hearing.kframes, "seconds": round(hearing.seconds, 1), "fit": round(fits, 2), "errors": round(errors, 4)}


def _tried(
    corpus: Corpus | None, settings: Settings, device: torch.device, probing: bool, told: Told
) -> tuple[Step | None, list[float]]:
    """Try the network on the corpus."""
    if corpus is None:
        return None, []
    told("trying the largest batch", 0, 1)
    speech, config = speech_of(corpus), settings.config()
    step = largest_batch(config, speech, device)
    if not probing or not step.terms:
        return step, []
    return step, probe(config, speech, device, partial(told, "learning one batch by heart"))
