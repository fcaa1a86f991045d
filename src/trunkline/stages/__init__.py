"""Functions of files, run by DVC; each stage reads and writes exactly what dvc.yaml declares."""
