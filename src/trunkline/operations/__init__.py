"""Steps that change or watch the world; DVC must never skip them, so they are not in dvc.yaml."""
