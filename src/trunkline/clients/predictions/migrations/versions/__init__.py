"""One module a step; a released step is never changed, the next one is added."""
