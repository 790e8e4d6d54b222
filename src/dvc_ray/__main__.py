"""``python -m dvc_ray``."""

import sys

from dvc_ray.cli import main

sys.exit(main())
