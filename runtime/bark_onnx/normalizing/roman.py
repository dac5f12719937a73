"""Roman numerals that certainly are numbers, because of the word before them: "World War II", "Henry VIII"."""

NUMERAL = r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
HEADS = (
    r"\b(?:Chapter|Part|Volume|Book|Act|Scene|World War|Phase|Type|Section|Appendix|Article|Title|Grade|Stage|Class|"
    r"Super Bowl|Final Fantasy|Rocky|Star Wars|Episode|Vatican|Apollo|Olympiad|Level|Figure|Table)"
)
KINGS = (
    "Henry|Louis|George|Edward|Charles|Elizabeth|Richard|James|William|Philip|Francis|Frederick|Nicholas|Alexander|"
    "Catherine|Benedict|Pius|Innocent|Leo|Napoleon|Wilhelm|Ivan|Peter|Christian|Gustav|Harald|Margrethe|Mary|John Paul|"
    "Felipe|Umberto|Ramses|Rameses|Ptolemy|Darius|Urban|Gregory"
)
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}


def value(numeral: str) -> int:
    """The number that a numeral up to LXXXIX writes."""
    numbers = [_VALUES[letter] for letter in numeral]
    following = [*numbers[1:], 0]
    return sum(-number if number < after else number for number, after in zip(numbers, following, strict=True))
