"""What a run keeps: its directory, results that nobody has taken, logs in a remote."""
