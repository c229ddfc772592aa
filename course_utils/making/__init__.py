"""What makers of the course run."""
