"""One stage: what a worker needs to know of it, and DVC's own ``Stage.run``, on the head and on a worker."""
