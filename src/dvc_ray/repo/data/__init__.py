"""Where DVC finds the data of a run: on a disk that all machines share, or in a remote."""
