"""Celery tasks, one module for each queue's work."""
