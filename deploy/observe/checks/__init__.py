"""What `hitline doctor` looks at, a file a part."""
