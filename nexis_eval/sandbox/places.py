"""Where things are in a sandbox that both its first process and the engine must know. Imports nothing."""

JOBSERVER_AT = "/in/jobserver"
"""The fifo of job tokens."""
