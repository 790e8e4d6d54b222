"""An experiment: run outside of the workspace, saved as a commit, then applied if the workspace has not changed."""
