"""Run the fault suite: `python -m tests.faults`."""

import sys

from tests.faults.suite import main

sys.exit(main())
