"""The Telegram reporter: a reader of the study's storage in a process of its own (`python -m objective.telegram`)."""
