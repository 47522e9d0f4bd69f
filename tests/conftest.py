from __future__ import annotations

from hypothesis import settings

# No test fails because the machine was slow; and the same examples are tried each time.
settings.register_profile("trainctl", deadline=None, derandomize=True)
settings.load_profile("trainctl")
