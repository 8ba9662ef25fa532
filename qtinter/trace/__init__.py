"""Reading what the loops of a program did: recordings, and segments."""
