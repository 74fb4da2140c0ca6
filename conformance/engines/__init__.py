"""CONF-1 to CONF-5: engines against the reference, teacher-forced and free-running."""
