"""Count what a server does, and write it as Prometheus reads it (text format 0.0.4)."""

from collections import Counter
from collections.abc import Iterable

from objective.speech.server.speaker import Speaker

BOUNDS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests by path and code, and the times of those that were answered with speech."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._within: Counter[float] = Counter()  # answers by the bound that they are within
        self._answers, self._seconds = 0, 0.0
        self._characters = 0

    def answered(self, path: str, code: int) -> None:
        """Count a request."""
        self._requests[path, code] += 1

    def spoke(self, characters: int, seconds: float) -> None:
        """Count an answer with speech."""
        self._within.update(bound for bound in BOUNDS_S if seconds <= bound)
        self._answers, self._seconds = self._answers + 1, self._seconds + seconds
        self._characters += characters

    def text(self, speaker: Speaker) -> str:
        """Return everything, with the figures of the speaker."""
        requests = [(f'{{path="{path}",code="{code}"}}', count) for (path, code), count in sorted(self._requests.items())]
        seconds: list[tuple[str, float]] = [(f'_bucket{{le="{bound}"}}', self._within[bound]) for bound in BOUNDS_S]
        seconds += [('_bucket{le="+Inf"}', self._answers), ("_sum", self._seconds), ("_count", self._answers)]
        factor = speaker.busy_s / speaker.speech_s if speaker.speech_s else 0.0
        return "".join(
            (
                _family("requests_total", "counter", "Requests by path and status code; 499: closed by the client.", requests),
                _family("request_seconds", "histogram", "Time of a request that was answered with speech.", seconds),
                _family("queue_length", "gauge", "Requests that have no answer yet.", [("", speaker.waiting)]),
                _family("characters_total", "counter", "Characters of the texts that were said.", [("", self._characters)]),
                _family("speech_seconds_total", "counter", "Length of what was said.", [("", speaker.speech_s)]),
                _family("busy_seconds_total", "counter", "Time that saying it took.", [("", speaker.busy_s)]),
                _family("real_time_factor", "gauge", "That time for a second of speech, since the start.", [("", factor)]),
                _family("batches_total", "counter", "Batches of sentences.", [("", speaker.batches)]),
                _family("sentences_total", "counter", "Sentences in them.", [("", speaker.said)]),
            )
        )


def _family(name: str, kind: str, about: str, samples: Iterable[tuple[str, float]]) -> str:
    name = f"tacotune_{name}"
    rows = "".join(f"{name}{labels} {value:.10g}\n" for labels, value in samples)
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n{rows}"
