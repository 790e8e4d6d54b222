"""DVC's remotes, and data that is known by its hashes."""
