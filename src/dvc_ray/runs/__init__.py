"""What a run keeps: its directory, results that no driver has taken yet, logs in a remote."""
