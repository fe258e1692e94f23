"""The operator's assets, jobs, schedules, sensors and checks, one subject a module."""
