"""What the measurements of the service, its soak and its tests share: a service in a process, and a small client."""
