"""Everything around one trial: the commands (files of this folder), and what they are made of (its folders)."""

import sys
from pathlib import Path

# `python -m objective.study` puts the current folder first among the places to import from. A user's own model.py or storage/
# there must not take the place of ours.
if not sys.flags.safe_path and sys.argv[:1] == ["-m"] and Path(sys.path[0]).resolve() != Path(__file__).parents[1]:
    del sys.path[0]
