"""The list of what is inside the trainer's image, as CycloneDX describes one. Not a part of the image."""
