"""The local stack: real servers from wheels, started, awaited and stopped together."""
