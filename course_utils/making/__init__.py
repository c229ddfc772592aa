"""Tools for the course's makers."""
