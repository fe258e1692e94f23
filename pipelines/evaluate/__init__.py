"""Counting and scoring measured against recordings with human labels. Not part of any running service."""
