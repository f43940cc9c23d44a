"""Define every setting of one training run, with its unit and its default. Frozen, closed, and free of torch.

Four groups: `Audio` (wave -> mel), `Network` (sizes and dropouts), `Loss` (weights of the terms), `Training` (the optimiser).
A search space names a setting by its dotted path, for example `loss.guided_weight`; only settings of `Network`, `Loss` and
`Training` can be searched. The defaults are NVIDIA's Tacotron 2 sizes (28,193,153 parameters with English text at r = 1).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar


def _check(*rules: tuple[bool, str]) -> None:
    """Raise ValueError with the messages of all broken (holds, message) rules."""
    broken = [message for holds, message in rules if not holds]
    if broken:
        raise ValueError("; ".join(broken))


def _share(owner: object, *names: str) -> list[tuple[bool, str]]:
    """Return the rules that the fields `names` are shares in [0, 1)."""
    values = ((name, getattr(owner, name)) for name in names)
    return [(0 <= value < 1, f"{name} is a share, need 0 <= {name} < 1, got {value}") for name, value in values]


def _positive(owner: object, *names: str) -> list[tuple[bool, str]]:
    """Return the rules that the fields `names` are positive."""
    values = ((name, getattr(owner, name)) for name in names)
    return [(value > 0, f"need {name} > 0, got {value}") for name, value in values]


@dataclass(frozen=True, slots=True)
class Audio:
    """The analysis of a wave into a log-mel. The defaults equal NVIDIA/tacotron2's (librosa mel, magnitude, natural log)."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    rate_hz: int = 22_050
    fft_samples: int = 1_024
    hop_samples: int = 256  # 11.6 ms
    window_samples: int = 1_024
    mel_bands: int = 80
    fmin_hz: float = 0.0
    fmax_hz: float = 8_000.0
    floor: float = 1e-5  # magnitudes are clamped here before the logarithm: silence is -11.51

    def __post_init__(self) -> None:
        _check(
            *_positive(self, "rate_hz", "fft_samples", "hop_samples", "window_samples", "mel_bands", "floor"),
            (
                0 <= self.fmin_hz < self.fmax_hz <= self.rate_hz / 2,
                f"need 0 <= fmin_hz < fmax_hz <= rate_hz / 2, got fmin_hz={self.fmin_hz}, fmax_hz={self.fmax_hz}, "
                f"rate_hz={self.rate_hz}: at this rate fmax_hz can be at most {self.rate_hz // 2}",
            ),
            (
                self.window_samples <= self.fft_samples,
                f"need window_samples <= fft_samples, got {self.window_samples} > {self.fft_samples}",
            ),
        )

    def frames(self, samples: int) -> int:
        """Return the mel frames of a wave of `samples` samples: the STFT is centred, so one more than the complete hops."""
        return 1 + samples // self.hop_samples


@dataclass(frozen=True, slots=True)
class Network:
    """Sizes (numbers of features) and dropout probabilities of Tacotron 2 (arXiv:1712.05884, section 2.2)."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    reduction: int = 1  # r: mel frames that one decoder step emits
    embedding: int = 512
    encoder: int = 512  # convolution channels, and both directions of the LSTM together
    encoder_convolutions: int = 3
    encoder_kernel: int = 5  # symbols
    prenet: int = 256
    attention_rnn: int = 1_024
    decoder_rnn: int = 1_024
    attention: int = 128
    location_filters: int = 32
    location_kernel: int = 31  # symbols
    postnet: int = 512
    postnet_convolutions: int = 5
    postnet_kernel: int = 5  # frames
    standardise: bool = True  # mels in units of the corpus's mean and deviation; false: raw log-mels, as in NVIDIA's code
    encoder_dropout: float = 0.5
    prenet_dropout: float = 0.5  # on in training, validation and synthesis alike
    drop_frame_rate: float = 0.0  # share of the teacher's frames that training replaces by the mean frame (arXiv:1909.01145)
    attention_dropout: float = 0.1  # on the attention LSTM's state
    decoder_dropout: float = 0.1  # on the decoder LSTM
    decoder_dropout_mode: str = "outputs"  # outputs: on its outputs only; state: on its recurrent state, too, as NVIDIA does
    postnet_dropout: float = 0.5
    recurrence: str = "auto"  # how the attention loop is computed: reference | deferred | cuda; auto: cuda on a GPU with Triton

    def __post_init__(self) -> None:
        _check(
            *_positive(self, "reduction", "embedding", "encoder", "encoder_convolutions", "prenet", "attention_rnn"),
            *_positive(self, "decoder_rnn", "attention", "location_filters", "postnet"),
            *_share(self, "encoder_dropout", "prenet_dropout", "attention_dropout", "decoder_dropout", "postnet_dropout"),
            (
                0 <= self.drop_frame_rate <= 1,
                f"drop_frame_rate is a share, need 0 <= drop_frame_rate <= 1, got {self.drop_frame_rate}",
            ),
            (self.encoder % 2 == 0, f"encoder is shared by two directions, need an even number, got {self.encoder}"),
            (self.postnet_convolutions >= 2, f"need postnet_convolutions >= 2, got {self.postnet_convolutions}"),
            *(
                (value > 0 and value % 2 == 1, f"need an odd {name} > 0, got {value}")
                for name, value in (
                    ("encoder_kernel", self.encoder_kernel),
                    ("location_kernel", self.location_kernel),
                    ("postnet_kernel", self.postnet_kernel),
                )
            ),
            (
                self.decoder_dropout_mode in ("outputs", "state"),
                f"decoder_dropout_mode is one of outputs, state; got {self.decoder_dropout_mode!r}",
            ),
            (
                self.recurrence in ("auto", "reference", "deferred", "cuda"),
                f"recurrence is one of auto, reference, deferred, cuda; got {self.recurrence!r}",
            ),
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """The weights of the loss terms. None of them enters the score of a trial."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    gate_weight: float = 1.0
    gate_positive_weight: float = 5.0  # weight of an utterance's one stop step, relative to every other step
    guided_weight: float = 1.0  # 0 switches guided attention off (arXiv:1710.08969, section 4)
    guided_sigma: float = 0.4  # width of the unpenalised diagonal band, as a share of the utterance
    guided_until: float = 0.5  # validation alignment_score (focus * reading) from which the guided weight starts to decay
    guided_halflife_share: float = 0.25  # half-life of the decay, as a share of the frame budget

    def __post_init__(self) -> None:
        _check(
            *_positive(self, "gate_weight", "gate_positive_weight", "guided_sigma", "guided_halflife_share"),
            (self.guided_weight >= 0, f"need guided_weight >= 0 (0 is off), got {self.guided_weight}"),
        )


@dataclass(frozen=True, slots=True)
class Training:
    """The optimiser (Adam with coupled weight decay, as the published recipes use it) and its schedule."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    batch_size: int = 64  # utterances
    batch_frames: int = 0  # mel frames, padding counted: above 0, as many utterances as fit instead of batch_size
    learning_rate: float = 1e-3
    schedule: str = "constant"  # after the warm-up: constant | cosine (to 0 at the budget's end) | noam (1 / sqrt)
    warmup_share: float = 0.02  # share of the frame budget in which the rate rises linearly from 0
    weight_decay: float = 1e-6
    clip_norm: float = 1.0  # of the unscaled gradient, over all parameters
    adam_epsilon: float = 1e-6
    average: float = 0.0  # decay, in an update, of averaged weights that are judged beside the last ones, as 0.999; 0: none
    precision: str = "auto"  # auto | fp32 | bf16 | fp16; auto: bf16 where the device has it, else fp16 on a GPU, fp32 on a CPU

    def __post_init__(self) -> None:
        _check(
            *_positive(self, "batch_size", "learning_rate", "clip_norm", "adam_epsilon"),
            *_share(self, "warmup_share", "average"),
            (self.batch_frames >= 0, f"need batch_frames >= 0 (0: batches of batch_size utterances), got {self.batch_frames}"),
            (self.weight_decay >= 0, f"need weight_decay >= 0, got {self.weight_decay}"),
            (
                self.schedule in ("constant", "cosine", "noam"),
                f"schedule is one of constant, cosine, noam; got {self.schedule!r}",
            ),
            (
                self.schedule != "noam" or self.warmup_share > 0,
                "schedule noam falls from the end of the warm-up: need warmup_share > 0, got 0",
            ),
            (
                self.precision in ("auto", "fp32", "bf16", "fp16"),
                f"precision is one of auto, fp32, bf16, fp16; got {self.precision!r}",
            ),
        )


@dataclass(frozen=True, slots=True)
class Config:
    """One trial's configuration: the trainer's input, and the content of `config.yaml` next to the trial's results."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    audio: Audio = field(default_factory=Audio)
    network: Network = field(default_factory=Network)
    loss: Loss = field(default_factory=Loss)
    training: Training = field(default_factory=Training)


SEARCHABLE = ("network", "loss", "training")

# The changes of each profile to the defaults above. `full` is NVIDIA's network; `demo` learns to say the built-in sentences in
# some minutes on a CPU core, as needed for a first look, the tests and the recorded curves.
PROFILES: dict[str, dict[str, Any]] = {
    "full": {},
    "demo": {
        "network.reduction": 3,
        "network.embedding": 128,
        "network.encoder": 128,
        "network.prenet": 64,
        "network.attention_rnn": 256,
        "network.decoder_rnn": 256,
        "network.attention": 64,
        "network.postnet": 128,
        "network.postnet_convolutions": 3,
        "network.drop_frame_rate": 0.5,
        "training.batch_size": 4,
        "training.learning_rate": 2e-3,
        "loss.guided_weight": 5.0,
        "loss.guided_sigma": 0.2,
    },
}
