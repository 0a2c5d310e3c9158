"""What is said to and by people and programs about the path: text as the tools of the field write it.

Enters: values of the rooms below. Leaves: strings, equal to the byte to those of ethtool, ovs-appctl and their
kind, and values read back from such words. Nothing here prints, and nothing here touches a device.
"""
