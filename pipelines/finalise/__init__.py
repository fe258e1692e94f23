"""The finaliser: load -> compute -> seal -> publish, and the sweep that closes silent sessions."""
