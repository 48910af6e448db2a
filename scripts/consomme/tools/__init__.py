"""Tools for developers and for publishing: pages of results, a gallery of augmentations."""
