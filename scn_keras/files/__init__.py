"""Image files and files of landmark points.

SimpleITK is imported when an image file is opened.
"""

from scn_keras.files.image_header import ImageHeader as ImageHeader
from scn_keras.files.point_set import PointSet as PointSet
from scn_keras.files.read_image import read_image as read_image
from scn_keras.files.read_image_header import read_image_header as read_image_header
from scn_keras.files.read_points import read_point_sets as read_point_sets
from scn_keras.files.read_points import read_points as read_points
from scn_keras.files.write_points import write_points as write_points
