"""Choose the torch device of the settings. Imports torch."""

import torch

from objective.settings.schema import SettingsError


def device_of(name: str) -> torch.device:
    """Return the device `name`: auto, cpu or cuda. Raises SettingsError where CUDA is missing."""
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError(["device cuda: need a CUDA device, torch finds none: choose --device cpu or auto"])
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
