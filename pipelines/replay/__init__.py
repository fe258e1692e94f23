"""The replay blob: which accepted batches count, in which order, and where each one starts in the object."""
