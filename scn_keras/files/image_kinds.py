"""How image files begin, by which they are recognised whatever their names are."""

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG"
BMP = b"BM"

# What an exported graph decodes, and browsers show.
DECODED_IN_GRAPH = (JPEG, PNG, BMP)
