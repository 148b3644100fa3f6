"""Numbers that the model, the data and the exporter share."""

# Token ids: a byte is its own id, six special tokens follow.
BOS, EOU, IMAGE, FAKE, GLOBAL, PAD = range(256, 262)
SPECIALS = ["<|im_start|>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>", "<|pad|>"]
VOCAB = 264

TILE = 192  # side of the one picture tile, in pixels
PATCH = 8
SHUFFLE = 2
GRID = TILE // PATCH  # patches a side
SIDE = GRID // SHUFFLE  # image tokens a side
IMAGE_TOKENS = SIDE * SIDE

VISION = dict(width=192, layers=5, heads=3, ffn=768, eps=1e-6)
TEXT = dict(width=256, layers=4, heads=4, kv=2, ffn=704, eps=1e-5, theta=10000.0, positions=1024)

# Dense labels: a patch has one row of CELLS cells.
CELLS = 3
ROWS, COLS = GRID, GRID * CELLS
SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS = {
    "red": (214, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 220), "yellow": (245, 215, 30), "orange": (245, 130, 20),
    "purple": (135, 50, 170), "pink": (250, 130, 180), "black": (15, 15, 15), "white": (250, 250, 250), "brown": (120, 70, 30),
    "grey": (128, 128, 128),
}
FIRST_SHAPE = 96  # 0 is nothing, 1..95 the characters 32..126
NEEDLE, HUB, TIP = (FIRST_SHAPE + len(SHAPES) + i for i in range(3))
CLASSES = TIP + 1
MOST = 6  # shapes in a scene
IGNORE = 255
BINS = 64  # bins of a gauge's reading, as a share of its scale
