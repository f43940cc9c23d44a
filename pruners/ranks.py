"""Moved: `python -m pruners.ranks` is `tacotune replay --correlations` now."""

import sys

if __name__ == "__main__":
    print("pruners.ranks moved: type `tacotune replay --correlations`, with --not-sick for --speaking", file=sys.stderr)
    sys.exit(2)
