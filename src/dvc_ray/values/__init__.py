"""Frozen values that cross rooms; nothing else does.

Each is imported from its module: a run that finds nothing to do has no use for those of `task`, and a dataclass takes
half a millisecond to make.
"""
