"""The HTTP interface: validate, convert, nothing else."""
