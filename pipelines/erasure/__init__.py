"""Erasing a patient: what goes, what is retained and why, and the certificate of it."""
