"""Frozen values; no others cross rooms.

Import each from its module: a run with nothing to do needs none of `task`, and each dataclass takes half a
millisecond to create.
"""
