"""The verbs: one click command and one DVC stage per file. dvc.yaml shows how they fit together."""
