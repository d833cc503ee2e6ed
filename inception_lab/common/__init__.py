"""The ground floor, for the other packages alone: checks of arguments, files that are whole or not there, seeds.

Nothing here knows of networks or images.
"""
