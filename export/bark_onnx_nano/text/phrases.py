"""Everyday sentences from templates: what people type into a speech synthesizer and WordNet does not have."""

from collections.abc import Callable
from random import Random

NAMES = (
    "Alice Anna Adam Alex Ben Bob Brian Carol Charles Chris Clara Daniel David Diana Edward Ella Emily Emma Eric "
    "Eve Frank Fred George Grace Hannah Harry Helen Henry Jack James Jane Jason John Julia Karen Kate Kevin Laura"
    " Leo Linda Lisa Lucy Mark Maria Martin Mary Max Michael Mike Nancy Nick Nora Oliver Oscar Paul Peter Rachel "
    "Robert Rose Sam Sarah Simon Sophie Steve Susan Suno Thomas Tim Tom Tony Victor William Smith Jones Brown "
    "Miller Davis Wilson Taylor"
).split()
PLACES = (
    "London Paris Berlin Rome Madrid Vienna Boston Chicago Denver Dallas Houston Seattle Miami Toronto Sydney "
    "Tokyo Moscow Cairo Delhi Dublin Oslo Prague Athens Lisbon Geneva America England France Germany Italy Spain "
    "Canada Australia India China Japan Russia Africa Europe Asia Texas Florida California Washington"
).split()
MONTHS = "January February March April May June July August September October November December".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
THINGS = (
    "book car house phone door window table chair computer letter dog cat horse bird tree flower garden river "
    "mountain road street city school office kitchen room bed picture song story movie game ball box bag coat hat"
    " shoe shirt dress ring watch clock lamp key knife cup glass plate bottle apple orange banana cake bread "
    "cheese egg fish chicken soup salad pizza sandwich coffee tea water milk juice beer wine sugar salt train bus"
    " plane boat bicycle ticket newspaper magazine camera radio guitar piano question answer problem idea plan "
    "reason project program model voice machine engine battery sentence language number word message meeting "
    "lesson test doctor teacher student"
).split()
KINDS = (
    "old new big small good bad long short red blue green white black yellow hot cold warm cool dark light fast "
    "slow beautiful ugly happy sad angry quiet loud easy hard difficult simple strange famous important "
    "interesting cheap expensive clean dirty empty full heavy strong weak rich poor young little great large nice"
    " lovely broken"
).split()
ACTIONS = (
    "go come stay leave wait walk run drive swim read write sing dance play work study learn teach sleep eat "
    "drink cook talk listen speak laugh cry smile think know understand remember forget try help start stop "
    "finish continue buy sell pay open close watch look see hear feel ask answer call visit travel win lose build"
    " break fix clean wash"
).split()
PEOPLE = (
    "I;you;we;they;my friend;my mother;my father;my brother;my sister;the teacher;the doctor;everyone;nobody;the "
    "children;our neighbors;the old man;the young woman;the boy;the girl;his wife;her husband;the people"
).split(";")
WHENS = (
    "today;tomorrow;yesterday;tonight;this morning;this afternoon;this evening;next week;last year;every "
    "day;right now;in the morning;at night;before breakfast;after lunch;on the weekend;two days ago;in a few "
    "minutes;all the time"
).split(";")
WHERES = (
    "at home;in the kitchen;at school;in the office;on the table;under the bed;near the river;in the park;at the "
    "station;in the city;behind the house;across the street;by the sea;in the garden;on the train;over there"
).split(";")

EVERYDAY = (
    "Hello!;Hello there.;Good morning.;Good morning, everyone.;Good afternoon.;Good evening.;Good night.;How are "
    "you?;How are you today?;I am fine, thank you.;Thank you very much.;Thanks a lot.;You are welcome.;Please "
    "come in.;Nice to meet you.;See you later.;See you tomorrow.;Goodbye.;Have a nice day.;I am sorry.;Excuse me,"
    " please.;What is your name?;Where are you from?;What time is it?;I don't know.;I don't understand.;Of "
    "course.;No problem.;Yes, please.;No, thank you.;That's a good idea.;I think so.;It doesn't matter.;Let's "
    "go!;Be careful!;Well done!;Happy birthday!;Congratulations!;Welcome to the show.;Welcome home.;This is a "
    "test.;This is only a test.;One, two, three, four, five.;Testing, one, two, three.;Can you hear me?;I can't "
    "hear you.;Speak more slowly, please.;Once upon a time, there was a little girl.;To be, or not to be, that is"
    " the question.;Well, that's all for today.;The quick brown fox jumps over the lazy dog.;It was a dark and "
    "stormy night.;I love you.;Hurry up!;Wait a minute.;Text to speech.;Speech synthesis.;This is a synthetic "
    "voice.;I'm a small model, but I can speak.;It's a beautiful day."
).split(";")


def phrase(random: Random) -> str:
    """Return one sentence from a random template."""
    text = random.choice(_TEMPLATES)(random)
    return text[0].upper() + text[1:]


def number(random: Random) -> str:
    """Return a number in digits; small numbers are the most frequent."""
    size = random.choice((10, 20, 100, 100, 1000, 10_000, 1_000_000))
    value = random.randrange(size)
    return f"{value:,}" if random.random() < 0.5 else str(value)


def date(random: Random) -> str:
    month, day, year = random.choice(MONTHS), random.randint(1, 31), random.randint(1700, 2050)
    return random.choice(
        (f"{month} {day}, {year}", f"{month} {day}", f"{month} {year}", str(year), f"the {ordinal(day)}")
    )


def ordinal(value: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{value}{'th' if 10 < value % 100 < 14 else endings.get(value % 10, 'th')}"


def time(random: Random) -> str:
    hour, minute = random.randint(1, 12), random.choice((10, 15, 20, 30, 45, random.randint(10, 59)))
    return random.choice((f"{hour}:{minute}", f"{hour} o'clock", f"half past {hour}", f"{hour} in the morning"))


def _a(singular: str) -> str:
    """Return a noun with its indefinite article."""
    return f"an {singular}" if singular[0] in "aeiou" else f"a {singular}"


def _from(items: tuple[str, ...] | list[str]) -> Callable[[Random], str]:
    return lambda random: random.choice(items)


_name, _place, _day, _thing = _from(NAMES), _from(PLACES), _from(DAYS), _from(THINGS)
_kind, _action, _person, _when, _where = _from(KINDS), _from(ACTIONS), _from(PEOPLE), _from(WHENS), _from(WHERES)

_TEMPLATES: tuple[Callable[[Random], str], ...] = (
    lambda r: f"Hello, my name is {_name(r)}, and I like {_thing(r)}.",
    lambda r: f"Hello {_name(r)}, how are you {_when(r)}?",
    lambda r: f"My name is {_name(r)} and I live in {_place(r)}.",
    lambda r: f"{_name(r)} and {_name(r)} went to {_place(r)} {_when(r)}.",
    lambda r: f"{_name(r)} was born in {_place(r)} on {date(r)}.",
    lambda r: f"The meeting is on {_day(r)}, {date(r)}, at {time(r)}.",
    lambda r: f"It is {time(r)} on {_day(r)}.",
    lambda r: f"The train to {_place(r)} leaves at {time(r)}.",
    lambda r: f"There are {number(r)} {_thing(r)}s {_where(r)}.",
    lambda r: f"{number(r)} and {number(r)} make {number(r)}.",
    lambda r: f"Please call {number(r)} {number(r)} {number(r)}.",
    lambda r: f"It costs ${r.randint(1, 500)}, which is {r.randint(1, 99)}% more than before.",
    lambda r: f"We need {number(r)} more {_thing(r)}s.",
    lambda r: f"In {r.randint(1800, 2040)}, {_person(r)} had {_a(_kind(r))} {_thing(r)}.",
    lambda r: f"I would like {_a(_thing(r))} and {_a(_kind(r))} {_thing(r)}, please.",
    lambda r: f"{_person(r)} will {_action(r)} {_when(r)}.",
    lambda r: f"{_person(r)} wanted to {_action(r)} and {_action(r)} {_where(r)}.",
    lambda r: f"can {_person(r)} {_action(r)} {_where(r)}?",
    lambda r: f"why did {_person(r)} {_action(r)} {_when(r)}?",
    lambda r: f"where is the {_kind(r)} {_thing(r)}?",
    lambda r: f"the {_thing(r)} is {_kind(r)}, but the {_thing(r)} is {_kind(r)}.",
    lambda r: f"the {_kind(r)} {_thing(r)} was {_where(r)} {_when(r)}.",
    lambda r: f"{_person(r)} found {_a(_kind(r))} {_thing(r)} {_where(r)}.",
    lambda r: f"if you {_action(r)} {_when(r)}, {_person(r)} will {_action(r)} too.",
    lambda r: f"don't {_action(r)} the {_thing(r)}, {_name(r)}!",
    lambda r: f"I think that {_person(r)} should {_action(r)} the {_kind(r)} {_thing(r)}.",
    lambda r: f"{_when(r)}, {_person(r)} could not {_action(r)} because of the {_thing(r)}.",
    lambda r: f"{_name(r)} said that the {_thing(r)} was too {_kind(r)} to {_action(r)}.",
    lambda r: f"{_thing(r)}, {_thing(r)}, and {_thing(r)}.",
    lambda r: f"he is {_kind(r)} and she is {_kind(r)}, but it isn't {_kind(r)}.",
    lambda r: f"I've never seen such {_a(_kind(r))} {_thing(r)}, have you?",
    lambda r: f"we're going to {_action(r)} {_where(r)}, and then we'll {_action(r)}.",
)
