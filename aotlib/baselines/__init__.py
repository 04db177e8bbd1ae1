r"""The methods that AOT-GAN's paper compares with, one file each, with the layers and losses of its own paper.

Taught in notebook 07.
"""
