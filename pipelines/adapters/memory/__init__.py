"""The ports in memory: for tests of what stands on a port, proved by the same contract suites as the real adapters."""
