"""One module for each screen; what they show is made without a terminal."""
