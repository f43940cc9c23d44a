"""Show a study in TensorBoard: `python -m objective.tensorboard`, the same as `tacotune tensorboard`."""

import sys

from objective.runtime.cli import Command, add_view
from objective.settings.views import VIEWS

VIEW = VIEWS["tensorboard"]
COMMAND = Command(VIEW.name, VIEW.program, VIEW.about, add_view)
main = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
