"""Moved: `python -m storage.prune` is `tacotune cleanup` (or `python -m storage.cleanup`) now."""

import sys

if __name__ == "__main__":
    sys.exit("storage.prune was renamed: type `tacotune cleanup` or `python -m storage.cleanup` with the same arguments")
