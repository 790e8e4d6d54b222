"""The events of a run as one stream, and what reads it: a table, lines, ``--json``, the file that is kept."""

from dvc_ray.events.stream import Listener, ReaderGoneError, Sink, Stream, Ticking

__all__ = ["Listener", "ReaderGoneError", "Sink", "Stream", "Ticking"]
