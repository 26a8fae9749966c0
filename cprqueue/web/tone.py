"""Pure: the colour in which a word is shown; what it says stands in the word itself."""

from __future__ import annotations

TONES = {
    "in step": "well",
    "done": "well",
    "archived": "well",
    "restored": "well",
    "parked": "wrong",
    "failed": "wrong",
    "inactive": "idle",
    "stopped": "idle",
    "dropped": "idle",
}


def tone(_page: object, word: str) -> str:
    """Return the class of a state: well, wrong, idle, or waits where something goes on."""
    return TONES.get(word, "waits")
