"""What the tests of `audit` share."""

from hypothesis import settings

# On a busy machine a single example may take long; how fast the code is, is not measured here.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
