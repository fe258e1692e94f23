"""Durable landing on a node's disk: write-ahead log, per-session spool, recovery, and the finaliser's reader."""
