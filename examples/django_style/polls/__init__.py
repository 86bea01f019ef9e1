"""Polls, for people who come from Django: services, models, and nothing of a web framework."""
