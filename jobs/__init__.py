"""What RQ workers run: one module for each job, named after it, and the code that only jobs share.

`table` lists the jobs, `context` wires the clients, `outcomes` decides what a post or a poll means and `transitions`
applies it. This package may import everything in `pipeline` except `cli`, `web`, `doctor` and `local`.
"""
