"""Moved: `python -m storage.prune` is `tacotune cleanup`."""

import sys

if __name__ == "__main__":
    print("storage.prune was renamed: type `tacotune cleanup` with the same arguments", file=sys.stderr)
    sys.exit(2)
