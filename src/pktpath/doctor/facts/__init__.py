"""What was seen: values, each with the place that says so.

A fact repeats what a tool printed, units and state words included, and judges nothing. Two facts of one kind with the same
scope and `key` are two looks at one thing: their difference over time is what most rules ask for.
"""
