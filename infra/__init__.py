"""Where the system runs: migrations, the local stack, and the ``restartix`` command line."""
