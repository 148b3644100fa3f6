"""Questions in the wordings that people type."""

DESCRIBE = "Describe this image."
READ = [
    "Read the text.", "What does it say?", "Read this.", "Transcribe the text.", "What is written here?", "What does the text say?",
    "Read the text in the image.", "What text is in the picture?", "Please read this.", "Transcribe.", "What is the text?", "OCR",
    "Extract the text.", "What does this say?", "Write down what it says.", "Can you read this?", "What's written here?", "Read it to me.",
    "What words are in this image?", "Copy the text.", "What is printed here?", "What does the label say?", "What does the sign say?",
    "Please transcribe the text in this image.", "Tell me what it says.", "Read all the text.", "What can you read here?", "Text?",
    "What is written on it?", "Give me the text.", "What's the text in this picture?", "read the text", "what does it say",
]
DISPLAY = ["What does the display show?", "What number is shown?", "Read the display.", "What's on the display?", "What is the number?"]
DESCRIPTION = [
    DESCRIBE, DESCRIBE, DESCRIBE, DESCRIBE, "What is this?", "What do you see?", "What is in the picture?", "Describe the picture.", "What's in this image?",
    "Describe it.", "What is shown here?", "Caption this image.", "Can you describe this image?", "What does the image show?",
]
TOTAL = ["What is the total?", "How much is the total?", "What's the total?", "Total?", "What do I have to pay?", "How much in total?", "What is the total amount?"]
PRICE = ["How much is the {}?", "What does the {} cost?", "What is the price of the {}?", "Price of {}?", "How much for {}?"]
GAUGE = [
    "What value does the gauge show?", "What does the gauge show?", "What is the reading?", "Read the gauge.", "What's the value?", "What does the meter say?",
    "What is the needle pointing at?", "What does the dial show?", "Which value is shown?", "Gauge reading?", "What is the value on the meter?",
    "Read the meter.", "What does the needle show?", "How much does the gauge read?", "What value is shown?",
]
COUNT = ["How many {} are there?", "How many {}?", "How many {} are in the picture?", "Count the {}.", "How many {} do you see?", "How many {} can you see?",
         "What is the number of {}?", "Number of {}?", "Tell me how many {} there are."]
COLOUR = ["What colour is the {}?", "What color is the {}?", "What's the colour of the {}?", "What is the color of the {}?", "Which colour does the {} have?",
          "Colour of the {}?", "What color does the {} have?", "The {} is what color?", "What's the color of the {}?"]
SHAPE = ["What shape is the {} object?", "What is the {} object?", "What is the shape of the {} thing?", "Which shape is {}?", "What {} shape is there?",
         "What's the {} shape?", "What is {}?"]
RELATION = ["Is the {} {} the {}?", "Is the {} {} the {}?", "is there a {} {} the {}?", "Is the {} located {} the {}?"]
WHERE = ["Where is the {}?", "Where's the {}?", "In which part of the picture is the {}?", "Where is the {} in the image?", "Where can I find the {}?",
         "On which side is the {}?", "Location of the {}?"]
BACKGROUND = ["What colour is the background?", "What color is the background?", "What is the background color?", "Which colour is the background?"]
MAIN_COLOUR = ["What colour is this?", "What color is it?", "What is the main colour?", "What colour is the image?", "Which colour is it mostly?"]


def typed(r, question):
    """The question as somebody in a hurry types it, now and then."""
    k = r.random()
    if k < 0.10:
        question = question[:1].lower() + question[1:]
    if k < 0.06 or 0.12 < k < 0.16:
        question = question.rstrip("?.")
    if 0.16 < k < 0.19:
        question = question.upper()
    if 0.19 < k < 0.22 and len(question) > 8:  # two letters change places
        i = r.randrange(2, len(question) - 2)
        question = question[:i] + question[i + 1] + question[i] + question[i + 2 :]
    if 0.22 < k < 0.26:
        question = r.choice(["Please: ", "Hi, ", "Tell me: "]) + question
    return question


def ask(r, wordings, *parts):
    return typed(r, r.choice(wordings).format(*parts))
