"""Strings as they are printed: words, numbers, prices, dates, codes, lines, receipts."""
import numpy as np

from . import fonts

UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
UNITS = ["%", "kg", "km", "cm", "V", "mA", "MB", " bar", " C", " g", " ml", " km/h"]
EVERYDAY = (  # short words of signs, labels and screens, beside the dictionary
    "Total Open Closed Exit Push Pull Save Cancel OK Yes No Sale New Price Date Time Room Floor Gate Seat Row Platform Order Invoice Number Page Name "
    "Address Phone Email Password Login Sign in Settings Help About Menu File Edit View Search Home Back Next Stop Start Warning Danger Caution Hot Cold "
    "Water Milk Bread Eggs Coffee Tea Sugar Butter Cheese Apple Tax Cash Card Change Subtotal Discount Thank you Please wait here the of to and a in is it "
    "for on at by from with Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August September October "
    "November December north south east west left right street road avenue station bus train ticket only not error failed success download upload version"
).split()
ITEMS = (
    "Milk Bread Eggs Butter Cheese Apples Bananas Rice Pasta Coffee Tea Sugar Flour Juice Water Salad Soup Pizza Burger Fries Cake Cookies Chips Soap "
    "Paper Batteries Pen Notebook Tomato Onion Garlic Yogurt Ham Fish Chicken Beef Honey Jam Salt Pepper Oil Beer Wine Espresso Latte Muffin Bagel"
).split()


def digits(r, n):
    return "".join(r.choice("0123456789") for _ in range(n))


def date(r):
    form = r.choice(["{0}-{1}-{2}", "{2}/{1}/{0}", "{2}.{1}.{0}"])
    return form.format(r.randint(1950, 2039), f"{r.randint(1, 12):02}", f"{r.randint(1, 28):02}")


def price(r):
    return r.choice(["$", "$", "EUR ", ""]) + f"{r.randrange(10 ** r.randint(1, 4))}.{digits(r, 2)}"


def clock(r):
    return f"{r.randint(0, 23):02}:{r.randint(0, 59):02}"


def code(r):
    return "".join(r.choice(UPPER + "0123456789") for _ in range(r.randint(2, 8)))


def word(r, held_out=False):
    if not held_out and r.random() < 0.2:
        return r.choice(EVERYDAY)
    w, k = r.choice(fonts.words(held_out)), r.random()
    return w.upper() if k < 0.12 else w.capitalize() if k < 0.35 else w


def token(r, held_out=False):
    """One printed token."""
    k = r.random()
    if k < 0.62:
        return word(r, held_out) + (r.choice(",.:;!?") if r.random() < 0.12 else "")
    if k < 0.70:
        return str(r.randrange(10 ** r.randint(1, 6)))
    if k < 0.75:
        return price(r)
    if k < 0.79:
        return date(r)
    if k < 0.81:
        return clock(r)
    if k < 0.84:
        return f"{r.randrange(1000) / r.choice([1, 10])}" + r.choice(UNITS)
    if k < 0.90:
        return code(r)
    if k < 0.93:
        return r.choice(UPPER) + r.choice(UPPER) + "-" + digits(r, r.randint(2, 5))
    if k < 0.95:
        return r.choice(fonts.words(held_out)).lower().replace("'", "") + r.choice([".com", "@mail.org", ".txt", "_1", "/", "()"])
    if k < 0.97:
        inner = r.choice(fonts.words(held_out))
        return f"({inner})" if r.random() < 0.6 else f'"{inner}"'
    return "".join(chr(r.randint(33, 126)) for _ in range(r.randint(2, 7)))


def text_width(adv, s):
    return float(adv[np.frombuffer(s.encode(), np.uint8) - 32].sum())


def line(r, adv, width, fill, held_out=False, ntok=99):
    """Tokens joined by spaces until about `fill` of `width` pixels is used."""
    s, w = "", 0.0
    while ntok:
        ntok -= 1
        t = (" " if s else "") + token(r, held_out)
        tw = text_width(adv, t)
        if w + tw > width:
            if s:
                break
            t, tw = t[: max(1, int(len(t) * width / tw))], width
        s, w = s + t, w + tw
        if w > width * fill:
            break
    return s.strip()
