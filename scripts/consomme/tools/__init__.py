"""The tools of those who develop and publish: pages of results, a gallery of augmentations."""
