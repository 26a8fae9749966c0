"""The verbs: fetch, record, push, resync, snapshot, prune, undo, explain.

Each is safe to run twice, late, out of order and at the same time on several hosts, and may be
killed at any line. They return what is next; the workers enqueue it.
"""
