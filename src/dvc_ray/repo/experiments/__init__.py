"""Experiments, made with DVC's own machinery."""
