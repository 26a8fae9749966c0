"""``cprqueue demo``."""
def demo() -> None:
    """Demo."""
