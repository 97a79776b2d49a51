"""The toy is a project of its own: `tests/core/test_thirdparty.py` installs it and runs its tests from outside."""

collect_ignore = ["qvec_toy"]
