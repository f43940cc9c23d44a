"""A voice over HTTP: the program of `serve` (objective/serve.py)."""
