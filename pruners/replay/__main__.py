"""`python -m pruners.replay`: the same as `tacotune replay` (objective/replay.py)."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("objective.replay").main())
