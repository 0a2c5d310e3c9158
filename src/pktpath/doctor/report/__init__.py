"""A diagnosis as text, as JSON and as a page.

Enters: a `Diagnosis`. Leaves: lines with styles for a terminal or a pipe, a dictionary whose keys stay, or one HTML file that
needs nothing else. All text of findings and evidence comes from outside: it may hold anything, and does nothing here.
"""
