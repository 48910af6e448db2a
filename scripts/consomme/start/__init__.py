"""Starting points: a checkpoint from the hub, a folder, or random weights become a model folder."""
