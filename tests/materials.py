"""The variables that say which real images and weights there are for tests, and how many of them are used."""

# Real images for tests: packed sets with a script that unpacks them, beside the repository or where this variable
# says. They are not part of the project. Tests that want them are skipped without them, unless NEED is set.
REAL_IMAGES, NEED_REAL_IMAGES = "INCEPTION_LAB_REAL_IMAGES", "INCEPTION_LAB_NEED_REAL_IMAGES"

# The published GoogLeNet's weights: where INCEPTION_LAB_WEIGHTS says, as for the library, or beside the real images.
WEIGHTS = "INCEPTION_LAB_WEIGHTS"

# What takes minutes is done with all images if this is set, else with a part of them.
WHOLE_SETS = "INCEPTION_LAB_WHOLE_SETS"
