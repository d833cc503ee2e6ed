"""The ground floor, for the other packages alone: arguments, files that are whole or not there, seeds, the terminal.

Nothing here knows of networks or images.
"""
