"""A stand-in for Wiro over real HTTP, with faults on request. It imports nothing of the service but `errors`."""
