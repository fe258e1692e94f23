"""Video engagement and quality of experience from player events. Pure; no I/O."""
