"""Words and texts of the tools that people know, without a device or a datapath behind them.

Enters: values, or the words of a command line. Leaves: text equal to the original tool's, or values.
"""
