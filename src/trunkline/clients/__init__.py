"""The only code that touches the outside: files, processes, Git, DVC, models. No decisions."""
