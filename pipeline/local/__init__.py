"""The whole service on one machine: `up` and `demo`, embedded servers, supervised processes."""
