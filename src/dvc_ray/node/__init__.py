"""A node that shares no disk with the head: its cache of objects, and the files that travel with a task."""
