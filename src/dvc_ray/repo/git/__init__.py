"""Git: its work tree, its objects, and copies of its state."""
