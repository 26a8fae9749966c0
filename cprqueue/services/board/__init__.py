"""What the pages of the board show: one call each, from the database alone, as frozen values.

They hold names and addresses: they are for the page that asked, never for a log.
"""
