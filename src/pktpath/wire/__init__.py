"""Wire formats: where each field lies and what a frame's bytes prove.

Enters: bytes of a frame that nobody has looked at. Leaves: the offset columns of its descriptor,
filled by `parse`, which is the only judge of lengths: every later load lies inside what it proved.
One protocol a file, each a page of named offsets. Nothing here changes a byte.
"""
