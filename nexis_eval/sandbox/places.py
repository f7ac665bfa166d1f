"""Where things are in a sandbox that both its first process and the engine must know. Imports nothing."""

JOBSERVER_AT = "/in/jobserver"
"""The fifo of job tokens."""

HOST_NAME = "nexis"
"""What every build sees as the machine's name, unless ``repro check`` wants another one."""
