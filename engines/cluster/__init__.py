"""Many machines: the service and runs of images on a Ray cluster. Needs the extra `ray`."""
