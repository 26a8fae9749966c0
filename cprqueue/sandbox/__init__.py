"""Local RestorationManager and QuickBooks Time servers to try the system on.

They keep the rules of the documentation, and are strict where it refuses; what is not
known about the real services is a switch (``Switches``). Everything is in memory.
"""
