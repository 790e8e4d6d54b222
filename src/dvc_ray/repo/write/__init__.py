"""What a run writes into a project: dvc.lock, .gitignore, dvc.yaml."""
