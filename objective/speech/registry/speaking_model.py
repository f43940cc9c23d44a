"""A voice as MLflow loads it: `mlflow.pyfunc.load_model("models:/NAME@champion").predict(["A text."])`.

MLflow copies this file next to voice.pt and runs the copy, so it is code and no pickle. It needs tacotune to be installed.
"""

from typing import Any, TypedDict

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from numpy.typing import NDArray

from model.voice import Voice


class Said(TypedDict):
    """A text as it was said: the wave, (S,) in [-1, 1] by Griffin-Lim."""

    wave: NDArray[np.float32]
    rate_hz: int


class SpeakingModel(PythonModel):
    """Says texts with voice.pt."""

    def load_context(self, context: Any) -> None:
        """Load the voice. `context`: MLflow's, with the path of voice.pt."""
        self.voice = Voice.load(context.artifacts["voice"])

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[Said]:
        """Return the sound of each text. Raises BadInput for a text without anything to say."""
        said = [self.voice.speak(text) for text in model_input]
        return [{"wave": wave, "rate_hz": rate_hz} for wave, rate_hz in said]


set_model(SpeakingModel())
