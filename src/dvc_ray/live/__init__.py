"""What runs in the user's own training process: one import for a stage that uses Ray itself.

session     where this process is: project root, stage directory, storage (no Ray)
data        ``data_path``: a dep or out of the stage on this node
code        which files are the project's code
transport   ``init`` and ``fetch``: code and variables out to the workers, files home from storage
live        ``Live``: DVCLive on one process of many
stage_live  DVCLive that writes to the stage's directory from any working directory
away        data to workers on other nodes than the stage's, and their files home
away_live   ``Live`` there
credentials keys of the remote for Ray's own storage
silent      what ``Live`` is everywhere else
train, tune which process of Ray Train, which trial of Ray Tune, is this?
"""
