"""Measure a voice on held-out sentences, beside their recordings."""
