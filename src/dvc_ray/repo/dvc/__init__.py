"""DVC's exceptions, the files that it reads, and the hashes and locks that it keeps."""
