"""Settings that are Python: DVC reads them as parameters too."""

EVAL_BATCH_SIZE = 256
