"""Looking at a running instance: `hitline doctor`."""
