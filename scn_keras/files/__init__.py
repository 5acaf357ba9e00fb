"""Image files, read through SimpleITK, which is imported where it is used."""

from scn_keras.files.read_image import read_image as read_image
