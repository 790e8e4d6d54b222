"""The events of a run as one stream, and its readers: a table, lines, ``--json``, the file in the run's directory."""

from dvc_ray.events.stream import Listener, ReaderGoneError, Sink, Stream, Ticking

__all__ = ["Listener", "ReaderGoneError", "Sink", "Stream", "Ticking"]
