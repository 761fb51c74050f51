"""Long runs that try to break what strangers reach: ``python -m soak``; their short forms are tests.

``docs/reliability.md`` has their figures and how to repeat them.
"""
