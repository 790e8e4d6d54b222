"""What a stage may read without declaring it: code, ignored files, deps from nowhere."""
