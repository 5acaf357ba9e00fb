"""The 37 landmarks of a left hand, as in the Digital Hand Atlas."""

from scn_keras.landmark_schema import LandmarkSchema

# In the order of the atlas, which has no names. These names are the structures at the
# points in radiographs of a child and of an adult. All hands are left hands, so that no
# landmarks are exchanged in a mirror image.
HAND_SCHEMA = LandmarkSchema(
    names=(
        "ulna, ulnar edge",
        "ulnar styloid",
        "ulna, radial edge",
        "radius, ulnar edge",
        "radius, radial edge",
        "radial styloid",
        "triquetrum",
        "lunate",
        "scaphoid",
        "hamate",
        "capitate",
        "trapezoid",
        "trapezium",
        "metacarpal 5 base",
        "metacarpal 4 base",
        "metacarpal 3 base",
        "metacarpal 2 base",
        "metacarpal 1 base",
        "thumb proximal base",
        "thumb distal base",
        "thumb tip",
        "index proximal base",
        "index middle base",
        "index distal base",
        "index tip",
        "middle proximal base",
        "middle middle base",
        "middle distal base",
        "middle tip",
        "ring proximal base",
        "ring middle base",
        "ring distal base",
        "ring tip",
        "little proximal base",
        "little middle base",
        "little distal base",
        "little tip",
    ),
    links=(
        (0, 1),  # ulna
        (1, 2),
        (3, 5),  # radius
        (5, 4),
        (6, 7),  # carpal bones: proximal row, distal row
        (7, 8),
        (9, 10),
        (10, 11),
        (11, 12),
        (17, 18),  # thumb
        (18, 19),
        (19, 20),
        (16, 21),  # index finger
        (21, 22),
        (22, 23),
        (23, 24),
        (15, 25),  # middle finger
        (25, 26),
        (26, 27),
        (27, 28),
        (14, 29),  # ring finger
        (29, 30),
        (30, 31),
        (31, 32),
        (13, 33),  # little finger
        (33, 34),
        (34, 35),
        (35, 36),
    ),
)
