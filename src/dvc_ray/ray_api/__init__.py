"""Ray's private API, which no other module of the package names (`tests/test_architecture.py`).

An API is private if Ray's reference does not document it: it may change with every release. Each function says in which
versions of Ray it was read, the oldest and the newest supported (2.54.0, 2.60.0), and what stops working without it.
`tests/test_ray_api.py` calls the functions on a Ray of either version; on the newest only, `tests/live` calls
`sessions` and `tests/test_closed.py` calls `tokens`. Where a public API does the same in both versions, callers use it.

The room knows nothing of dvc-ray. Ray is imported in the functions that need it: importing the room does not load it.

autoscaler  what Ray's autoscaler is doing
drivers     which drivers a cluster has
kv          the key-value store of the GCS
local_ray   a local Ray as processes: its options, its time-outs, what is alive
names       labels and resources that each node has
scheduling  a node to prefer
sessions    which worker of Ray Train, which trial of Ray Tune this process is
tokens      the token with which this process authenticates to a cluster
workers     facts about a process that Ray has started; the limit of what Ray uploads for it
"""
