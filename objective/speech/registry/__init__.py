"""Versions of a voice in MLflow's model registry, and which of them is served."""
