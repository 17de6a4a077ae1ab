"""Makes the models that come with Laconic, and models like them from anybody's own texts. Not part of the wheel."""
