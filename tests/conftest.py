"""Shared by many tests: a tiny network, and speech that it learns in a moment."""

import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import settings

from model.config import Audio, Config, Loss, Network, Training
from model.data.loading import Example
from model.trainer import Speech

ALPHABET = tuple("_abcdefghijk")
BANDS, SYMBOLS = 8, len(ALPHABET)
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it, and their children would inherit that

settings.register_profile("busy", deadline=None)  # other processes may slow the tests down
settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that train whole studies first, so that no worker starts one of them when the others are done."""
    items.sort(key=lambda item: "objective" not in item.path.parts[-4:])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # on a busy machine two threads that wait for each other are slow


def tiny_network(**changes: object) -> Network:
    """Return sizes that are all small and all different, so that a mixed-up dimension shows."""
    sizes = {
        "embedding": 10,
        "encoder": 12,
        "encoder_convolutions": 2,
        "encoder_kernel": 3,
        "prenet": 6,
        "attention_rnn": 14,
        "decoder_rnn": 16,
        "attention": 5,
        "location_filters": 4,
        "location_kernel": 5,
        "postnet": 9,
        "postnet_convolutions": 3,
        "postnet_kernel": 3,
    }
    return Network(**{**sizes, **changes})  # type: ignore[arg-type]


def without_dropout(**changes: object) -> Network:
    """Return the tiny network without any dropout, apart from `changes`."""
    names = ("encoder_dropout", "prenet_dropout", "attention_dropout", "decoder_dropout", "postnet_dropout")
    return tiny_network(**{**dict.fromkeys(names, 0.0), **changes})


def tiny_config(**network: object) -> Config:
    return Config(
        audio=Audio(mel_bands=BANDS),
        network=tiny_network(**network),
        loss=Loss(),
        training=Training(batch_size=4, learning_rate=3e-3),
    )


def toy_examples(count: int, seed: int, least: int = 3, most: int = 9) -> list[Example]:
    """Draw utterances in which each symbol lasts three frames of its own fixed pattern, with a little noise."""
    sounds = np.random.default_rng(0).normal(size=(SYMBOLS, BANDS)).astype(np.float32)
    random = np.random.default_rng(seed)
    examples = []
    for _ in range(count):
        ids = random.integers(1, SYMBOLS, size=int(random.integers(least, most + 1)))
        mel = np.repeat(sounds[ids], 3, 0) + 0.1 * random.normal(size=(3 * len(ids), BANDS)).astype(np.float32)
        examples.append(Example(tuple(int(i) for i in ids), mel.astype(np.float32)))
    return examples


def toy_speech(train: int = 12, validation: int = 5) -> Speech:
    return Speech(toy_examples(train, 1), toy_examples(validation, 2), ALPHABET, 0.0, 1.0)
