"""AOT-GAN image inpainting: the method as a small library, taught notebook by notebook."""

__version__ = "0.1.0"
