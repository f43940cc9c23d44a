"""Moved: `python -m pruners.ranks` is `tacotune replay --correlations` now."""

import sys

if __name__ == "__main__":
    sys.exit(
        "pruners.ranks was moved: type `tacotune replay --correlations` or `python -m pruners.replay --correlations` "
        "with the same arguments, and --stopping-only for --speaking"
    )
