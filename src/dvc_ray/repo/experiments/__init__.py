"""Experiments, by DVC's own machinery."""
