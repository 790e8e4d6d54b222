"""One stage: its description for a worker, and DVC's own ``Stage.run``, on the head and on a worker."""
