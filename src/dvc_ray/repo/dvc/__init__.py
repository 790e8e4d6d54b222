"""What DVC raises, reads and keeps."""
