"""The service: jobs, the tasks that run them, and what both need."""
