"""The running kernel's own devices, asked and changed in the current network namespace.

Enters: the name of a device, a change. Leaves: values; nothing is kept between two calls. Where the kernel says
no, the error says what is missing: a device (BadInput), a privilege or the driver's support (Refused).
"""
