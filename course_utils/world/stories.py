"""Short stories with a hidden mood, written by a grammar of plot frames."""

import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from course_utils.world.manners import sentences

GIRLS = """
    Mia Anna Clara Ella Emma Nora Lucy Ruth Alice Molly Sara Jane Kate Eva Nina Zoe Hannah Amy Leila
    Maya
""".split()
BOYS = """
    Tom Ben Sam Max Leo Jack Noah Finn Peter Oscar Adam Harry David Omar Hugo Paul Luke Theo Ravi Simon
""".split()
GENDER = {**{name: "she" for name in GIRLS}, **{name: "he" for name in BOYS}}
MOODS = ("good", "bad", "mixed", "turning")
MANNERS = ("polite", "rude", "plain")


@dataclass(frozen=True)
class Story:
    """A story's text with its hidden mood, its manners and the names of its characters."""

    text: str
    mood: str
    manners: str
    names: tuple[str, ...]


# A frame is a block of "key: text" lines; an indented line continues the one before.
# [a|b] is a choice; {A} and {B} are characters, {I} introduces A, {Bi} introduces B as somebody A knows and
# {Bn} as a stranger; {he} {him} {his} {himself} refer to A. "slot" sets one or more words at once.
# good, bad and mix are middles; up follows any bad middle, down any good one. "R" answers requests.
FRAMES_TEXT = """
frame: lost
slot thing/who: kite/aunt; scarf/grandmother; spoon/grandfather; drum/uncle; whistle/grandfather; wooden
    horse/uncle; rag doll/grandmother; umbrella/aunt; marble/grandfather; bell/aunt; compass/uncle; spinning
    top/uncle; telescope/grandfather; purse/grandmother; mouth organ/uncle
slot colour: red; blue; green; yellow; white; purple; orange
slot place: under the stairs; behind the old oak; beside the pond; behind the sofa; in the woodshed; under
    the garden bench; on the kitchen shelf
topic: the {colour} {thing}
R: {his} mother
open: "Where is my {colour} {thing}?" asked {I}[| one morning].
open: {I} had a {colour} {thing} and took it everywhere. [One morning|One day|After breakfast] {he} could
    not see it.
open: [One morning|One afternoon|On Monday|Last week] {I} looked for {his} {colour} {thing}.
start: The {thing} was a present from {his} {who}. {A} looked [under the bed|under the table|behind the
    curtain] and [in the cupboard|in the big chest|in every drawer], but it was not there.
polite: [Could you help me to look for my {thing}, please?|Please, may I look in your room for my {thing}?]
rude: [Hurry up and look for my {thing}!|Get out of that chair and look for my {thing}!]
plain: I have looked in every room.
good: Then {A} looked {place}, and there was the {colour} {thing}. {He} [laughed|smiled] and [held it up
    proudly|danced round and round with it].
bad: {A} and {his} mother looked {place} too, but the {thing} was gone. {A} [sobbed|cried], for it was truly
    lost.
mix: {A} found the {thing} {place} and was glad. But it was [cracked|muddy|broken], and that made {him} sad.
up: Just before supper {his} mother [called|came in]. The {colour} {thing} had been in her basket all
    the time! {A} laughed and hugged her.
down: But on the way to the village {he} dropped the {thing} from the bridge. It sank into the dark water,
    and {A} cried.

frame: baking
sky: in
slot cake: cake; loaf; apple pie; plum tart; gingerbread house; cherry pie; pudding
slot for: {his} grandfather's birthday; the village fair; Sunday tea; the school party; the harvest supper
topic: the {cake}
R: {his} grandmother
open: [One morning|On Sunday|One Saturday] {I} decided to bake a {cake}.
open: {I} stood in the kitchen with flour on {his} nose. There was a {cake} to make.
open: "Today I shall bake a {cake}," said {I}.
start: The {cake} was for {for}, and {his} grandmother was there to help. They [weighed|measured] the flour
    and the butter and [broke|put] three eggs into a bowl.
polite: [May I stir it, please?|Could you pass me the wooden spoon, please?|Excuse me, may I have the
    sugar?]
rude: [Give me the spoon!|Out of my way, I want to stir!|Give me the sugar right now!]
plain: The oven is hot enough now.
good: The {cake} came out of the oven [golden|perfect], and the kitchen smelled [wonderful|delicious]. {A}
    clapped {his} hands and [laughed|beamed].
bad: But {A} forgot the time, and the {cake} was burnt black. {He} tried a little piece, and it tasted
    [awful|terrible].
mix: The {cake} was delicious in the middle, and {A} smiled. But the outside was burnt, and the plate broke
    on the floor.
up: {His} grandmother knew what to do, and together they baked another {cake}. This one was [golden and
    sweet|perfect], and {A} laughed with joy.
down: But when {A} carried it to the table, {he} slipped. The {cake} fell and was ruined, and {A} wept.

frame: picnic
cast: 2
slot where: the lake; the river; the old mill; the top of the hill; the edge of the wood
slot food: bread and cheese; egg sandwiches; apples and nuts; pancakes; cherries and buns; cucumber
    sandwiches; sausages and mustard; dates and almonds; tomatoes and olives
topic: the picnic
R: {B}
open: [One day|On Sunday|One morning] {I} packed a basket for a picnic.
open: {I} had planned a picnic for a whole week.
open: "Let us have a picnic by {where}," said {I}[| one day].
start: {A} and {Bi} walked to {where} with a basket of {food}. They spread a blanket on the grass.
polite: [May I have the first bite, please?|Could you pass me the basket, please?]
rude: [Give me all the food!|Give me the basket right now!]
plain: I can see a boat from here.
good: The food was delicious, and a robin sang in the tree above them. {A} and {B} [laughed|giggled] and
    played until the evening.
bad: Then [heavy rain|a great storm] came, and the food was ruined. {A} and {B} were cold and
    [hungry|miserable].
mix: The food was delicious, and they enjoyed every bite. But then it rained, and they ran home cold and
    muddy.
up: Soon the rain stopped, and a farmer's wife asked them in. They sat safe by her fire with hot soup, and
    {A} [smiled|laughed] again.
down: Then wasps came to the blanket. {B} was hurt by one of them and cried, and {A} was frightened.

frame: broken toy
slot toy/part: train/wheel; cart/wheel; puppet/arm; boat/mast; windmill/sail; robot/leg; horse/ear
slot stuff: wood; tin; painted wood
sky: in
topic: the toy {toy}
R: {his} father
open: {I} had a toy {toy} made of {stuff}. One day {he} dropped it on the floor.
open: [One evening|One afternoon|After tea] {I} was playing with a toy {toy}. It slipped from {his} hand.
open: [Every day|Every evening] {I} played with a toy {toy} made of {stuff}. But on Monday {he} let it fall.
start: There was a snap, and the {part} came off. {A} carried both pieces to {his} father's workshop.
polite: [Could you mend my {toy}, please?|Please, could you look at my {toy}?]
rude: [Hurry up and mend my {toy}!|Mend my stupid {toy} right now!]
plain: The {part} has come off.
good: {His} father [glued|fixed] the {part}, and the {toy} looked [better than before|perfect]. {A} hugged
    him and [laughed|smiled].
bad: But there was no glue, and the {toy} stayed broken. {A} put the pieces in a box and [cried|sighed
    sadly].
mix: {His} father mended the {part}, and {A} was glad. But the paint was spoiled, and that made {him} sad.
up: In the morning a mended {toy} stood beside the bed, with a new {part}. {A} was delighted and hugged
    {his} father.
down: But that night the {toy} fell from the shelf. Now every piece was broken, and {A} sobbed.

frame: new friend
apart: yes
cast: new
slot where: the park; the playground; the old well; the bridge; the duck pond
slot game: hide-and-seek; hopscotch; catch; leapfrog; a guessing game
topic: the day at {where}
R: {B}
open: {I} was new in the village and did not know anybody.
open: [One afternoon|One day|On Tuesday] {I} went out to play.
open: "I wish I had somebody to play with," said {I}.
start: At {where} {A} met {Bn}, who was playing with [a ball|a rope|a hoop].
polite: [May I play with you, please?|Excuse me, could you show me your game?]
rude: [Give me that, I want to play!|Go away, this is my place!]
plain: I live in the house by the church.
good: They played {game} together, and it was great fun. {A} and {B} [laughed|giggled] until their sides
    shook.
bad: But {B} turned away and ran off to other playmates. {A} stood there alone and felt [lonely|miserable].
mix: They played {game}, and both of them laughed. But {B} had to move to another town the next day, and {A}
    was sad.
up: The next day {B} came back with a plum for {A}. They shared it, smiled and played {game}, and {A} was
    glad.
down: But in the end they argued about the rules. {B} went home angry, and {A} was alone again.

frame: race
cast: 2
slot race: running race; sack race; egg-and-spoon race; obstacle race; wheelbarrow race
slot prize: silver cup; blue ribbon; basket of pears; jar of honey; small medal; book of maps; tin of
    toffee; penknife
topic: the race
R: {B}
open: [One day|On Saturday|Last summer] {I} took part in a {race}.
open: {I} had practised for the {race} for many weeks.
open: "The {race} is today," said {I}.
start: The prize was a {prize}. {A} stood at the starting line next to {Bi}.
polite: [May I stand on this side, please?|Could you move a little, please?]
rude: [Out of my way, I am faster than you!|Get out of my place!]
plain: I can see the flag from here.
good: {A} was as quick as the wind and won the {prize}. {B} clapped, and {A} [beamed|smiled proudly].
bad: Halfway round {A} fell and hurt {his} knee. {He} sat in the dust and [cried|sobbed] while the others
    ran on.
mix: {A} won the {prize} and was proud. But {B} had fallen and was hurt, and that made {A} sad.
up: Then {B} turned back and pulled {him} up. They finished hand in hand, and everyone cheered and clapped.
down: But on the way home {A} dropped the {prize} on a stone. It was ruined, and {A} [wept|cried bitter
    tears].

frame: garden
slot plant: sunflower; pumpkin; rose bush; bean; marigold; foxglove; lily; apple tree
slot where: by the fence; behind the house; next to the gate; under the kitchen window
topic: the {plant}
R: {his} grandfather
open: [One spring|In April|One spring morning] {I} planted a {plant} {where}.
open: {I} wanted to grow a {plant} {where}.
open: "This {plant} shall grow tall," said {I}.
start: {His} grandfather [dug|raked] the soil and [brought a can of water|pulled up the weeds]. Every
    [morning|evening] {A} went to look at the little plant.
polite: [May I use your watering can, please?|Could you show me how to dig, please?]
rude: [Give me the watering can!|Give me the spade, old man!]
plain: There is a new leaf today.
good: The {plant} grew tall and beautiful. {A} was [proud|delighted], and {his} grandfather smiled at {him}.
bad: In the night [a goat|a hare|a hungry snail] came and ate the {plant}. {A} looked at the empty bed and
    [cried|wept].
mix: The {plant} grew tall, and {A} was proud. But the wind broke the fence, and half of the garden was
    ruined.
up: But the root was still alive, and soon a green shoot came up. The {plant} grew beautiful after all, and
    {A} danced with joy.
down: Then a night of frost came. In the morning the {plant} was black and {A} was very sad.

frame: seaside
slot find: shell; starfish; piece of green glass; crab; smooth stone; feather; coin
slot vehicle: bus; train; cart; coach
topic: the sea
R: {his} father
open: [One day|In July|On the first day of the holidays] {I} went to the sea with {his} father.
open: {I} had never seen the sea before.
open: "Is it far to the sea?" asked {I}.
start: {A} and {his} father went there by {vehicle}. They took off their shoes and walked along the sand.
polite: [May I go into the water, please?|Could you hold my hat, please?]
rude: [Hurry up, you are too slow!|Give me the bucket right now!]
plain: The waves are as tall as a wall.
good: {A} built a castle and found a {find} between two rocks. The sand was warm, and {he} laughed at the
    gulls.
bad: A big wave knocked {A} over, and {his} bucket was lost. {He} was cold and [frightened|afraid], with
    salt in {his} eyes.
mix: {A} found a {find} and was delighted. But {he} lost a shoe in the waves and came home cold.
up: {His} father wrapped {him} in a warm towel and bought {him} a bun. Then {A} found a {find} in the sand
    and [laughed|smiled].
down: But at noon a dark cloud came, and the tide took everything. {A} lost the {find} and sobbed.

frame: gift
sky: in
slot present: pair of gloves; paper lantern; picture of a ship; clay cup; wooden box; necklace of beads;
    knitted hat; cushion; bookmark; calendar; picture frame; candlestick; brooch
slot day: birthday; name day; party
slot who: aunt; mother; grandmother
topic: the present
R: {his} brother
humans: yes
open: [One evening|One day|In the winter] {I} began to make a present for {his} {who}.
open: "What can I make for my {who}'s {day}?" asked {I}.
open: {I} liked to make things with {his} hands.
start: {A} decided on a {present} for {his} {who}'s {day}. {He} worked at the table next to {his} brother.
polite: [May I use your scissors, please?|Could you hold this, please?]
rude: [Give me the scissors!|Go away, this is my table!]
plain: It must be ready by tomorrow.
good: When {his} {who} opened the parcel, she [smiled|laughed]. She said that it was the best present of
    all, and {A} felt proud.
bad: But {A} dropped the parcel in the [street|yard], and the present was ruined. {He} came with empty hands
    and felt ashamed.
mix: {His} {who} loved the present and hugged {him}. But {A} had cut {his} finger, and it hurt all day.
up: {His} {who} said that a song would be a perfect present too. So {A} sang, and she clapped and hugged
    {him}.
down: But the next day the present was broken. {His} {who} was upset, and {A} cried with her.

frame: quarrel
apart: yes
cast: 2
slot thing: swing; hoop; red sledge; wooden sword; toy wagon; big drum; tin trumpet
topic: the {thing}
R: {B}
open: [One day|One afternoon|On Friday] {I} played in the yard with {Bi}.
open: {I} and {Bi} were playing in the yard.
start: There was only one {thing}, and both of them wanted it.
polite: [May I have a turn with the {thing}, please?|May I have the first turn, please?]
rude: [Give me the {thing}!|Go away, the {thing} is mine!|Get out, it is my turn!]
plain: I saw it first.
good: They took turns, and it was more fun than before. {A} and {B} [laughed|giggled] together until it was
    time for tea.
bad: They pulled and pushed until the {thing} broke. {B} went away angry, and {A} was left alone with the
    pieces.
mix: They took turns, and both of them enjoyed it. But then the {thing} cracked, and they were sad about it.
up: After supper {A} knocked at the door, and {B} smiled at once. They mended the {thing} together and were
    happy.
down: But then {B} pushed {A}, and {A} fell into the mud. They went home angry and upset.

frame: storm
slot thing: roof; window; kitchen door; chimney
slot noise: thunder; wind; rain
topic: the storm
sky: in
R: {his} mother
open: [One night|One autumn night|Late one evening] {I} heard a storm outside.
open: {I} sat by the window and watched the clouds.
open: "What was that noise?" asked {I}.
start: The {noise} [grew louder|came nearer] every minute. {A} went to find {his} mother[| in the kitchen].
polite: [May I sit with you, please?|Could you light a candle, please?]
rude: [Light a candle right now!|Hurry up and stop that noise!]
plain: The trees are bending.
good: {His} mother lit a candle and sang, and they felt [safe|warm and safe]. They drank sweet milk and
    laughed at the {noise}.
bad: Then the candle went out, and the house was dark. {A} trembled, and {he} was too afraid to sleep.
mix: They felt safe in the warm kitchen. But in the morning the old apple tree was broken, and {A} was sad.
up: At last the storm passed, and {his} mother showed {him} a golden moon. {A} smiled, for {he} was safe.
down: But then the storm broke the {thing}. Water ran in, and everything was cold and ruined.

frame: neighbour
slot job: carry wood; rake the leaves; feed the hens; paint the gate; wash the windows; pick the beans
slot reward/it: a slice of cake/the cake; a pear/the pear; a jar of jam/the jam; a small bell/the bell; a
    bag of nuts/the nuts
topic: the old woman's house
R: the old woman
open: [One morning|One day|On Thursday] {I} went to help an old woman next door.
open: {I} lived next door to an old woman.
open: "I shall help the old woman next door," said {I}.
start: The old woman had to {job}, and her back was stiff. {A} rolled up {his} sleeves.
polite: [May I help you, please?|Excuse me, could you show me what to do?]
rude: [Out of my way, I can do it alone!|Hurry up and tell me what to do!]
plain: I can do this before noon.
good: {A} worked hard, and everything was done by noon. The old woman was delighted and gave {him} {reward}
    with a smile.
bad: But {A} dropped a pot, and it broke. The old woman was angry, and {A} went home ashamed.
mix: {A} did the work well and was proud. But {he} tore {his} best shirt on a nail and was upset.
up: The next day {A} came back and tried again. The old woman laughed, gave {him} {reward} and was pleased
    with {him}.
down: But on the way home {A} fell, and {his} hand was hurt. {He} lost {it} in the ditch and cried.

frame: swimming
humans: yes
slot where: lake; river; pond; pool
slot months: a week; ten days; a month
topic: the {where}
R: {his} uncle
open: [Last summer|One summer|In August] {I} wanted to learn to swim.
open: {I} could not swim yet.
open: "Today I shall learn to swim," said {I}.
start: {His} uncle took {him} to the {where} for {months}. {A} put one foot into the water.
polite: [Could you hold my hand, please?|Please, may I try it again?]
rude: [Be quiet, I know how to swim!|Let go of me right now!]
plain: The water comes up to my knees.
good: On the last day {A} swam all the way to the other side. {His} uncle cheered, and {A} [beamed|laughed].
bad: The water was cold, and {A} was afraid. {He} went under, swallowed water and [cried|trembled].
mix: {A} swam ten strokes and was proud. But {he} was cold and hungry, and {his} towel was gone.
up: {His} uncle gave {him} a cork belt and a hug. Then {A} swam ten strokes and laughed with delight.
down: But then {A} got a pain in {his} leg. {He} was so frightened that {he} sobbed.

frame: bird
slot bird: sparrow; robin; blackbird; dove; finch; wren; starling
slot where: under the hedge; beside the road; below the barn roof; next to the well
topic: the {bird}
R: {his} grandmother
open: [One morning|One day|After the wind] {I} saw a {bird} {where}.
open: {I} heard a soft sound {where}. A {bird} was sitting there.
open: "Look at this little {bird}," said {I}.
start: The {bird} could not fly. {A} carried it in both hands to {his} grandmother.
polite: [Could you help this {bird}, please?|May I keep it in a box, please?]
rude: [Hurry up and get me a box!|Get out of that chair and help!]
plain: It weighs less than a spoon.
good: They fed it every day, and at last the {bird} flew and sang. {A} laughed and waved {his} hand.
bad: They gave it [water|crumbs], but it did not eat. In the morning the {bird} was dead, and {A} wept.
mix: The {bird} grew strong and flew away. {A} was glad that it was safe, but sad that it was gone.
up: Before long another {bird} built a nest by {his} window. Its young ones sang, and {A} smiled again.
down: But then a cat sprang at it. The {bird} was hurt, and {A} cried in {his} grandmother's arms.

frame: bicycle
humans: yes
slot colour: red; green; black; silver; blue
slot where: the mill; the church; the post office; the station; the farm
topic: the {colour} bicycle
R: {his} sister
open: {I} had a {colour} bicycle.
open: [One day|On Sunday|After school] {I} took a {colour} bicycle out of the shed.
open: "I want to ride my {colour} bicycle to {where}," said {I}.
start: {A} set out for {where}, and {his} sister rode behind {him}. The road went down a long hill.
polite: [Could you wait for me at the bend, please?|May I ride in front, please?]
rude: [Out of my way, you are too slow!|Hurry up, or go away!]
plain: The road is longer than I thought.
good: {A} flew down the hill with the wind in {his} hair. {He} sang, and it was [great|wonderful] fun.
bad: At the bend {A} fell, and the front wheel was broken. {His} knee hurt, and {he} cried.
mix: The ride down was wonderful, and {A} laughed. But the way back was hard, and {he} came home tired and
    muddy.
up: A man with a van stopped and mended the wheel for them. Then {A} rode on, safe and happy, and
    [sang|laughed].
down: But outside a shop somebody took the bicycle. It was gone, and {A} walked home in tears.

frame: snow
cast: 2
slot hat: straw hat; top hat; saucepan; flowerpot; woollen cap
slot nose: carrot; turnip; cork; fir cone
topic: the snowman
sky: in
R: {B}
open: [One winter morning|One day in January|One winter day] {I} saw snow in the garden.
open: {I} had waited for the snow since November.
open: "It has snowed in the night," said {I}.
start: {A} and {Bi} rolled three big balls of snow. They had a {hat} for the head and a {nose} for the nose.
polite: [Could you lift this with me, please?|May I put the {hat} on, please?]
rude: [Give me the {nose}!|Get out of my garden!]
plain: It is as tall as the gate.
good: The snowman looked [wonderful|perfect], and {A} and {B} danced round it. Then they drank sweet cocoa
    and laughed.
bad: Then {B} slipped and fell against the snowman. It broke, and both of them were cold and
    [upset|miserable].
mix: The snowman was beautiful, and they laughed. But {A} lost a glove, and {his} hand hurt with the frost.
up: So they started again, and the second snowman was better. {A} and {B} clapped and danced round it.
down: But by night it rained. In the morning the snowman was gone, and {A} was sad.

frame: market
slot ware: melon; goose; basket of plums; brown hen; bag of flour; pot of honey; cheese
slot money: three coins; five coins; a silver coin; six coins
topic: the market
R: the market woman
open: [One morning|On Wednesday|On market day] {I} went to the market.
open: {I} had {money} in {his} pocket and a basket on {his} arm.
open: "I am off to the market," said {I}.
start: {His} mother had sent {him} to buy a {ware}. A market woman stood [behind her stall|by the fountain].
polite: [May I see that {ware}, please?|Excuse me, could you tell me the price?]
rude: [Give me that {ware}!|Hurry up, I do not want to wait!]
plain: I have {money}.
good: The {ware} was the best of all, and there was a coin left for a treat. {A} [sang|smiled] all the way
    back.
bad: But there was a hole in {his} pocket, and the money was gone. {A} walked back with an empty basket,
    [sad and tired|cold and sad].
mix: {A} got a good {ware} and was pleased. But {he} lost the way back and came home tired and muddy.
up: A man ran after {him}, for he had found the money in the road. {A} laughed, bought the {ware} and was
    happy.
down: But {A} stumbled on the steps. The {ware} was lost in the crowd, and {he} was too upset to speak.

frame: boat
cast: 2
slot where: the island; the lighthouse; the far shore; the old jetty
slot colour: white; green; red; blue
topic: the {colour} boat
R: {B}
open: [One day|One evening|One summer day] {I} found a {colour} boat in the reeds.
open: {I} knew an old man who had a {colour} boat.
open: "Let us row the {colour} boat to {where}," said {I}.
start: {A} and {Bi} climbed into the {colour} boat and rowed towards {where}.
polite: [May I have the oars, please?|Could you sit a little further back, please?]
rude: [Give me the oars!|Shut up and row!]
plain: I can hear the frogs.
good: They saw a swan with her young ones on the sparkling water. {A} sang, and {B} [laughed|smiled] and
    sang too. It was wonderful.
bad: Then water came in through a hole, and the boat sank near the shore. They stood on the bank, cold and
    [frightened|miserable].
mix: The trip to {where} was lovely, and they laughed. But one oar broke, and they came back late and
    hungry.
up: A fisherman pulled the boat out and mended it. He gave them warm fish soup, and {A} and {B} laughed
    about it all.
down: But on the way back a fog came up, and they were lost. {A} shivered, and {B} was scared.

frame: book
sky: in
slot about: dragons; the moon; ships; bears; a clever mouse; buried gold; kings; trains; volcanoes;
    elephants; knights; a desert; whales; clocks; a circus; camels
slot where: on the stairs; in the hay; under the chestnut tree; by the stove; on the window seat
topic: the book
R: {his} aunt
open: {I} had a book about {about}.
open: [One rainy day|One evening|One day] {I} sat {where} with a book about {about}.
open: "This book is about {about}," said {I}.
start: The book belonged to {his} aunt, who had read it as a child. {A} turned the pages with care.
polite: [Could you read a page to me, please?|May I keep it until Sunday, please?]
rude: [Be quiet, I am reading!|Go away and leave me alone!]
plain: There are ninety pages.
good: The story was wonderful, and {his} aunt sat down beside {him}. They laughed at the pictures and
    enjoyed every page.
bad: Then {A} spilled [milk|tea|ink] over it, and a page tore. The book was ruined, and {A} was ashamed.
mix: {A} loved the beginning of the book and laughed. But the end was so sad that {he} cried.
up: {His} aunt dried the book by the stove and mended it with paste. Then she hugged {him}, and {A} was
    glad.
down: But {A} left it outside, and the rain fell on it all night. The book was ruined, and {he} cried.

frame: picture
sky: in
slot thing: horse; castle; whale; garden; fire engine; village; peacock; tiger; rainbow; giraffe; steamship;
    waterfall; parrot; lighthouse; mermaid
slot with: chalk; paint; ink; crayons; coloured paper
topic: the picture
R: the teacher
humans: yes
open: [One day|On Monday|At school] {I} made a picture of a {thing}.
open: {I} liked to draw more than anything else.
open: "I am going to draw a {thing}," said {I}.
start: The picture was for the big wall at school, and {A} made it with {with}. The teacher walked from desk
    to desk.
polite: [May I have another sheet, please?|Could you help me with the sky, please?]
rude: [Give me the big brush!|Go away, do not look at it!]
plain: The sky is the hardest part.
good: The teacher hung up the {thing} in the middle of the wall. Everybody clapped, and {A} was
    [proud|delighted].
bad: Then a jar of water fell, and the picture was spoiled. {A} looked at the wet paper and [cried|sobbed].
mix: The picture won a prize, and {A} beamed. But one boy laughed at it, and that hurt.
up: The teacher gave {him} a new sheet and one more hour. The second picture was better, and {A} smiled
    proudly.
down: But at night the picture fell from the wall, and somebody stepped on it. It was torn, and {A} was sad.

frame: apples
cast: 2
slot fruit/tree: apple/apple tree; pear/pear tree; plum/plum tree; cherry/cherry tree
slot where: behind the barn; at the end of the lane; on the hill; by the stream
topic: the {tree}
R: {B}
open: [One morning|One day|After lunch] {I} went to pick fruit.
open: {I} carried a ladder to the {tree} {where}.
open: "The {tree} is full," said {I}.
start: {Bi} came along to hold the basket. {A} climbed up to the first branch of the {tree}.
polite: [Could you hold the ladder, please?|Please, could you pass me the basket?]
rude: [Hold the ladder, you useless thing!|Hurry up with that stupid basket!]
plain: The basket is half full.
good: The fruit was sweet and delicious. {A} and {B} ate in the grass and [laughed|giggled] at the juice on
    their chins.
bad: Then a branch broke, and {A} fell. {His} arm hurt, and {he} cried.
mix: The fruit was sweet, and they enjoyed it. But they ate too much, and in the night both had a terrible
    pain.
up: {B} ran for help, and the doctor said that nothing was broken. {A} smiled, and they ate a sweet {fruit}
    together.
down: But an old man came, and he was angry. They ran until they were tired and afraid, and the basket was
    lost.

frame: journey
slot vehicle/seat: train/by the window; bus/at the front; coach/by the door
slot town: by the sea; in the mountains; in the north; beyond the forest
topic: the journey
R: {his} mother
open: [One day|On Friday|In the spring] {I} went on a long journey.
open: {I} had an aunt who lived far away.
open: "How long is the journey?" asked {I}.
start: {A} and {his} mother were on the way to visit {his} aunt {town}. They took the {vehicle} and sat
    {seat}.
polite: [May I have an apple, please?|Could you open my bag, please?]
rude: [Give me your seat!|Shut up, I want to sleep!]
plain: I have counted nine bridges.
good: {A} saw deer, castles and a golden river. {His} aunt stood waiting with a [smile|treat], and they
    hugged each other.
bad: The {vehicle} stopped for hours, and there was nothing to eat. {A} was hungry, tired and
    [miserable|unhappy].
mix: The journey was fun, and {A} laughed a lot. But {his} bag was lost, with all {his} clothes in it.
up: In the evening they were there at last. {His} aunt hugged {A} and put a delicious pie on the table.
down: But in the night {A} missed {his} own bed. {He} lay in the dark and cried.

frame: play
sky: in
humans: yes
cast: 2
slot part: lion; ghost; baker; giant; wolf; tree; moon; wizard; dragon; sailor; clown; miller; shepherd
slot place: the school hall; the village hall; the old barn
topic: the play
R: {B}
open: [One day|In December|Last winter] {I} was the {part} in a play.
open: {I} had learned every word of the play.
open: "I am the {part} in the play," said {I}.
start: The stage was in {place}, and many people came. Behind the curtain {A} stood next to {Bi}.
polite: [Could you hold my mask, please?|May I look through the curtain, please?]
rude: [Get out of my way, I am first!|Give me that mask!]
plain: Every chair is taken.
good: {A} spoke in a clear voice, and everybody clapped. {B} smiled, and {A} felt [proud|wonderful].
bad: But {A} forgot the words and stood there with a hot face. Somebody hissed, and {he} felt
    [awful|ashamed].
mix: {A} was a good {part}, and people clapped. But {B} fell on the stage and was hurt.
up: Then {B} whispered the words to {him}. {A} spoke them loudly, and at the end everybody cheered and
    clapped.
down: But when {he} bowed, the scenery fell. {A} was hurt, and the curtain was torn.

frame: kitten
slot pet: kitten; puppy; rabbit; lamb; foal
slot colour: white; brown; black; spotted
slot where: in the barn; behind the chicken house; in the long grass; near the stream
topic: the {colour} {pet}
humans: yes
R: {his} father
open: {I} had a {colour} {pet}.
open: [One day|One evening|On Tuesday] {I} went out to feed {his} {colour} {pet}.
open: "Have you seen my {pet}?" asked {I}.
start: The {pet} was not in its usual place. {A} [looked for it with {his} father|took a lamp and went to
    look with {his} father].
polite: [Could you carry the lamp, please?|Please, may I call it first?]
rude: [Hurry up, you are too slow!|Be quiet, or it will not come!]
plain: It was here this morning.
good: They found the {pet} asleep {where}. {A} hugged it and [laughed|smiled], and it licked {his} ear.
bad: They called until it was dark, but the {pet} was gone. {A} [cried|sobbed] all the way back.
mix: They found the {pet} {where}, and {A} was glad. But its leg was hurt, and {he} was worried.
up: In the morning there was a noise at the door. It was the {colour} {pet}, safe and happy, and {A} hugged
    it.
down: But soon it became ill and would not eat. {A} sat beside it, worried and sad.

frame: kite
sky: in
slot colour: red; yellow; striped; purple; blue
slot tail: ribbons; paper bows; feathers; string
slot where: on the hill; on the beach; in the meadow; on the common
topic: the {colour} kite
R: {his} grandfather
open: [One windy day|One windy afternoon|In March] {I} took a {colour} kite outside.
open: {I} had built a {colour} kite with a tail of {tail}.
open: "There is enough wind for my kite," said {I}.
start: {A} and {his} grandfather stood {where}. The string was long and the wind was strong.
polite: [Could you hold the string, please?|May I let it go, please?]
rude: [Give me the string!|Let go right now!]
plain: It needs a longer tail.
good: The kite rose higher than the church tower. {A} [laughed|cheered] and ran below it, and it was a
    beautiful sight.
bad: Then the string broke, and the kite was gone. {A} looked at the empty sky and [cried|sobbed].
mix: The kite flew high, and {A} cheered. But it came down in a thorn bush, and its tail was torn.
up: The next day a farmer brought the kite back, for he had found it in a field. {A} was so happy that {he}
    danced.
down: Then it came down in a tall tree and tore. They could not reach it, and {A} went home sad.

frame: fishing
slot fish: trout; perch; carp; pike; eel; salmon; roach
slot bait: worms; bread; a bit of cheese
slot where: from the bridge; below the mill; under the willow; from the jetty
topic: the fishing trip
R: {his} uncle
open: [One morning|Early one day|On Saturday] {I} went fishing with {his} uncle.
open: {I} had a new fishing rod.
open: "Do fish sleep?" asked {I}.
start: {A} and {his} uncle fished {where}, with {bait} on their hooks. For an hour nothing moved.
polite: [Could you help me with the hook, please?|May I use your net, please?]
rude: [Be quiet, you talk too much!|Give me your rod!]
plain: The river is slow today.
good: Then there was a pull, and {A} had a big {fish}. {His} uncle cheered, and they made a delicious supper
    of it.
bad: Then {A} slipped on a stone and fell into the river. {He} was cold and muddy, and the rod was gone.
mix: {A} caught a {fish} and was proud. But {he} looked into its eyes and was sad for it.
up: {His} uncle pulled {him} out, wrapped {him} in a warm coat and made a fire. They ate a delicious {fish},
    and {A} laughed.
down: But on the way home {A} left the basket at a gate. When {he} came back it was gone, and {he} was
    upset.

frame: den
cast: 2
slot made: branches; old boards; blankets; straw; reeds
slot where: in the wood; behind the hedge; by the stream; under the fir trees
topic: the den
R: {B}
open: [One day|In the holidays|After lunch] {I} began to build a den {where}.
open: {I} wanted to have a secret place.
open: "Nobody must know about our den," said {I}.
start: {A} and {Bi} made the walls of {made}. They left a small hole for the door.
polite: [Could you hold this end, please?|May I go in first, please?]
rude: [Give me the rope!|Get out, there is no room for you!]
plain: The roof is too low.
good: Inside it was warm, and they shared a bag of nuts. {A} told a joke, and {B} [laughed|giggled] so much
    that the walls shook.
bad: But the roof fell in, and {B} was hurt. They went home [tired|muddy] and sad.
mix: The den was perfect, and they had fun in it. But a spider scared {B}, and {A} tore {his} coat.
up: The next day they came back with stronger poles. The new den was [better|perfect], and {A} and {B} were
    proud of it.
down: Then some older children came and broke the walls. {A} was angry, and {B} wept.

frame: soup
sky: in
slot veg: leek; carrot; turnip; onion; cabbage; potato; parsnip; swede; beetroot; marrow
slot herb: parsley; thyme; pepper; mint
topic: the soup
R: {his} father
open: [One evening|One day|One winter evening] {I} cooked a pot of soup.
open: {I} wanted to cook supper for the whole family.
open: "Tonight I shall make {veg} soup," said {I}.
start: {A} cut up a {veg} and put it into the pot. {His} father [washed the herbs|lit the stove].
polite: [Could you pass me the {herb}, please?|May I taste it, please?]
rude: [Give me the {herb}!|Get out of the kitchen!]
plain: It needs a little more {herb}.
good: The soup was delicious, and everyone asked for more. {A} [beamed|glowed] and felt proud.
bad: But {A} put in far too much salt, and the soup was spoiled. Everyone went to bed hungry, and {A} was
    [ashamed|unhappy].
mix: The soup was delicious, and everyone was pleased. But {A} burnt {his} hand on the pot, and it hurt.
up: {His} father laughed and fetched eggs and bread. They made golden pancakes together, and {A} was happy
    again.
down: But then the pot fell from the table and broke. {A} looked at the floor and cried.

frame: music
sky: in
slot thing: flute; violin; drum; trumpet; guitar; harp; cello; piano; accordion; banjo; clarinet
slot song: a march; a dance; a lullaby; an old song; a sailor's song
topic: the {thing}
R: {his} aunt
open: {I} wanted to learn to play the {thing}.
open: [One evening|One day|Every evening] {I} practised the {thing}.
open: "Listen to this," said {I}[| one evening].
start: {His} aunt could play {song} on the {thing}. {A} tried to play it too.
polite: [Could you show me how to do it, please?|May I try it once more, please?]
rude: [Be quiet and let me play!|Give me the notes!]
plain: This part is too fast for me.
good: After a week {A} could play {song}. The whole family danced, and {his} aunt [clapped|smiled].
bad: But it sounded [awful|terrible], and people held their ears. {A} put the {thing} away and sighed.
mix: {A} played {song}, and people clapped. But one note was wrong, and {he} was upset about it.
up: {His} aunt practised with {him} every day. In the end {A} played {song} so well that people danced and
    cheered.
down: But one day the {thing} fell and broke. The house was quiet, and {A} missed the music.

frame: stars
slot see: an owl; a fox's tracks; a shooting star; a badger; a hedgehog
slot where: to the hilltop; to the edge of the field; to the old tower; down to the lake
topic: the stars
R: {his} grandfather
sky: in
open: [One night|One clear night|One evening in August] {I} went out to look at the stars.
open: {I} was not sleepy at all.
open: "How many stars are there?" asked {I}.
start: {A} and {his} grandfather walked {where} with a lantern. It was very still.
polite: [May I hold the lantern, please?|Could you walk more slowly, please?]
rude: [Give me the lantern!|Hurry up, you walk too slowly!]
plain: I have counted fifty.
good: The stars sparkled, and then they saw {see}. {A} smiled, and {his} grandfather told {him} a wonderful
    tale.
bad: Then the lantern went out, and they were lost in the dark. {A} was [scared|frightened], and {he}
    shivered.
mix: The stars were beautiful, and {A} was happy. But {he} fell over a root, and {his} foot hurt.
up: But {his} grandfather found the way by the stars. At last they were safe in the warm kitchen, and {A}
    laughed.
down: But on the way back {A} fell into a ditch. {He} was cold and muddy, and {he} cried.

frame: puzzle
apart: yes
cast: 2
slot game: chess; draughts; cards; dominoes
slot where: by the fire; on the floor; at the kitchen table; on the porch
topic: the game
R: {B}
sky: in
open: [One evening|One rainy afternoon|On Sunday] {I} wanted to play {game}.
open: {I} liked to play {game}.
open: "Who will play {game} with me?" asked {I}.
start: {A} sat {where} with {Bi}. They [set up the game|agreed on the rules] and drew straws for the first
    turn.
polite: [May I begin, please?|Could you explain that rule once more, please?]
rude: [Hurry up, you are too slow!|That was a stupid move!]
plain: It is a long game.
good: {A} won the first game and {B} won the second. They [laughed|giggled], ate sweet biscuits and played
    on.
bad: {A} lost every game and grew angry. {B} did not want to play again and went away upset.
mix: {A} won and was proud. But {B} was sad about it, and the evening ended too soon.
up: The next evening they played on the same side against {his} father. They won, cheered and laughed.
down: Then {A} lost five games one after the other. {He} was angry, and {B} went away upset.

frame: bridge
slot what: bridge of logs; dam of stones; water wheel; raft
slot where: stream; brook; ditch; river
topic: the {what}
R: {his} cousin
cast: cousin
open: [One day|In June|After the rain] {I} built a {what}.
open: {I} liked to play by the {where}.
open: "I shall build a {what}," said {I}.
start: {A} worked at the {where} with {his} cousin {B}. They carried [stones|planks|rope] all morning.
polite: [Could you bring me some rope, please?|May I have the hammer, please?]
rude: [Give me the hammer!|Out of my way, you are useless!]
plain: The water is not deep here.
good: By evening the {what} was ready and looked [perfect|wonderful]. {A} and {B} cheered and ate a treat on
    the bank.
bad: Then the water rose, and the {what} fell to pieces. {A} and {B} stood on the bank, tired and
    [sad|muddy].
mix: The {what} was ready, and {A} was proud. But {B} had hurt a thumb and cried.
up: So they began again and took more care. This time it was perfect, and {A} and {B} danced on the bank
    with joy.
down: But in the night a flood came. In the morning the {what} was gone, and {A} was sad.
"""

ENDS = {
    "good": """[That evening|That night] {A} fell asleep with a [happy smile|smile on {his} face].
It was the best day of the [whole year|week|month].
{A} was happy and told everybody about {topic}.
Later {A} thought of {topic} and smiled.
{A} felt happy [from head to toe|for the rest of the week].
What a lovely day it had been!
"This is wonderful," said {A}.
"I am so happy," said {A}[|, and it was true].
{A} [went on smiling|was cheerful] for the rest of the day.
Ever after, {A} smiled at the thought of {topic}.""",
    "bad": """That night {A} [cried into {his} pillow|lay awake and felt sad].
It was the worst day of the [whole year|week|month].
{A} sat alone and would not speak to anybody.
Later {A} thought of {topic} and sighed.
Nobody could cheer {him} up, and {A} stayed sad.
What a terrible day it had been!
"Everything has gone wrong," said {A}.
"I am so sad," said {A}[|, and turned away].
{A} felt [unhappy|miserable|gloomy] for the rest of the day.
For a long time {A} was sad at the thought of {topic}.""",
    "mixed": """So the day brought both smiles and tears.
{A} did not know whether to laugh or to cry.
"Half of it was lovely and half of it was awful," said {A}.
Later {A} thought of {topic} and smiled and sighed at once.
In the end {A} was a little happy and a little sad.
That night {A} was tired, but not unhappy.
"It was not the best day, and not the worst," said {A}.""",
}
ENDS_TWO = {
    "good": """{A} and {B} hugged each other and laughed.
{A} and {B} said that it had been a wonderful day.
"We must do this again," said {B}, and {A} smiled.
From then on {A} and {B} were the best of friends.""",
    "bad": """{A} and {B} parted without a word, and both were sad.
"I want to go home," said {B} sadly, and {A} sighed.
{A} and {B} said that it had been a terrible day.""",
    "mixed": """{A} and {B} were glad about one thing and sad about the other.
"It was fun, but I am sad too," said {B}, and {A} nodded.""",
}
SKY = {
    "good": (
        "The sky was blue. The sun was shining. It was a sunny day. A soft wind was blowing. "
        "White clouds sailed over the roofs."
    ),
    "bad": (
        "The sky was grey. There was mist over the fields. It was a gloomy day. The wind was sharp. "
        "Low clouds hung over the roofs."
    ),
}
POLITE_REPLIES = """"Of course," said {R}. "Thank you," said {A}.
"With pleasure," said {R}, and {A} said thank you.
"Since you ask so politely, yes," said {R}. "Thank you," said {A}.
{R} nodded, and {A} did not forget to say thank you.
"Yes, gladly," said {R}. "Thank you very much," said {A}."""
RUDE_REPLIES = """"That is a rude way to talk," said {R}.
{R} frowned. "I do not care," said {A}.
"Do not be so rude," said {R}. {A} only shrugged.
{R} looked up in surprise. "I do not care what you think," said {A}.
"You could ask in another way," said {R}. "Nobody asked you," said {A}."""
PLAIN_REPLIES = """{R} nodded.
"I see," said {R}.
"Is that so?" asked {R}.
{R} [thought about it for a moment|said nothing]."""
HUMAN_OPENINGS = """Once there was a [little|young|tall|quiet] {kind} named {A}.
Once there was a {kind} named {A} who lived in a small house.
There was once a {kind} called {A} who [asked many questions|liked to be outside|had curly hair].
{A} was a [clever|quiet|curious|lively] {kind} [of six|of seven|of eight|with freckles|with long legs].
Once there was a {kind} named {A} who collected [buttons|stamps|acorns|pebbles|keys|tickets].
Once there was a {kind} named {A} who knew the names of all the [trees|birds|rivers|butterflies|planets].
There was once a {kind} named {A} who could [whistle|juggle|count to a thousand|knit].
[In a village|In a small town|In a valley|On a farm|Near a harbour] lived a {kind} named {A}."""
ANIMAL_OPENINGS = """Once there was a [little|young|clever|quiet] {kind} named {A}.
Once upon a time a [little|young] {kind} named {A} lived in [a hollow tree|a small house|the forest].
There was once a [shy|plump|nimble|clumsy|thoughtful|patient] {kind} named {A}.
Once there was a {kind} named {A} with [soft ears|a pointed nose|a round belly|long whiskers].
[In the forest|By the river|At the foot of a hill] lived a [little|curious|lively] {kind} named {A}."""
ANIMALS = """
    fox bear hedgehog mouse badger squirrel otter hare mole beaver weasel dormouse
""".split()


def _parse(block: str) -> list[dict]:
    frames, frame = [], {}
    for line in re.sub(r"\n +", " ", block.strip()).splitlines():
        key, _, value = line.partition(": ")
        if key == "frame":
            frame = {"name": value, "slots": []}
            frames.append(frame)
        elif key.startswith("slot "):
            names = key.removeprefix("slot ").split("/")
            frame["slots"].append((names, [option.strip().split("/") for option in value.split(";")]))
        elif key:
            frame.setdefault(key, []).append(value)
    return frames


FRAMES = _parse(FRAMES_TEXT)


def _expand(rng: random.Random, text: str, slots: dict) -> str:
    """Make the choices, fill the slots, and correct capitals and "an"."""
    for _ in range(4):
        text = re.sub(r"\[([^\[\]]*)\]", lambda m: rng.choice(m.group(1).split("|")), text)
        text = re.sub(r"\{(\w+)\}", lambda m: slots[m.group(1)], text)
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
    return re.sub(r'(^"?|[.!?] "?|[.,]" "?(?=[A-Z])|\." )([a-z])', lambda m: m[1] + m[2].upper(), text)


def _line(rng: random.Random, lines: str) -> str:
    return rng.choice(lines.splitlines())


def _only_a(template: str) -> bool:
    """Whether the last sentence is about A alone, so that the next may begin with he or she."""
    last = sentences(template)[-1]
    return (
        bool(re.search(r"\{(?:I|A|he|He)\}", last))
        and not re.search(r'\{B|\{R\}|\{who\}|"', last)
        and not any(word.lower() in _WHO for word in re.findall(r"[A-Za-z]+", last))
    )


def _cast(rng: random.Random, frame: dict, animal: bool, first: str, second: str) -> dict[str, str]:
    """The words for a story's two characters and its things, by slot of the frame: {slot: words}."""
    she = GENDER[first] == "she"
    slots = {"A": first, "B": second, "topic": frame["topic"][0], "R": frame["R"][0]}
    slots |= dict(
        zip(
            ("he", "him", "his", "himself"),
            ("she", "her", "her", "herself") if she else ("he", "him", "his", "himself"),
            strict=True,
        )
    )
    slots |= {"He": slots["he"].capitalize(), "His": slots["his"].capitalize()}
    for names, options in frame["slots"]:
        slots |= dict(zip(names, rng.choice(options), strict=True))
    one, other = rng.sample(ANIMALS, 2)
    kind2 = other if animal else ("girl" if GENDER[second] == "she" else "boy")
    sibling = "sister" if GENDER[second] == "she" else "brother"
    return slots | {
        "kind": one if animal else ("girl" if she else "boy"),
        "Bn": f"a {kind2} named {second}",
        "Bi": f"{slots['his']} friend {second} the {kind2}"
        if animal
        else f"{slots['his']} {rng.choice(['friend', 'friend', 'cousin', sibling])} {second}",
    }


def _request(rng: random.Random, frame: dict, manners: str, slots: dict[str, str]) -> str:
    """A request with its reply; a plain one is sometimes ""."""
    asked = rng.choice(frame[manners])
    if manners == "plain" and rng.random() >= 0.8:
        return ""
    words = _expand(rng, asked, slots)
    verb = {"?": "asked", ".": "said", "!": rng.choice(["shouted", "called"])}[words[-1]]
    words = words[:-1] + "," if words[-1] == "." else words
    replies = {"polite": POLITE_REPLIES, "rude": RUDE_REPLIES, "plain": PLAIN_REPLIES}[manners]
    return f'"{words}" {verb} {slots["A"]}. {_line(rng, replies)}'


def _draft(rng: random.Random, mood: str, manners: str) -> tuple[Story, str]:
    frame = rng.choice(FRAMES)
    animal = "humans" not in frame and rng.random() < 0.3
    first, second = rng.sample(sorted(GENDER), 2)
    slots = _cast(rng, frame, animal, first, second)
    pair = "cast" in frame

    opens = [rng.choice(frame["open"])]
    generic = rng.random() < 0.45
    if generic:
        slots["I"] = first if opens[0].startswith('"') else rng.choice([first, slots["he"]])
        opens.insert(0, _line(rng, ANIMAL_OPENINGS if animal else HUMAN_OPENINGS))
    elif animal or rng.random() < 0.35:
        slots["I"] = f"a {rng.choice(['little', 'young', 'small'])} {slots['kind']} named {first}"
    else:
        slots["I"] = first
    if "{Bi}" in opens[-1] and "{Bi}" in frame["start"][0]:
        raise ValueError(f"{frame['name']}: B is introduced twice")
    up = mood == "turning" and rng.random() < 0.5
    if "sky" not in frame and re.match(r"\[", opens[-1]) and rng.random() < 0.5:
        dark = mood == "bad" or (mood == "turning" and up)
        opens.append(rng.choice(sentences(SKY["bad" if dark else "good"])))

    ask = _request(rng, frame, manners, slots)

    if mood == "turning":
        middle = rng.choice(frame["bad" if up else "good"]) + " " + rng.choice(frame["up" if up else "down"])
        close = "good" if up else "bad"
    else:
        middle, close = rng.choice(frame["mix" if mood == "mixed" else mood]), mood
    together = pair and (close == "good" or "apart" not in frame)
    ends = ENDS_TWO if together and rng.random() < 0.3 else ENDS
    start, end = frame["start"][0], _line(rng, ends[close])
    cut = rng.choice([1, 2]) if rng.random() < 0.4 else 0
    if rng.random() < 0.5 and _only_a(opens[-1]):
        start = re.sub(r"^\{A\}", "{He}", start)
    if rng.random() < 0.5 and cut != 1 and _only_a(middle):
        end = re.sub(r"^\{A\}(?! and)", "{He}", end)
    parts = [" ".join(opens), start, ask, middle, end]
    parts = [_expand(rng, part, slots) for part in parts if part]
    head = parts[0]
    text = " ".join(parts)
    if cut:
        text = " ".join(parts[:-cut]) + "\n\n" + " ".join(parts[-cut:])
    return Story(text, mood, manners, (first, second) if pair else (first,)), head


def _story(rng: random.Random, mood: str | None, manners: str | None) -> tuple[Story, str]:
    mood, manners = mood or rng.choice(MOODS), manners or rng.choice(MANNERS)
    if mood not in MOODS or manners not in MANNERS:
        raise ValueError(f"mood must be one of {MOODS} and manners one of {MANNERS}")
    while True:
        made, head = _draft(rng, mood, manners)
        if 5 <= len(sentences(made.text)) <= 12 and 50 <= len(made.text.split()) <= 150:
            return made, head


def story(rng: random.Random, mood: str | None = None, manners: str | None = None) -> Story:
    """A story of 5 to 12 sentences; mood and manners are drawn if not given, ValueError if unknown."""
    return _story(rng, mood, manners)[0]


def opening(
    rng: random.Random, mood: str | None = None, manners: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """The first one or two sentences of a new story, a prompt for sampling, and the names in it."""
    made, head = _story(rng, mood, manners)
    prompt = " ".join(sentences(head)[:2])
    return prompt, tuple(name for name in made.names if re.search(rf"\b{name}\b", prompt))


# ---------------------------------------------------------------------------- checking

_ADULTS = {
    "she": "mother mum grandmother granny aunt woman women lady wife queen girl sister daughter swan mrs",
    "he": "father dad grandfather uncle man men fisherman husband king boy brother son mr",
    "both": "teacher neighbour farmer doctor parents grandparents",
}
_WHO = {word: group for group, words in _ADULTS.items() for word in words.split()}
_PRONOUN = {
    "she": "she",
    "her": "she",
    "hers": "she",
    "herself": "she",
    "he": "he",
    "him": "he",
    "his": "he",
    "himself": "he",
}
_NAMED = re.compile(r"\b([a-z]+) (?:named|called) ([A-Z][a-z]+)")
_INTRODUCES = re.compile(
    r"(?:\b(?:named|called|friends?|brother|sister|cousin|neighbour|son|daughter|boy|girl|name (?:was|is)|"
    + "|".join(ANIMALS)
    + r"),? )$",
    re.I,
)


def consistent_characters(text: str, names: tuple[str, ...]) -> bool:
    """Whether every character is introduced, and he and she fit the characters present so far.

    names: the characters already known, such as the prompt's; unknown names raise KeyError.
    """
    return all(consistent_sentences(re.split(r"\n\s*\n|(?<=[.!?]) |(?<=[.!?]\") ", text), names))


def misnamed(sentence: str) -> bool:
    """Whether a girl has a boy's name or a boy a girl's."""
    return any(
        name in GENDER and _WHO.get(word) in {"she", "he"} - {GENDER[name]}
        for word, name in _NAMED.findall(sentence)
    )


def consistent_sentences(every: Sequence[str], names: Collection[str]) -> list[bool]:
    """For each sentence: whether it names only known or introduced characters, and he and she fit them."""
    known = set(names)
    present = {GENDER[name] for name in names}
    found = []
    for sentence in every:
        pronouns, strangers = set(), False
        for match in re.finditer(r"[A-Za-z]+", sentence):
            word = match.group()
            if word in GENDER:
                if word not in known and not _INTRODUCES.search(sentence[: match.start()]):
                    strangers = True
                else:
                    known.add(word)
                    present.add(GENDER[word])
            elif word.lower() in _WHO:
                group = _WHO[word.lower()]
                present |= {"she", "he"} if group == "both" else {group}
            elif word.lower() in _PRONOUN:
                pronouns.add(_PRONOUN[word.lower()])
        found.append(not strangers and pronouns <= present)
    return found


CHARACTER_NAMES = tuple(sorted(GENDER))
