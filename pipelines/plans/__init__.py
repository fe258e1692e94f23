"""Treatment plans as time passes: which of them are over (``expire``)."""
