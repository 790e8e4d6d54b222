"""An experiment: run apart from the workspace, saved as a commit, then applied if nobody has worked there."""
