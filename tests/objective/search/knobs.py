"""Dotted names of the knobs that repairs change, and settings that make every trial sick."""

RATE, CLIP, WARMUP, DECAY = (f"training.{name}" for name in ("learning_rate", "clip_norm", "warmup_share", "weight_decay"))
GUIDED, GATE, R = "loss.guided_weight", "loss.gate_positive_weight", "network.reduction"
DROP = "network.drop_frame_rate"
PRENET, ATTENTION, DECODER = (f"network.{name}_dropout" for name in ("prenet", "attention", "decoder"))

# Levels that no young network meets: every trial is pruned by the rule `diagonality` at its second report.
LEVELS = """
health: {diagonality: {warmup_share: 0.3, patience_share: 0, warn: 1, critical: 0.99}, no_alignment: {warmup_share: 0.9}}
loss: {guided_weight: 1}
"""
