"""How the property tests of this folder run."""

from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong; and nothing is left in the working tree.
settings.register_profile("dialects", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dialects")
