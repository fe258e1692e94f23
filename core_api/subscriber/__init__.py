"""The bus subscriber: writes what the finaliser announced into the metrics tables and the exercise log.

``apply`` is one event in one transaction; ``runner`` is the loop around the bus. Not here: HTTP, computing anything.
"""
