"""``python -m qtinter.inspect`` is ``qtinter-inspect``."""

import sys

from .cli import main

sys.exit(main())
