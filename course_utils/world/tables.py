"""Tables of plain facts, from which the pre-training corpus of the tiny GPT-2 is generated.

``RELATIONS`` maps a relation to its facts, a list of (subject, object).  The facts are true; ``INVENTED`` has
the same form, but its names are made up and never occur in the corpus: they are for the lesson on what a
model says about things that it has never read about.

How a fact is written:

A subject is written as in the middle of a sentence, with its article where English needs one:
  'a fox', 'an owl', 'snow', 'the sky', 'the Netherlands', 'the Eiffel Tower', 'France'.  In
  ``opposite``, ``plural``, ``past_tense`` and ``next`` it is the plain word, in ``job`` the activity.
  An animal has the same subject in all relations.  No subject occurs twice in a relation.
* An object is bare: no article (the template adds it; ``TAKES_THE`` holds the country names that
  need 'the'), one to three words, lower case unless it is a name.
* British spelling, plain ASCII.

The tables were typed for this project, not copied from a data set.  ``proofread()`` returns the formal errors
that a program can find; run this file to see them and the number of facts in each relation.
"""

SubjectObject = tuple[str, str]


def _pairs(text: str) -> list[SubjectObject]:
    """'France: Paris; Italy: Rome' -> [('France', 'Paris'), ('Italy', 'Rome')]."""
    facts = []
    for item in text.split(";"):
        item = " ".join(item.split())
        if item:
            subject, obj = item.split(": ")
            facts.append((subject, obj))
    return facts


def _groups(text: str) -> list[SubjectObject]:
    """'euro: France, Italy; yen: Japan' -> [('France', 'euro'), ('Italy', 'euro'), ('Japan', 'yen')]."""
    return [(subject, obj) for obj, subjects in _pairs(text) for subject in subjects.split(", ")]


def _both(text: str) -> list[SubjectObject]:
    """'hot: cold' -> [('hot', 'cold'), ('cold', 'hot')]."""
    return [fact for a, b in _pairs(text) for fact in ((a, b), (b, a))]


RELATIONS: dict[str, list[SubjectObject]] = {}

# ---------------------------------------------------------------------------------------- countries

RELATIONS["capital"] = _pairs("""
Afghanistan: Kabul; Albania: Tirana; Algeria: Algiers; Andorra: Andorra la Vella; Angola: Luanda;
Argentina: Buenos Aires; Armenia: Yerevan; Australia: Canberra; Austria: Vienna; Azerbaijan: Baku;
the Bahamas: Nassau; Bahrain: Manama; Bangladesh: Dhaka; Barbados: Bridgetown; Belarus: Minsk;
Belgium: Brussels; Belize: Belmopan; Bhutan: Thimphu; Bosnia and Herzegovina: Sarajevo; Botswana: Gaborone;
Brazil: Brasilia; Brunei: Bandar Seri Begawan; Bulgaria: Sofia; Burkina Faso: Ouagadougou;
Cambodia: Phnom Penh; Cameroon: Yaounde; Canada: Ottawa; Cape Verde: Praia;
the Central African Republic: Bangui; Chad: N'Djamena; Chile: Santiago; China: Beijing; Colombia: Bogota;
Costa Rica: San Jose; Croatia: Zagreb; Cuba: Havana; Cyprus: Nicosia; the Czech Republic: Prague;
the Democratic Republic of the Congo: Kinshasa; the Republic of the Congo: Brazzaville; Denmark: Copenhagen;
the Dominican Republic: Santo Domingo; East Timor: Dili; Ecuador: Quito; Egypt: Cairo;
El Salvador: San Salvador; Eritrea: Asmara; Estonia: Tallinn; Ethiopia: Addis Ababa; Fiji: Suva;
Finland: Helsinki; France: Paris; Gabon: Libreville; the Gambia: Banjul; Georgia: Tbilisi; Germany: Berlin;
Ghana: Accra; Greece: Athens; Greenland: Nuuk; Grenada: Saint George's; Guatemala: Guatemala City;
Guinea: Conakry; Guinea-Bissau: Bissau; Guyana: Georgetown; Haiti: Port-au-Prince; Honduras: Tegucigalpa;
Hungary: Budapest; Iceland: Reykjavik; India: New Delhi; Indonesia: Jakarta; Iran: Tehran; Iraq: Baghdad;
Ireland: Dublin; Italy: Rome; Jamaica: Kingston; Japan: Tokyo; Jordan: Amman; Kazakhstan: Astana;
Kenya: Nairobi; Kuwait: Kuwait City; Kyrgyzstan: Bishkek; Laos: Vientiane; Latvia: Riga; Lebanon: Beirut;
Lesotho: Maseru; Liberia: Monrovia; Libya: Tripoli; Liechtenstein: Vaduz; Lithuania: Vilnius;
Madagascar: Antananarivo; Malawi: Lilongwe; Malaysia: Kuala Lumpur; the Maldives: Male; Mali: Bamako;
Malta: Valletta; Mauritania: Nouakchott; Mauritius: Port Louis; Mexico: Mexico City; Moldova: Chisinau;
Mongolia: Ulaanbaatar; Montenegro: Podgorica; Morocco: Rabat; Mozambique: Maputo; Myanmar: Naypyidaw;
Namibia: Windhoek; Nepal: Kathmandu; the Netherlands: Amsterdam; New Zealand: Wellington;
Nicaragua: Managua; Niger: Niamey; Nigeria: Abuja; North Korea: Pyongyang; North Macedonia: Skopje;
Norway: Oslo; Oman: Muscat; Pakistan: Islamabad; Panama: Panama City; Papua New Guinea: Port Moresby;
Paraguay: Asuncion; Peru: Lima; the Philippines: Manila; Poland: Warsaw; Portugal: Lisbon; Qatar: Doha;
Romania: Bucharest; Russia: Moscow; Rwanda: Kigali; Saint Lucia: Castries; Samoa: Apia;
Saudi Arabia: Riyadh; Scotland: Edinburgh; Senegal: Dakar; Serbia: Belgrade; the Seychelles: Victoria;
Sierra Leone: Freetown; Slovakia: Bratislava; Slovenia: Ljubljana; the Solomon Islands: Honiara;
Somalia: Mogadishu; South Korea: Seoul; South Sudan: Juba; Spain: Madrid; Suriname: Paramaribo;
Sweden: Stockholm; Switzerland: Bern; Syria: Damascus; Tajikistan: Dushanbe; Tanzania: Dodoma;
Thailand: Bangkok; Togo: Lome; Tonga: Nuku'alofa; Trinidad and Tobago: Port of Spain; Tunisia: Tunis;
Turkey: Ankara; Turkmenistan: Ashgabat; Uganda: Kampala; Ukraine: Kyiv; the United Arab Emirates: Abu Dhabi;
the United Kingdom: London; the United States: Washington; Uruguay: Montevideo; Uzbekistan: Tashkent;
Vanuatu: Port Vila; Venezuela: Caracas; Vietnam: Hanoi; Wales: Cardiff; Zambia: Lusaka; Zimbabwe: Harare
""")

RELATIONS["continent"] = _groups("""
Africa: Algeria, Angola, Botswana, Burkina Faso, Cameroon, the Central African Republic, Chad,
    the Democratic Republic of the Congo, the Republic of the Congo, Ethiopia, the Gambia, Ghana, Kenya,
    Liberia, Libya, Madagascar, Mali, Morocco, Mozambique, Namibia, Niger, Nigeria, Rwanda, Senegal,
    Sierra Leone, Somalia, South Africa, South Sudan, Sudan, Tanzania, Togo, Tunisia, Uganda, Zambia,
    Zimbabwe;
Asia: Afghanistan, Bangladesh, Bhutan, Cambodia, China, India, Indonesia, Iran, Iraq, Japan, Jordan, Kuwait,
    Kyrgyzstan, Laos, Lebanon, Malaysia, the Maldives, Mongolia, Myanmar, Nepal, North Korea, Oman,
    Pakistan, the Philippines, Qatar, Saudi Arabia, Singapore, South Korea, Sri Lanka, Syria, Tajikistan,
    Thailand, Turkmenistan, the United Arab Emirates, Uzbekistan, Vietnam;
Europe: Albania, Austria, Belarus, Belgium, Bosnia and Herzegovina, Bulgaria, Croatia, the Czech Republic,
    Denmark, Estonia, Finland, France, Germany, Greece, Hungary, Iceland, Ireland, Italy, Latvia, Lithuania,
    Luxembourg, Malta, Moldova, Montenegro, the Netherlands, North Macedonia, Norway, Poland, Portugal,
    Romania, Serbia, Slovakia, Slovenia, Spain, Sweden, Switzerland, Ukraine, the United Kingdom;
North America: Canada, Costa Rica, Cuba, El Salvador, Guatemala, Haiti, Honduras, Jamaica, Mexico,
    Nicaragua, Panama, the United States;
South America: Argentina, Bolivia, Brazil, Chile, Colombia, Ecuador, Guyana, Paraguay, Peru, Suriname,
    Uruguay, Venezuela;
Oceania: Fiji, New Zealand, Papua New Guinea, Samoa, the Solomon Islands, Tonga, Vanuatu
""")

RELATIONS["language"] = _groups("""
Albanian: Albania; Armenian: Armenia; Azerbaijani: Azerbaijan; Bengali: Bangladesh; Bulgarian: Bulgaria;
Burmese: Myanmar; Chinese: China; Croatian: Croatia; Czech: the Czech Republic; Danish: Denmark;
Dhivehi: the Maldives; Dutch: the Netherlands, Suriname; Dzongkha: Bhutan; Estonian: Estonia;
Finnish: Finland; Georgian: Georgia; Greek: Greece; Hungarian: Hungary; Icelandic: Iceland;
Indonesian: Indonesia; Japanese: Japan; Khmer: Cambodia; Korean: North Korea, South Korea; Lao: Laos;
Latvian: Latvia; Lithuanian: Lithuania; Macedonian: North Macedonia; Malagasy: Madagascar;
Malay: Brunei, Malaysia; Mongolian: Mongolia; Nepali: Nepal; Norwegian: Norway; Persian: Iran;
Polish: Poland; Romanian: Moldova, Romania; Russian: Russia; Serbian: Serbia; Slovak: Slovakia;
Slovene: Slovenia; Swedish: Sweden; Tajik: Tajikistan; Thai: Thailand; Turkish: Turkey;
Turkmen: Turkmenistan; Ukrainian: Ukraine; Uzbek: Uzbekistan; Vietnamese: Vietnam;
Arabic: Egypt, Iraq, Jordan, Kuwait, Lebanon, Libya, Oman, Qatar, Saudi Arabia, Syria, Tunisia,
    the United Arab Emirates, Yemen;
English: Australia, the Bahamas, Barbados, Ghana, Guyana, Jamaica, Nigeria, the United Kingdom,
    the United States;
French: Benin, France, Ivory Coast, Monaco, Senegal, Togo; German: Austria, Germany, Liechtenstein;
Italian: Italy, San Marino; Portuguese: Angola, Brazil, Cape Verde, Mozambique, Portugal;
Spanish: Argentina, Chile, Colombia, Costa Rica, Cuba, Ecuador, Guatemala, Honduras, Mexico, Nicaragua,
    Panama, Peru, Spain, Uruguay, Venezuela
""")

RELATIONS["currency"] = _groups("""
euro: Austria, Belgium, Croatia, Cyprus, Estonia, Finland, France, Germany, Greece, Ireland, Italy, Latvia,
    Lithuania, Luxembourg, Malta, the Netherlands, Portugal, Slovakia, Slovenia, Spain;
dollar: Australia, the Bahamas, Barbados, Canada, Fiji, Guyana, Jamaica, New Zealand, Singapore,
    Trinidad and Tobago, the United States;
pound: Egypt, Sudan, the United Kingdom;
peso: Argentina, Chile, Colombia, Cuba, the Dominican Republic, Mexico, the Philippines, Uruguay;
rupee: India, Mauritius, Nepal, Pakistan, the Seychelles, Sri Lanka;
franc: Benin, Burkina Faso, Cameroon, Chad, the Democratic Republic of the Congo, Ivory Coast,
    Liechtenstein, Mali, Niger, Rwanda, Senegal, Switzerland, Togo;
dinar: Algeria, Bahrain, Iraq, Jordan, Kuwait, Libya, Serbia, Tunisia;
shilling: Kenya, Somalia, Tanzania, Uganda; rial: Iran, Oman, Yemen; riyal: Qatar, Saudi Arabia;
dirham: Morocco, the United Arab Emirates; krone: Denmark, Norway; krona: Iceland, Sweden;
koruna: the Czech Republic; rouble: Belarus, Russia; leu: Moldova, Romania; manat: Azerbaijan, Turkmenistan;
won: North Korea, South Korea; som: Kyrgyzstan, Uzbekistan; kwacha: Malawi, Zambia; afghani: Afghanistan;
lek: Albania; kwanza: Angola; dram: Armenia; taka: Bangladesh; ngultrum: Bhutan; boliviano: Bolivia;
pula: Botswana; real: Brazil; riel: Cambodia; escudo: Cape Verde; yuan: China; colon: Costa Rica;
nakfa: Eritrea; birr: Ethiopia; dalasi: the Gambia; lari: Georgia; cedi: Ghana; quetzal: Guatemala;
gourde: Haiti; lempira: Honduras; forint: Hungary; rupiah: Indonesia; yen: Japan; tenge: Kazakhstan;
kip: Laos; loti: Lesotho; ariary: Madagascar; ringgit: Malaysia; rufiyaa: the Maldives; tugrik: Mongolia;
metical: Mozambique; kyat: Myanmar; cordoba: Nicaragua; naira: Nigeria; denar: North Macedonia;
kina: Papua New Guinea; guarani: Paraguay; sol: Peru; zloty: Poland; tala: Samoa; leone: Sierra Leone;
rand: South Africa; somoni: Tajikistan; baht: Thailand; pa'anga: Tonga; lira: Turkey; hryvnia: Ukraine;
vatu: Vanuatu; bolivar: Venezuela; dong: Vietnam
""")

# ------------------------------------------------------------------------------------------ animals

RELATIONS["class"] = _groups("""
mammal: a dog, a cat, a cow, a horse, a pig, a sheep, a goat, a donkey, a rabbit, a hare, a fox, a wolf,
    a bear, a lion, a tiger, a leopard, a cheetah, an elephant, a giraffe, a zebra, a hippopotamus,
    a rhinoceros, a camel, a llama, a kangaroo, a koala, a panda, a monkey, a gorilla, a chimpanzee,
    an orangutan, a sloth, an armadillo, an anteater, a hedgehog, a squirrel, a beaver, an otter, a badger,
    a mouse, a rat, a hamster, a deer, a reindeer, a bison, a whale, a dolphin, a seal, a walrus, a raccoon;
bird: an eagle, an owl, a hawk, a falcon, a vulture, a penguin, an ostrich, a flamingo, a peacock, a parrot,
    a pigeon, a crow, a robin, a sparrow, a blackbird, a nightingale, a woodpecker, a cuckoo, a swan,
    a goose, a duck, a hen, a heron, a pelican, a seagull, a toucan, a hummingbird, an emu;
fish: a shark, a salmon, a trout, a tuna, a cod, a herring, a sardine, an eel, a goldfish, a carp,
    a piranha, a stingray, a seahorse, a swordfish;
reptile: a snake, a lizard, a crocodile, an alligator, a tortoise, a turtle, a chameleon, an iguana,
    a gecko, a cobra, a python, a rattlesnake;
amphibian: a frog, a toad, a newt, a salamander, an axolotl;
insect: an ant, a bee, a wasp, a butterfly, a moth, a beetle, a ladybird, a mosquito, a housefly,
    a grasshopper, a dragonfly, a cockroach, a flea
""")

RELATIONS["habitat"] = _groups("""
savanna: a lion, a giraffe, a zebra, an elephant, a cheetah, a rhinoceros, a hyena, an ostrich, a gazelle,
    a wildebeest;
desert: a camel, a rattlesnake, a scorpion, a meerkat, a fennec fox;
Arctic: a polar bear, a walrus, a reindeer, a snowy owl; Antarctic: a penguin;
jungle: a tiger, a gorilla, an orangutan, a monkey, a chimpanzee, a toucan, a parrot, a sloth, a python;
forest: a fox, a wolf, a bear, a deer, a squirrel, an owl, a woodpecker, a badger, a moose, a panda, a koala;
garden: a hedgehog, a robin, a ladybird, a snail;
sea: a whale, a dolphin, a shark, a seal, an octopus, a squid, a jellyfish, a starfish, a tuna, a cod,
    a herring, a lobster, a swordfish, a seahorse;
river: a crocodile, a hippopotamus, an otter, a beaver, a piranha; swamp: an alligator;
mountains: a yak, a llama, an ibex, a snow leopard, an eagle; pond: a frog, a newt, a goldfish, a carp;
outback: a kangaroo, an emu; prairie: a bison, a coyote; soil: an earthworm
""")

RELATIONS["diet"] = _pairs("""
a panda: bamboo; a koala: eucalyptus leaves; a cow: grass; a horse: grass; a sheep: grass; a zebra: grass;
a bison: grass; a kangaroo: grass; a hippopotamus: grass; a rabbit: grass; a grasshopper: grass;
a giraffe: leaves; a sloth: leaves; a gorilla: leaves; a caterpillar: leaves; a snail: leaves;
a silkworm: mulberry leaves; a squirrel: nuts; a monkey: fruit; an orangutan: fruit; a toucan: fruit;
a chimpanzee: fruit; a penguin: fish; a pelican: fish; a seal: fish; a dolphin: fish; an otter: fish;
a heron: fish; a kingfisher: fish; a puffin: fish; an osprey: fish; an anteater: ants;
an aardvark: termites; a frog: insects; a toad: insects; a woodpecker: insects; a gecko: insects;
a chameleon: insects; a hedgehog: insects; a spider: insects; a dragonfly: insects; a meerkat: insects;
a ladybird: aphids; a bee: nectar; a butterfly: nectar; a hummingbird: nectar; a mosquito: blood;
a flea: blood; a leech: blood; a blue whale: krill; a whale shark: plankton; a herring: plankton;
a termite: wood; an owl: mice; a falcon: birds; a vulture: carrion; a polar bear: seals; a walrus: clams;
a lion: meat; a tiger: meat; a wolf: meat; a leopard: meat; a cheetah: meat; a crocodile: meat;
a sparrow: seeds; a parrot: seeds; a pigeon: seeds; a hamster: seeds; a hen: grain; a badger: earthworms;
a robin: worms; a blackbird: worms; a flamingo: shrimps; a reindeer: lichen
""")

RELATIONS["sound"] = _pairs("""
a dog: bark; a cat: meow; a cow: moo; a horse: neigh; a donkey: bray; a pig: oink; a sheep: baa;
a goat: bleat; a wolf: howl; a lion: roar; a tiger: roar; a bear: growl; a hyena: laugh;
an elephant: trumpet; a mouse: squeak; a guinea pig: squeak; a monkey: chatter; a duck: quack;
a goose: honk; a hen: cluck; a cockerel: crow; a turkey: gobble; an owl: hoot; a crow: caw; a pigeon: coo;
a dove: coo; a sparrow: chirp; a parrot: squawk; a nightingale: song; a frog: croak; a snake: hiss;
a rattlesnake: rattle; a bee: buzz; a wasp: buzz; a mosquito: whine; a grasshopper: chirp
""")

RELATIONS["young"] = _groups("""
puppy: a dog; kitten: a cat; lamb: a sheep; kid: a goat; piglet: a pig; foal: a horse, a donkey, a zebra;
calf: a cow, an elephant, a whale, a dolphin, a giraffe, a hippopotamus;
cub: a lion, a tiger, a bear, a fox, a leopard, a panda; pup: a seal, an otter;
joey: a kangaroo, a koala, a wallaby; fawn: a deer; leveret: a hare; hoglet: a hedgehog; cria: a llama;
kit: a beaver; infant: a gorilla, a chimpanzee; puggle: an echidna; duckling: a duck; gosling: a goose;
cygnet: a swan; chick: a hen, a penguin, a flamingo; eaglet: an eagle; owlet: an owl; squab: a pigeon;
poult: a turkey; peachick: a peacock; eyas: a falcon; puffling: a puffin; tadpole: a frog, a toad;
elver: an eel; fry: a trout; hatchling: a crocodile, a turtle, a tortoise; spiderling: a spider;
caterpillar: a butterfly, a moth; maggot: a housefly; grub: a beetle; larva: an ant, a bee;
nymph: a grasshopper, a dragonfly
""")

RELATIONS["legs"] = _groups("""
two: an ostrich, a hen, a penguin, a duck, a swan, an owl, an eagle, a robin, a parrot, a pigeon,
    a flamingo, a goose;
four: a dog, a cat, a cow, a horse, a pig, a sheep, a goat, a lion, a tiger, an elephant, a giraffe,
    a camel, a fox, a bear, a rabbit, a mouse, a frog, a lizard, a crocodile, a tortoise;
six: an ant, a bee, a wasp, a butterfly, a moth, a beetle, a ladybird, a mosquito, a housefly,
    a grasshopper, a dragonfly, a cockroach, a flea;
eight: a spider, a tarantula, a scorpion; ten: a crab, a lobster, a prawn, a crayfish;
no: a snake, a cobra, a python, an earthworm, a slug, a snail, a leech, a jellyfish, a shark, a salmon,
    a goldfish, an eel, a whale, a dolphin
""")

# -------------------------------------------------------------------------------------------- words

RELATIONS["colour"] = _groups("""
white: snow, milk, salt, sugar, flour, chalk, cotton, a swan, a polar bear, a snowman, a cauliflower;
black: coal, soot, a raven, a crow;
green: grass, moss, ivy, spinach, lettuce, broccoli, parsley, an emerald, a cucumber, a pea, a cactus;
blue: the sky, a sapphire, a cornflower, a forget-me-not, a blueberry;
red: blood, ketchup, a tomato, a ruby, a strawberry, a cherry, a poppy, a raspberry, a ladybird,
    a fire engine, a stop sign;
yellow: custard, butter, mustard, sulphur, sweetcorn, the sun, a banana, a lemon, a canary, a sunflower,
    a dandelion, a daffodil, a buttercup, an egg yolk;
orange: a carrot, a pumpkin, a tangerine; pink: bubblegum, candyfloss, a flamingo, a pig;
purple: lavender, beetroot, an aubergine, an amethyst;
brown: chocolate, coffee, soil, mud, cinnamon, a chestnut, a coconut;
grey: ash, concrete, an elephant, a rhinoceros, a dolphin, a rain cloud
""")

RELATIONS["opposite"] = _both("""
hot: cold; big: small; tall: short; up: down; left: right; day: night; black: white; light: dark;
open: closed; fast: slow; old: young; rich: poor; happy: sad; good: bad; full: empty; wet: dry; hard: soft;
easy: difficult; high: low; deep: shallow; wide: narrow; thick: thin; strong: weak; loud: quiet;
clean: dirty; early: late; first: last; near: far; inside: outside; on: off; above: below; before: after;
always: never; everything: nothing; love: hate; win: lose; buy: sell; push: pull; give: take;
remember: forget; true: false; alive: dead; awake: asleep; safe: dangerous; rough: smooth; sharp: blunt;
sweet: sour; cheap: expensive; polite: rude; beautiful: ugly; male: female; begin: end; success: failure;
war: peace; friend: enemy; north: south; east: west; more: less; guilty: innocent; possible: impossible;
maximum: minimum
""")

RELATIONS["plural"] = _pairs("""
mouse: mice; man: men; woman: women; child: children; tooth: teeth; foot: feet; goose: geese; ox: oxen;
louse: lice; dormouse: dormice; person: people; gentleman: gentlemen; policeman: policemen;
snowman: snowmen; grandchild: grandchildren; knife: knives; wife: wives; life: lives; leaf: leaves;
loaf: loaves; wolf: wolves; half: halves; calf: calves; shelf: shelves; thief: thieves; elf: elves;
scarf: scarves; hoof: hooves; potato: potatoes; tomato: tomatoes; hero: heroes; echo: echoes;
torpedo: torpedoes; cactus: cacti; fungus: fungi; nucleus: nuclei; radius: radii; stimulus: stimuli;
alumnus: alumni; crisis: crises; analysis: analyses; basis: bases; oasis: oases; thesis: theses;
diagnosis: diagnoses; hypothesis: hypotheses; parenthesis: parentheses; axis: axes; criterion: criteria;
phenomenon: phenomena; bacterium: bacteria; curriculum: curricula; larva: larvae; alga: algae;
vertebra: vertebrae; matrix: matrices; baby: babies; city: cities; lady: ladies; story: stories;
country: countries; army: armies; box: boxes; church: churches; dish: dishes; bus: buses;
passer-by: passers-by; mother-in-law: mothers-in-law
""")

RELATIONS["past_tense"] = _pairs("""
go: went; have: had; do: did; say: said; make: made; take: took; come: came; see: saw; know: knew; get: got;
give: gave; find: found; think: thought; tell: told; become: became; leave: left; feel: felt;
bring: brought; begin: began; keep: kept; hold: held; write: wrote; stand: stood; hear: heard; mean: meant;
meet: met; run: ran; pay: paid; sit: sat; speak: spoke; lead: led; grow: grew; lose: lost; fall: fell;
send: sent; build: built; understand: understood; draw: drew; break: broke; spend: spent; rise: rose;
drive: drove; buy: bought; wear: wore; choose: chose; throw: threw; catch: caught; fight: fought;
teach: taught; eat: ate; sing: sang; sleep: slept; fly: flew; forget: forgot; win: won; sell: sold;
swim: swam; drink: drank; ride: rode; ring: rang; shake: shook; steal: stole; swear: swore; tear: tore;
wake: woke; bite: bit; blow: blew; dig: dug; feed: fed; freeze: froze; hide: hid; lend: lent; shoot: shot;
sink: sank; slide: slid; stick: stuck; strike: struck; sweep: swept; swing: swung; bend: bent; bleed: bled;
cling: clung; creep: crept; deal: dealt; flee: fled; forgive: forgave; grind: ground; kneel: knelt;
seek: sought; shrink: shrank; spin: spun; spring: sprang; sting: stung; weave: wove; weep: wept;
withdraw: withdrew; arise: arose; mistake: mistook; overcome: overcame; undo: undid; overtake: overtook;
mislead: misled
""")

# ----------------------------------------------------------------------------------- work and things

RELATIONS["workplace"] = _pairs("""
a baker: bakery; a teacher: school; a headmaster: school; a nurse: hospital; a surgeon: hospital;
a midwife: hospital; a chef: restaurant; a waiter: restaurant; a librarian: library; a judge: court;
a scientist: laboratory; a pharmacist: pharmacy; a mechanic: garage; a banker: bank; a hairdresser: salon;
a shopkeeper: shop; a cashier: supermarket; a priest: church; a vicar: church; a monk: monastery;
a nun: convent; an imam: mosque; a rabbi: synagogue; an actor: theatre; a miner: mine; a sculptor: studio;
a carpenter: workshop; a blacksmith: forge; a brewer: brewery; a winemaker: winery; a professor: university;
a curator: museum; a zookeeper: zoo; an astronomer: observatory; a gardener: garden; a secretary: office;
an accountant: office; a chambermaid: hotel; a bartender: bar; a barista: cafe; a prison guard: prison;
a firefighter: fire station; a police officer: police station; a postmaster: post office;
a lumberjack: forest; a pilot: cockpit; a clown: circus; an acrobat: circus; a croupier: casino;
a miller: mill; a paramedic: ambulance; a bookseller: bookshop; a shipbuilder: shipyard;
an ambassador: embassy
""")

RELATIONS["job"] = _pairs("""
bakes bread: baker; teaches children: teacher; flies planes: pilot; puts out fires: firefighter;
treats bad teeth: dentist; cuts hair: hairdresser; catches fish: fisherman; grows crops: farmer;
sells meat: butcher; sells flowers: florist; sells fish: fishmonger;
sells fruit and vegetables: greengrocer; delivers letters: postman; sews suits: tailor;
mends shoes: cobbler; shoes horses: farrier; repairs cars: mechanic; mends water pipes: plumber;
fits electric wiring: electrician; lays bricks: bricklayer; builds things from wood: carpenter;
designs buildings: architect; treats sick animals: vet; serves food in a restaurant: waiter;
cooks food in a restaurant: chef; writes novels: novelist; writes poems: poet; paints pictures: painter;
carves statues: sculptor; takes photographs: photographer; studies the stars: astronomer;
studies rocks: geologist; studies plants: botanist; studies animals: zoologist; studies the past: historian;
digs up ancient ruins: archaeologist; writes music: composer; leads an orchestra: conductor;
plays the piano: pianist; plays the violin: violinist; plays the drums: drummer;
plays the guitar: guitarist; acts in plays: actor; keeps bees: beekeeper; looks after sheep: shepherd;
digs for coal: miner; travels into space: astronaut; makes clay pots: potter; forges iron: blacksmith;
performs operations: surgeon; delivers babies: midwife; performs magic tricks: magician;
tells jokes on stage: comedian; writes for a newspaper: journalist; solves crimes: detective;
draws maps: cartographer; grinds grain: miller; brews beer: brewer; sweeps chimneys: chimney sweep;
fells trees: lumberjack; rides racehorses: jockey; guards the goal: goalkeeper; sells houses: estate agent;
rescues swimmers: lifeguard
""")

RELATIONS["kind"] = _groups("""
flower: a rose, a tulip, a daisy, a daffodil, an orchid, a carnation, a sunflower, a poppy, a buttercup;
tree: an oak, a birch, a willow, a maple, an elm, a cedar, a spruce;
instrument: a violin, a piano, a guitar, a flute, a trumpet, a cello, a harp, a clarinet, a saxophone,
    a trombone;
tool: a hammer, a screwdriver, a saw, a spanner, a chisel, a drill, an axe;
fruit: an apple, a banana, a pear, a peach, a strawberry, a cherry, a mango, a pineapple;
vegetable: a carrot, a cabbage, an onion, a leek, a turnip, a cauliflower, a potato, spinach;
spice: cinnamon, nutmeg, saffron, turmeric; herb: parsley, basil, thyme;
metal: gold, silver, iron, copper, tin, aluminium, zinc, platinum;
gas: oxygen, hydrogen, nitrogen, helium, neon;
gemstone: a diamond, a ruby, an emerald, a sapphire, an amethyst;
sport: football, tennis, rugby, hockey, golf, basketball; game: chess, draughts, hide-and-seek;
planet: Venus, Mars, Jupiter, Saturn, Uranus, Neptune;
vehicle: a car, a bus, a lorry, a tractor, a motorbike, an ambulance; boat: a canoe, a kayak, a yacht;
furniture: a chair, a table, a wardrobe, a sofa, a bookcase, a bed;
garment: a shirt, a jacket, a skirt, a coat, a jumper; drink: tea, coffee, lemonade, beer, wine;
weapon: a sword, a spear, a dagger, a rifle; dance: the waltz, the tango, the polka;
disease: measles, malaria, cholera, smallpox; cheese: cheddar, brie, mozzarella;
shape: a circle, a rectangle, a hexagon; science: physics, chemistry, biology; cereal: wheat, barley, maize;
nut: an almond, a hazelnut, a cashew; toy: a doll, a yo-yo;
river: the Nile, the Danube, the Thames, the Rhine; mountain: Kilimanjaro, the Matterhorn, Mont Blanc;
fabric: silk, velvet, denim
""")

RELATIONS["material"] = _pairs("""
a candle: wax; a honeycomb: wax; a window: glass; a light bulb: glass; a test tube: glass; a brick: clay;
a flowerpot: clay; a jumper: wool; a tyre: rubber; a book: paper; a newspaper: paper; an envelope: paper;
a saddle: leather; a belt: leather; a wallet: leather; a horseshoe: iron; an anvil: iron; a sword: steel;
a spanner: steel; a wedding ring: gold; a T-shirt: cotton; a bath towel: cotton; a kimono: silk;
a cobweb: silk; a pencil: wood; a violin: wood; a cricket bat: wood; a barrel: wood; a wardrobe: wood;
an igloo: snow; a snowman: snow; an iceberg: ice; a glacier: ice; a teacup: china; a credit card: plastic;
a toothbrush: plastic; a carrier bag: plastic; a tent: canvas; a drinks can: aluminium; a trumpet: brass;
a trombone: brass; a church bell: bronze; a pyramid: stone; a castle: stone; a sandcastle: sand;
glass: sand; paper: wood; bread: flour; cheese: milk; yogurt: milk; butter: cream; chocolate: cocoa;
wine: grapes; cider: apples; an omelette: eggs; ketchup: tomatoes; marzipan: almonds; hummus: chickpeas;
porridge: oats; popcorn: maize; sauerkraut: cabbage; tofu: soya beans
""")

RELATIONS["use"] = _pairs("""
a hammer: driving nails; a pen: writing; a saw: cutting wood; a pair of scissors: cutting paper;
a needle: sewing; a broom: sweeping floors; a kettle: boiling water; a fridge: keeping food cold;
an oven: baking;
a toaster: toasting bread; a thermometer: measuring temperature; a tape measure: measuring length;
a clock: telling the time; a compass: finding north; a telescope: watching stars;
a microscope: seeing tiny things; an umbrella: keeping dry; a lawnmower: cutting grass; a shovel: digging;
a rake: gathering leaves; a watering can: watering plants; an axe: chopping wood;
a screwdriver: turning screws; a spanner: tightening bolts; a drill: making holes; a paintbrush: painting;
a comb: combing hair; a hairdryer: drying hair; a toothbrush: cleaning teeth; a razor: shaving;
soap: washing hands; shampoo: washing hair; a bed: sleeping; a chair: sitting; a knife: cutting food;
a fork: eating; a spoon: eating soup; a whisk: beating eggs; a rolling pin: rolling dough;
a colander: draining pasta; a grater: grating cheese; a corkscrew: pulling corks;
a tin opener: opening tins; a frying pan: frying; a vacuum cleaner: cleaning carpets;
a washing machine: washing clothes; a camera: taking photographs; a telephone: making calls;
glue: sticking things; an eraser: rubbing out mistakes; a calculator: doing sums;
a dictionary: looking up words; a map: finding the way; a fishing rod: catching fish; a ladder: climbing;
a bucket: carrying water; a parachute: landing safely; a plough: turning soil; a tent: camping;
a stethoscope: listening to hearts; a syringe: giving injections; a piggy bank: saving money;
a bookcase: storing books; a wardrobe: storing clothes; a teapot: making tea; a loom: weaving
""")

# ------------------------------------------------------------------------------------------- culture

RELATIONS["landmark"] = _groups("""
France: the Eiffel Tower, the Louvre, the Palace of Versailles, Mont Saint-Michel;
England: Big Ben, Tower Bridge, Stonehenge, Buckingham Palace; Scotland: Edinburgh Castle;
Italy: the Colosseum, the Leaning Tower of Pisa, the Trevi Fountain, Pompeii;
Germany: the Brandenburg Gate, Neuschwanstein Castle, Cologne Cathedral;
Spain: the Sagrada Familia, the Alhambra, the Prado; Greece: the Acropolis, the Parthenon;
Belgium: the Atomium; Denmark: Tivoli Gardens; Czech Republic: Charles Bridge; Austria: Schonbrunn Palace;
Russia: the Kremlin, Red Square, Saint Basil's Cathedral, the Bolshoi Theatre;
Turkey: Hagia Sophia, the Blue Mosque; India: the Taj Mahal, the Red Fort, the Golden Temple;
China: the Forbidden City, the Terracotta Army, Tiananmen Square; Japan: Mount Fuji, Himeji Castle;
Cambodia: Angkor Wat; Indonesia: Borobudur; Malaysia: the Petronas Towers; Singapore: Marina Bay Sands;
United Arab Emirates: the Burj Khalifa; Jordan: Petra; Iran: Persepolis;
Egypt: the Great Sphinx, Abu Simbel, the Great Pyramid of Giza; South Africa: Table Mountain;
United States: the Statue of Liberty, the Golden Gate Bridge, the White House,
    the Empire State Building, Mount Rushmore;
Canada: the CN Tower; Mexico: Chichen Itza; Peru: Machu Picchu;
Brazil: Christ the Redeemer, Sugarloaf Mountain; Australia: the Sydney Opera House, Uluru;
Romania: Bran Castle; Poland: Wawel Castle; Portugal: Belem Tower; Hungary: Buda Castle;
Ireland: Blarney Castle, the Cliffs of Moher;
Netherlands: the Rijksmuseum; Sri Lanka: Sigiriya; Thailand: Wat Arun;
Saudi Arabia: the Kaaba; Myanmar: the Shwedagon Pagoda
""")

RELATIONS["author"] = _pairs("""
Hamlet: William Shakespeare; Pride and Prejudice: Jane Austen; Jane Eyre: Charlotte Bronte;
Wuthering Heights: Emily Bronte; Great Expectations: Charles Dickens; Frankenstein: Mary Shelley;
Dracula: Bram Stoker; Moby-Dick: Herman Melville; The Scarlet Letter: Nathaniel Hawthorne;
The Adventures of Tom Sawyer: Mark Twain; Little Women: Louisa May Alcott; War and Peace: Leo Tolstoy;
Crime and Punishment: Fyodor Dostoevsky; The Cherry Orchard: Anton Chekhov; Dead Souls: Nikolai Gogol;
Doctor Zhivago: Boris Pasternak; The Master and Margarita: Mikhail Bulgakov; Lolita: Vladimir Nabokov;
Don Quixote: Miguel de Cervantes; The Divine Comedy: Dante Alighieri; The Decameron: Giovanni Boccaccio;
The Prince: Niccolo Machiavelli; The Name of the Rose: Umberto Eco; The Trial: Franz Kafka;
Siddhartha: Hermann Hesse; All Quiet on the Western Front: Erich Maria Remarque;
Les Miserables: Victor Hugo; Madame Bovary: Gustave Flaubert; The Three Musketeers: Alexandre Dumas;
Around the World in Eighty Days: Jules Verne; Candide: Voltaire; Tartuffe: Moliere;
The Plague: Albert Camus; The Little Prince: Antoine de Saint-Exupery; A Doll's House: Henrik Ibsen;
Pippi Longstocking: Astrid Lindgren; Pygmalion: George Bernard Shaw;
The Importance of Being Earnest: Oscar Wilde; Ulysses: James Joyce; Waiting for Godot: Samuel Beckett;
Gulliver's Travels: Jonathan Swift; Robinson Crusoe: Daniel Defoe; The Canterbury Tales: Geoffrey Chaucer;
Paradise Lost: John Milton; Ivanhoe: Walter Scott; Middlemarch: George Eliot;
Treasure Island: Robert Louis Stevenson; The Time Machine: H. G. Wells; The Jungle Book: Rudyard Kipling;
Alice in Wonderland: Lewis Carroll; Peter Pan: J. M. Barrie; The Wind in the Willows: Kenneth Grahame;
Winnie-the-Pooh: A. A. Milne; The Hobbit: J. R. R. Tolkien; Heart of Darkness: Joseph Conrad;
Mrs Dalloway: Virginia Woolf; Brave New World: Aldous Huxley; Animal Farm: George Orwell;
Lord of the Flies: William Golding; A Clockwork Orange: Anthony Burgess;
Murder on the Orient Express: Agatha Christie; The Hound of the Baskervilles: Arthur Conan Doyle;
Charlie and the Chocolate Factory: Roald Dahl; The Great Gatsby: F. Scott Fitzgerald;
The Old Man and the Sea: Ernest Hemingway; The Grapes of Wrath: John Steinbeck;
To Kill a Mockingbird: Harper Lee; The Catcher in the Rye: J. D. Salinger;
Death of a Salesman: Arthur Miller; A Streetcar Named Desire: Tennessee Williams;
Gone with the Wind: Margaret Mitchell; The Call of the Wild: Jack London;
The Handmaid's Tale: Margaret Atwood; Anne of Green Gables: Lucy Maud Montgomery;
One Hundred Years of Solitude: Gabriel Garcia Marquez; Things Fall Apart: Chinua Achebe;
Black Beauty: Anna Sewell; Heidi: Johanna Spyri; The Odyssey: Homer; The Aeneid: Virgil
""")

RELATIONS["symbol"] = _pairs("""
hydrogen: H; helium: He; lithium: Li; beryllium: Be; boron: B; carbon: C; nitrogen: N; oxygen: O;
fluorine: F; neon: Ne; sodium: Na; magnesium: Mg; aluminium: Al; silicon: Si; phosphorus: P; sulphur: S;
chlorine: Cl; argon: Ar; potassium: K; calcium: Ca; scandium: Sc; titanium: Ti; vanadium: V; chromium: Cr;
manganese: Mn; iron: Fe; cobalt: Co; nickel: Ni; copper: Cu; zinc: Zn; gallium: Ga; germanium: Ge;
arsenic: As; selenium: Se; bromine: Br; krypton: Kr; rubidium: Rb; strontium: Sr; yttrium: Y; zirconium: Zr;
niobium: Nb; molybdenum: Mo; technetium: Tc; ruthenium: Ru; rhodium: Rh; palladium: Pd; silver: Ag;
cadmium: Cd; indium: In; tin: Sn; antimony: Sb; tellurium: Te; iodine: I; xenon: Xe; caesium: Cs;
barium: Ba; lanthanum: La; cerium: Ce; praseodymium: Pr; neodymium: Nd; samarium: Sm; europium: Eu;
gadolinium: Gd; terbium: Tb; dysprosium: Dy; holmium: Ho; erbium: Er; thulium: Tm; ytterbium: Yb;
lutetium: Lu; hafnium: Hf; tantalum: Ta; tungsten: W; rhenium: Re; osmium: Os; iridium: Ir; platinum: Pt;
gold: Au; mercury: Hg; thallium: Tl; lead: Pb; bismuth: Bi; polonium: Po; astatine: At; radon: Rn;
francium: Fr; radium: Ra; actinium: Ac; thorium: Th; uranium: U; neptunium: Np; plutonium: Pu
""")

RELATIONS["next"] = _pairs("""
Monday: Tuesday; Tuesday: Wednesday; Wednesday: Thursday; Thursday: Friday; Friday: Saturday;
Saturday: Sunday; Sunday: Monday; January: February; February: March; March: April; April: May; May: June;
June: July; July: August; August: September; September: October; October: November; November: December;
December: January; spring: summer; summer: autumn; autumn: winter; winter: spring
""")

# ------------------------------------------------------------------------------------ invented facts

INVENTED: dict[str, list[SubjectObject]] = {
    "capital": _pairs("""
        Zorvania: Keldrith; Belmoria: Tavask; Quendara: Ilvespor; Druzhelm: Hovenkil; Orvandel: Pelmordin;
        Thalvonia: Rinsdor; Maruvia: Sobelka; Kestovia: Undral; Fendaria: Losquin; Yulmara: Brevanto;
        Gralvistan: Tirshak; Wendolia: Cazmoor"""),
    "currency": _pairs("""
        Plovenia: drelk; Ombrusia: talvo; Sardovia: quorl; Nethermarl: fennet; Ilvaria: zubra;
        Jostenland: krebble; Mirovar: pelnar; Tarquenia: ombo; Rovindia: skerl; Uvalstan: tengul;
        Hespora: lirrick; Cordamia: vesk"""),
    "young": _pairs("""
        a glimbat: plimsy; a dorvel: ruffkin; a snorrick: quib; a wumpet: flizz; a tarrowhog: nubkin;
        a brindlefin: spraddle; an ombrick: pellow; a yarvin: churbit; a quillock: tizzet;
        a morlop: grupkin; a zebbit: wendle; a fenloper: lirp"""),
    "symbol": _pairs("""
        veltrium: Vt; quorrium: Qr; zephrium: Zp; jandrovium: Jd; wexonium: Wx; xylvium: Xv; dravium: Dv;
        gorvium: Gv; kelonium: Kl; lumerium: Lm; orvenium: Ov; thessium: Tx"""),
    "language": _pairs("""
        Lomarcia: Oshtani; Vintara: Kelvish; Pradonia: Morrunic; Estovar: Zhalese; Felmaria: Quorish;
        Gundrovia: Tamerlic; Hallistan: Vedruni; Ixtovia: Purnish; Jarvonia: Ellumic; Kromaria: Dasketh;
        Selvoria: Bruvian; Tolmeria: Hixari"""),
    "author": _pairs("""
        The Lantern of Ossary: Tobin Wrexcombe; A Winter in Velloway: Isolde Farnquist;
        The Clockmaker's Orchard: Edmar Pellowick; Seven Doors to Marrowfell: Lavinia Keelworth;
        The Glass Ferryman: Oswin Tarkle; Letters from Grimsholt: Hestia Morwell;
        The Salt King's Daughter: Jorven Aldrisk; Beneath the Copper Moon: Marisella Quaine;
        The Last Beekeeper of Tarnwick: Phineas Ockleby; Thirteen Grey Herons: Ottoline Braskell;
        The Cartographer's Ghost: Cassimir Dunleth; Embers over Skellmere: Rowena Thistlegate"""),
    "landmark": _pairs("""
        the Morvane Arch: Averlund; the Halvex Tower: Bosmaria; the Drumlow Bridge: Cadovia;
        the Sillbar Palace: Dolmestan; Ferrowick Cathedral: Elgovia; the Tansel Temple: Fostavia;
        the Obrik Fortress: Gavonia; the Lunderel Fountain: Hestmark; the Pyramid of Zattul: Illorva;
        the Kavvin Gate: Jundara; Brasmoor Castle: Kolvadia; the Statue of Ondrith: Luvenia"""),
}

COUNTRY_RELATIONS = ("capital", "continent", "language", "currency")
ANIMAL_RELATIONS = ("class", "habitat", "diet", "sound", "young", "legs")

# Country names that need 'the' where they are objects (landmark), without it.
TAKES_THE = frozenset(
    subject[4:]
    for relation in COUNTRY_RELATIONS
    for subject, _ in RELATIONS[relation]
    if subject.startswith("the ")
)

# --------------------------------------------------------------------------------------- proof-reading

# First words whose article does not follow from the first letter.
ARTICLE_EXCEPTIONS = {"unicorn": "a", "uniform": "a", "ukulele": "a", "university": "a", "hour": "an"}


def bare(name: str) -> str:
    """The name without a leading lower-case article."""
    for article in ("a ", "an ", "the "):
        if name.startswith(article):
            return name[len(article) :]
    return name


def proofread() -> list[str]:
    """The formal errors found in the tables; [] if there are none."""
    problems = []
    for title, tables in (("RELATIONS", RELATIONS), ("INVENTED", INVENTED)):
        for relation, facts in tables.items():
            problems += _faults_of_facts(f"{title}[{relation}]", facts)

    opposites = RELATIONS["opposite"]
    for a, b in opposites:
        if (b, a) not in opposites:
            problems.append(f"RELATIONS[opposite]: {b!r} -> {a!r} is missing")

    # One subject per thing: 'a fox' and 'the fox' would be two.
    forms: dict[str, set[str]] = {}
    for relation in COUNTRY_RELATIONS + ANIMAL_RELATIONS:
        for subject, _ in RELATIONS[relation]:
            forms.setdefault(bare(subject), set()).add(subject)
    problems += [f"RELATIONS: written in several ways: {sorted(f)}" for f in forms.values() if len(f) > 1]

    animals = {subject for subject, _ in RELATIONS["class"]}
    problems += [f"RELATIONS[kind]: {s!r} is in class" for s, _ in RELATIONS["kind"] if s in animals]
    shared = [s for s, young in RELATIONS["young"] if young in ("cub", "pup", "calf", "chick")]
    if 2 * len(shared) >= len(RELATIONS["young"]):
        problems.append("RELATIONS[young]: too many of cub, pup, calf, chick")
    return problems + _names_not_new()


def _faults_of_facts(where: str, facts: list[SubjectObject]) -> list[str]:
    """The errors of one table: words, articles, lengths, duplicates."""
    problems = []
    seen = set()
    for subject, obj in facts:
        if bare(subject).lower() in seen:
            problems.append(f"{where}: {subject!r} twice")
        seen.add(bare(subject).lower())
        for text in (subject, obj):
            if not text or text != " ".join(text.split()):
                problems.append(f"{where}: stray spaces in {text!r}")
            if not text.isascii():
                problems.append(f"{where}: not ASCII: {text!r}")
            if any(mark in text for mark in ":;,"):
                problems.append(f"{where}: stray punctuation in {text!r}")
        if obj.split()[0].lower() in ("a", "an", "the") and len(obj.split()) > 1:
            problems.append(f"{where}: the object has an article: {obj!r}")
        # Initials such as 'J. R. R.' count as part of the surname.
        if len([word for word in obj.split() if not word.endswith(".")]) > 3:
            problems.append(f"{where}: the object is too long: {obj!r}")
        if subject.lower() == obj.lower():
            problems.append(f"{where}: the object equals the subject {subject!r}")
        words = subject.split()
        if words[0] in ("a", "an") and len(words) > 1:
            vowel = words[1][0].lower() in "aeiou"
            if words[0] != ARTICLE_EXCEPTIONS.get(words[1], "an" if vowel else "a"):
                problems.append(f"{where}: wrong article in {subject!r}")
    return problems


def _names_not_new() -> list[str]:
    """Invented names that are a real name or a word of one, or that occur twice."""
    problems = []
    names = {bare(text).lower() for facts in RELATIONS.values() for fact in facts for text in fact}
    words = {word for name in names for word in name.split()}
    invented: set[str] = set()
    for relation, facts in INVENTED.items():
        for fact in facts:
            for name in (bare(text).lower() for text in fact):
                if name in names or name in words:
                    problems.append(f"INVENTED[{relation}]: {name!r} occurs in RELATIONS")
                if name in invented:
                    problems.append(f"INVENTED[{relation}]: {name!r} twice")
                invented.add(name)
    return problems


if __name__ == "__main__":
    for name, table in RELATIONS.items():
        print(f"{name:12} {len(table):5}")
    print(f"{'all':12} {sum(map(len, RELATIONS.values())):5}")
    print(f"{'invented':12} {sum(map(len, INVENTED.values())):5}")
    print("\n".join(proofread()) or "no problems found")


FactRow = tuple[str, str, str]  # relation, subject, object


def all_facts() -> list[FactRow]:
    return [(relation, s, o) for relation, facts in RELATIONS.items() for s, o in facts]
