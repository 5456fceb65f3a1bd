"""Large files between browser and session: uploads that go on after a cut, and fingerprints of what was carried.

It makes no rule of its own: whatever it opens it asks the contents manager's gate for.
"""
