"""Files that a stage may read without declaring them: code and ignored files; also deps of unknown origin."""
