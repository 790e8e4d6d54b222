"""What runs in the user's own training process, in a stage that uses Ray itself.

session     where this process is: project root, stage directory, storage (no Ray)
data        ``data_path``: a dep or out of the stage on this node
code        which files are the project's code
transport   ``init`` and ``fetch``: code and variables to the workers, files from storage to the stage
live        ``Live``: DVCLive in one process of many
stage_live  DVCLive that writes to the stage's directory from any working directory
remote      the stage's data to workers on other nodes, and their files back to the stage
remote_live ``Live`` on those nodes
credentials keys of the remote for Ray's own storage
noop        ``Live`` in the processes that do not log
train, tune which worker of Ray Train, which trial of Ray Tune this process is
"""
