"""Renamed: `python -m storage.prune` is now `tacotune cleanup` (or `python -m storage.cleanup`)."""

import sys

if __name__ == "__main__":
    sys.exit("storage.prune was renamed: type `tacotune cleanup` or `python -m storage.cleanup` with the same arguments")
