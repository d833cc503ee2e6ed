"""Images: data tiers, folders, photographs, augmentation and crops."""
