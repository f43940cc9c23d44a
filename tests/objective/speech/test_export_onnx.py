"""The ONNX graphs, run by their description alone, say what the voice says; NVIDIA's checkpoint is the voice again."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.synthesis import SYNTHESIS_SEED, Synthesis, synthesise
from model.voice import Voice
from objective import export
from tests.conftest import tiny_config, tiny_network
from tests.model.test_voice import voice


def run_graphs(folder: Path, texts: list[list[int]], masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say texts as voice.json describes it; return the mel (B, F, M), the gates (B, T) and the alignments (B, T, N)."""
    onnxruntime = pytest.importorskip("onnxruntime")
    about = json.loads((folder / "voice.json").read_text(encoding="utf-8"))
    encoder, step, postnet = (onnxruntime.InferenceSession(str(folder / name)) for name in about["graphs"])
    lengths = np.array([len(text) for text in texts])
    ids = np.zeros((len(texts), lengths.max()), np.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    fixed = dict(zip(("memory", "keys", "padding"), encoder.run(None, {"ids": ids, "lengths": lengths}), strict=True))
    sizes = {"batch": len(texts), "symbols": ids.shape[1]}
    shapes = {name: about["graphs"]["decoder_step.onnx"]["inputs"][name]["shape"] for name in about["state"]}
    state = {name: np.zeros([sizes.get(size, size) for size in shape], np.float32) for name, shape in shapes.items()}
    limits = (about["stop"]["frames_per_symbol"] * lengths + about["stop"]["extra_frames"]) // about["reduction"]
    steps, frames, gates, alignments = limits.copy(), [], [], []
    while len(frames) < steps.max():
        made, gate, *new = step.run(None, fixed | state | {"masks": masks[len(frames)]})
        state = dict(zip(state, new, strict=True))
        frames.append(made)
        gates.append(gate)
        alignments.append(state["alignment"])
        steps = np.where((gate > about["stop"]["threshold"]) & (steps > len(frames)), len(frames), steps)
    before = np.stack(frames, 1).reshape(len(texts), -1, about["audio"]["mel_bands"])
    (mel,) = postnet.run(None, {"mel_before": before, "frame_lengths": steps * about["reduction"]})
    return mel, np.stack(gates, 1), np.stack(alignments, 1)


@pytest.mark.parametrize("reduction", [1, 2])
@pytest.mark.parametrize("gate_bias", [0.0, -9.0], ids=["stops", "runs to its limit"])
@pytest.mark.slow
def test_the_graphs_say_what_the_voice_says(tmp_path: Path, reduction: int, gate_bias: float) -> None:
    pytest.importorskip("onnx")
    own = voice(replace(tiny_config(reduction=reduction)), licence="CC0")
    with torch.no_grad():
        own.network.gate.bias += gate_bias
        own.network.mel_mean.fill_(-5.0)
        own.network.mel_std.fill_(2.0)
    path = own.save(tmp_path / "voice.pt")
    assert export.main(["--onnx", str(tmp_path / "graphs"), "--voice", str(path), "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "graphs/voice.json").read_text(encoding="utf-8"))["licence"] == "CC0"
    for texts in ([[5, 3, 9, 12, 7], [8, 2]], [[4]]):
        expected = spoken(own, texts)
        masks = own.network.prenet.draw(1_000, torch.Generator().manual_seed(SYNTHESIS_SEED)).numpy()
        mel, gate, alignment = run_graphs(tmp_path / "graphs", texts, masks)
        assert mel.shape[1] == expected.mel.shape[1]
        np.testing.assert_allclose(mel, expected.mel, atol=1e-4)
        for row, steps in enumerate(expected.step_lengths.tolist()):
            np.testing.assert_allclose(gate[row, :steps], expected.gate[row, :steps], atol=1e-4)
            np.testing.assert_allclose(alignment[row, :steps], expected.alignment[row, :steps], atol=1e-4)


def spoken(own: Voice, texts: list[list[int]]) -> Synthesis:
    lengths = torch.tensor([len(text) for text in texts])
    ids = torch.zeros(len(texts), int(lengths.max()), dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return synthesise(own.network, ids, lengths, completed_frames=None)


def test_without_the_package_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not (Path(entry) / "onnx").is_dir()])
    monkeypatch.delitem(sys.modules, "onnx", raising=False)
    assert export.main(["--onnx", str(tmp_path / "graphs"), "--voice", str(voice().save(tmp_path / "voice.pt"))]) == 2
    assert "pip install onnx" in capsys.readouterr().err
    assert not (tmp_path / "graphs").exists()


def nvidia_voice(**network: Any) -> Voice:
    return voice(replace(tiny_config(), network=tiny_network(embedding=12, standardise=False, **network)))


def test_nvidias_checkpoint_is_the_voice_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, path = nvidia_voice(prenet_dropout=0.25), tmp_path / "nvidia.pt"
    assert export.main(["--nvidia", str(path), "--voice", str(own.save(tmp_path / "voice.pt")), "--device", "cpu"]) == 0
    assert "this voice was trained with 25%" in capsys.readouterr().err
    weights = Voice.load(path).network.state_dict()
    for name, value in own.network.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["--nvidia", "{}/x.pt", "--voice", "{}/voice.pt"], "network.reduction 1, got 2"),
        (["--nvidia", "{}/no/x.pt", "--voice", "{}/voice.pt"], "in a folder that exists"),
        (["--onnx", "{}/voice.pt", "--voice", "{}/voice.pt"], "need a folder"),
        (["--nvidia", "{}/x.pt", "--voice", "{}/voice.pt", "--data", "."], "needs no recordings"),
        (["--csv", "{}/x.csv", "--voice", "first"], "name the study with --study"),
        (["--mels", "{}/mels", "--voice", "{}/gone.pt"], "need the file of a voice, got"),
    ],
)
def test_a_mistake_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: list[str], sentence: str) -> None:
    nvidia_voice(reduction=2).save(tmp_path / "voice.pt")
    assert export.main([word.replace("{}", str(tmp_path)) for word in line]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["voice.pt"]
