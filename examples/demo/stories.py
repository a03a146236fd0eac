#!/usr/bin/env python3
"""Generates small stories from a grammar: the training text of the demo model.

A plot is a template. [a|b] is a choice, {slot} a value that stays the same throughout the story, an empty line begins a
paragraph. Slots are drawn once for each story, so a name, a pronoun, a colour or a hiding place never changes in it.

    stories.py [COUNT] [SEED]     prints COUNT stories, each followed by an empty line and a rule
"""

import itertools
import random
import re
import sys

GIRLS = """Mia Lily Anna Emma Rosa Clara Nora Ella Ruby Hana Zoe Ida Maya Lucy Alice Sara Leila Amina Greta Tess Eva
Julia Vera Nina Olive Wanda Penny Flora Maria Kate""".split()
BOYS = """Tom Ben Leo Sam Max Noah Finn Oscar Hugo Theo Jack Emil Omar Ravi Felix Otto Milo Paul Adam Luca Ned Karl
Ali Peter Jonas Toby Simon Victor Kofi Henry""".split()
ANIMALS = "fox rabbit bear mouse hedgehog squirrel otter badger frog mole beaver goat".split()
SYLLABLES = ["ba bo da do fa ga ka ki la lo ma mi na no pa po ra ri sa ta ti va vi wi zu".split(),
             "bel den fin kan lin lo mar mo na nor ra ri sel ta tor va".split()]
COLOURS = "red blue green yellow white orange purple silver brown pink golden".split()
ELDERS = [("mother", "she"), ("father", "he"), ("grandmother", "she"), ("grandfather", "he"), ("aunt", "she"),
          ("uncle", "he")]
WORKERS = """baker gardener miller teacher farmer shepherd carpenter painter beekeeper tailor potter librarian
fisherman postman clockmaker""".split()
HOMES = """in a small house by the sea|in a village at the foot of a mountain|near a wide green forest
at the edge of a quiet town|in a little house on a hill|beside a slow river|in a cottage with a blue door
on a farm with many apple trees|at the end of a long lane|close to an old mill|in a valley full of flowers"""
PLACES = """the river|the forest|the meadow|the beach|the old mill|the market|the park|the hill|the lake|the orchard
the village square|the harbour"""
SPOTS = """under the bed|behind the door|in the big basket|under the old bench|behind the shed|in the tall grass
on top of the cupboard|below the stairs|next to the pond|inside the wheelbarrow|under a pile of leaves
between two flower pots|beside the well|behind the curtain|under the kitchen table|at the foot of the oak tree"""
TREASURES = """kite|ball|drum|wooden boat|music box|storybook|scarf|hat|whistle|teddy bear|lantern|paint box|toy train
umbrella|puppet|bracelet|button|key|feather|spinning top|bell|cup|basket|mitten"""
WEATHER = "sunny warm bright windy quiet cool fine clear golden lovely fresh".split()
TIMES = ["morning"] * 5 + ["afternoon"] * 2 + ["day"] * 3 + ["spring morning", "summer day", "autumn afternoon"]
TRAITS = "little kind clever brave shy cheerful curious young quiet small merry gentle".split()
WHO = "{hero} was a {trait} {kind} who lived {home}."
INTRO = """[Once upon a time, there was|Once upon a time, there was|There once was|Once there was] a {trait} {kind}
named {hero}. [{He} [liked|loved] to [sing|dance|draw|read|climb trees|look at the clouds|tell stories|collect stones|
listen to the birds|help others|ask questions|build things].|
{He} had [a big smile|a soft voice|a pocket full of string|a {colour2} coat|a {colour2} hat] and [a good heart|many
friends|a head full of ideas|a best friend named {pal}].|
Everybody in the village knew {him}.|
Every day was a new adventure for {him}.|
{His} best friend was {pal_is}.|
{He} lived {home}.|{He} lived {home}.|
{He} lived {home} with {his} {elder}.|{He} lived {home} with {his} {elder}.]"""

# Endings: {close} fits everywhere, {evening} only if the elder was not in the last scene.
CLOSE = """From then on, {hero} and {pal} did everything together.|That night, {hero} fell asleep with a smile.|
It had been a [very|truly] good day.|And {hero} never forgot that [day|{weather} {time}].|
{hero} felt [warm|happy|proud] inside.|And they [laughed|sang] all the way home.|
When the stars came out, {hero} was still smiling.|"What a day!" said {hero}, and {he} went happily to bed.|
And that was the end of a wonderful day.||"""
ENDINGS = dict(
    close="[" + CLOSE + "]",
    evening="[" + CLOSE + """{hero} could not wait to tell {his} {elder} all about it.|
            At home, {his} {elder} gave {him} a big hug.|At supper, {he} told {his} {elder} the whole story.]""",
    share="[Good things taste better when they are shared.|Sharing had made {him} happier than keeping.|"
          "{hero} had less than before, but {he} felt much richer.]",
    honest="[{hero} had learned that the truth makes a heart light.|{He} was glad that {he} had told the truth.|"
           "It is always better to tell the truth.]",
    help="[Helping others makes a good day.|{hero} learned that a small friend can be a great help.|"
         "Together, nothing was too hard for them.|A kind deed is never wasted.]",
    patience="[{hero} had learned to be patient.|Good things take time.|It had been worth the wait.]",
    brave="[{hero} was not afraid anymore.|Being brave does not mean that you are never afraid.|"
          "{He} felt very brave that day.]",
    practice="[{hero} learned that you must never give up.|A little practice every day works wonders.|"
             "{He} had tried and tried, and it had worked.]",
    peace="[A good friend is worth more than any toy.|After every quarrel comes a good time.|"
          "The best games are for two.]")


def rows(text):
    """Splits a list at | and new lines into entries, and each entry at semicolons into fields."""
    entries = [entry.strip() for entry in re.split(r"[|\n]", text) if entry.strip()]
    return [tuple(field.strip() for field in entry.split(";")) for entry in entries]


PLOTS = {}


def plot(name, template, **slots):
    """Adds a plot and its own slots, as names=entries. If names are joined by __ and entries have as many fields, one
    entry is drawn for all names; if entries have one field, each name gets a different entry of the list."""
    PLOTS[name] = ({tuple(key.split("__")): rows(entries) for key, entries in slots.items()}, template)


plot("lost", """
{when}{who} [could not find {his} {colour} {thing}|wanted to play with {his} {colour} {thing}, but it was
gone|lost {his} {colour} {thing}]. [{He} loved it very much, because {his} {elder} had given it to {him}.|It was
the best thing that {he} had.|] {He} looked {spot}, but [it was not there|there was only a [sleepy
cat|spider|sock]]. [{He} looked {spot2}, but it was not there either.|{He} searched the whole [house|garden],
but the {thing} was nowhere.]

[{hero} sat down and [began to cry|sighed].|] [Then {pal} came by.|Just then, {pal} came along.] "[What is
wrong|What is the matter|Why are you sad]?" asked {pal}. "I cannot find my {thing}," said {hero}. ["Don't
worry," said {pal}. "I will help you look."|"When did you last see it?" asked {pal}. "I had it yesterday," said
{hero}. "Then it can't be far," said {pal}.|"Two can look better than one," said {pal}.]

[Together they looked {spot3}, and there it was!|They looked {spot3}, and there was the {colour} {thing}!|{pal}
looked {spot3}. "Here it is!" {phe} called.] ["Thank you, {pal}!" said {hero}.|{hero} jumped for joy and hugged
{pal}.] [After that, {hero} always put the {thing} back in its place.|They played together until the sun went
down.|{help}] {evening}""", spot__spot2__spot3=SPOTS, thing=TREASURES)

plot("stuck", """
{when}{who} was playing with {his} {colour} {thing} near {place}. [Suddenly|All at once], {accident}. [{hero}
looked up.|"Oh no!" cried {hero}.] {He} {try1}, but [it was too high|it did not help|that did not work]. Then
{he} {try2}, but the {thing} stayed [where it was|up there].

[{pal} heard the noise and came to see.|{pal} came running across the grass.] "[What happened|What are you
doing]?" asked {pal}. "My {thing} is stuck up there," said {hero}. {pal} [thought for a moment|looked at the
{thing} and thought]. "I have an idea," {phe} said. "{idea}."

{deed}. [Slowly|Carefully], {hero} [reached up|stretched out {his} arm], and [down came the {thing}|at last {he}
had the {thing} back]! ["We did it!" they shouted.|"You are so clever, {pal}!" said {hero}.|{hero} thanked {pal}
and smiled.] [They took turns and played all day.|After that, they played far away from {where}.|{help}]
{evening}""",
     thing__accident__where="""kite; the wind blew it into a tall oak tree; the oak tree
ball; it flew onto the roof of the barn; the barn
hat; a gust of wind carried it onto a high branch; the tall tree
balloon; it floated up and caught on a branch; the tree
paper plane; it landed on top of the garden wall; the wall
scarf; the wind lifted it onto the roof; the roof
ball; it bounced up and stuck between two branches; the trees""",
     try1__try2="""jumped as high as {he} could|stood on an old bucket|poked at it with a stick
threw a small stone at it|climbed onto a wooden box|shook and pushed with all {his} strength|called for help""",
     idea__deed="""You can stand on my shoulders; {hero} climbed onto the shoulders of {pal}
My {elder} has a ladder; They fetched the ladder, and {pal} held it tight
The {worker} has a very long pole; They ran to the {worker} and borrowed the long pole
We can build a tower of boxes; They carried five boxes and built a tower
We can use a long rope; {pal} brought a rope, and they threw one end over the top""")

plot("found", """
{when}{who} found a {colour} {thing} {spot}. [It was [beautiful|almost new|very pretty]|It shone in the sun],
and {hero} wanted to keep it. [But|Then] {he} [thought for a while|looked at it again]. "[Somebody must miss
it|It must belong to somebody|Someone has lost this]," {he} said.

{He} [went to|asked] the {worker}[ first|]. "Is this {thing} yours?" {he} asked. "No," said the {worker}, "[but
you are kind to ask|mine is {colour2}|I have never seen it before]." [Next, {he} asked {his} {elder}. "It is not
mine," said {his} {elder}. "Go and [look|ask] at {place}."|So {hero} walked on to {place}.] [There|At {place}],
{he} met {pal}, who was [crying|very sad|looking for something]. "I have lost my {colour} {thing}," said {pal}.

"[Is it this one|Look, is this it]?" asked {hero}, and held it [up|out]. ["Yes! Thank you so much!" said
{pal}.|{pal} jumped up and down with joy. "You found it!" {phe} cried.] ["My {pelder} made it for me," {phe}
said.|"I looked for it all day," {phe} said.|] [They played with the {thing} together.|{hero} was sad to give it
away, but glad to have a new friend.|"Let's play with it together," said {pal}, and they did.|{hero} had lost a
{thing}, but {he} had won a friend.|A kind deed is never wasted.] {evening}""", spot=SPOTS, thing=TREASURES)

plot("rain", """
{when}{who} and {pal} went for a walk to {place}. [They looked for {look}.|They sang and counted the {look}.|]
[Soon|After a while], dark clouds covered the sun, and [it began to rain|big drops began to fall]. "[We will get
wet|I am getting cold|My feet are wet]!" [cried|said] {pal}. "[Quick|Come], let's run to {shelter}!" said
{hero}.

[Inside|There], it was dry[ and quiet|, but dark|]. [Then they heard a small sound.|But they were not alone.] In
a corner sat {creature}, [shaking with cold|wet and afraid]. "[Poor thing|You poor little thing]," said {hero}.
{He} [gave it {his} {colour} scarf|wrapped it in {his} {colour} coat|held it in {his} warm arms], and {pal} gave
it [some bread|a piece of cake|some seeds|half an apple]. [Soon it was warm again.|It stopped shaking and closed
its eyes.]

When the rain [stopped|was over], a rainbow [stood over {place}|hung in the sky]. [The little animal {thanks},
and then it was gone.|{Creature} {thanks} and ran home.] ["What a lucky rain!" said {pal}.|"I like rainy days,"
said {hero}.|{help}] {evening}""",
     look="flowers|birds|butterflies|mushrooms|clouds|berries",
     shelter="the hollow tree|the old barn|the cave|the empty mill|the little bridge|the boat house|the wooden hut",
     creature__Creature="a tiny mouse; The mouse|a young bird; The bird|a grey kitten; The kitten"
                        "|a baby rabbit; The rabbit|a small puppy; The puppy|a little lamb; The lamb",
     thanks="looked at them with bright eyes|made a happy sound|turned around once more|rubbed against their feet")

plot("share", """
{when}{hero} got {food} from [{his} {elder}|the {worker}]. It [smelled wonderful|was still warm|looked
delicious]. "[I will eat it at {place}|I will save it for later|It is all for me]," {he} said[ happily|].

On the way {he} met {pal}. {pal} [sat on a stone and looked sad|was very quiet]. "[What is wrong|Are you not
well]?" asked {hero}. "{trouble}, and I am so hungry," said {pal}. {hero} looked at the {dish}. [It was not very
big.|{He} was hungry, too.|] [But {pal} was {his} friend.|{He} thought about it for a moment.] "[Let's share
it|You can have half of it|Come and eat with me]," {he} said[ with a smile|].

They [sat down under a tree|sat in the grass] and ate together. ["This is the best {dish} in the world!" said
{pal}.|"Thank you," said {pal}. "You are a true friend."] [The next day, {pal} came with {food2} and gave half
of it to {hero}.|Then {pal} showed {hero} [a secret path|a nest with 3 blue eggs|the best place to swim].|]
{share} {evening}""",
     food__dish="""a big apple pie; pie|a honey cake; cake|a loaf of sweet bread; bread|a mushroom pie; pie
a plum cake; cake|a cinnamon bun; bun|a slice of carrot cake; cake|a cheese sandwich; sandwich|a rice pudding; pudding
a piece of cherry pie; pie""",
     food2="a ripe pear|a jar of berry jam|two sweet oranges|a fresh bun|a bag of nuts",
     trouble="I forgot my lunch|I lost my bread on the way|A bird took my lunch|I dropped my lunch in the mud"
             "|I gave my lunch to a stray dog")

plot("fear", """
{when}[{who} told {pal} a secret. "I am afraid of {fear}," {he} said.|{pal} asked {hero} a question. "Are you
afraid of {fear}?" {phe} said. {hero} nodded.] [{pal} did not laugh.|{pal} took {his} hand.] "[Everybody is
afraid of something|I was afraid once, too|Let's find out about it together]," {phe} said.

That [evening|night], {hero} was [alone|in bed|still awake]. [Suddenly|Then] {event}. [{His} heart beat
fast.|{He} wanted to hide under the blanket.|] "[Who|What] is there?" {he} [whispered|asked], but [nobody
answered|there was no answer]. [Then {he} remembered the words of {pal}.|{He} thought of {pal} and took a deep
breath.] {He} [lit a {tool}|took a {tool}] and went to look.

And what did {he} see? It was only {truth}! {hero} [laughed out loud|began to laugh|had to smile]. The next day,
{he} told {pal} [all about it|the whole story]. ["You were so brave!" said {pal}.|"I knew that you could do it,"
said {pal}.] {brave} {close}""",
     fear__event__truth="""the dark; a tall black shape stood beside the window; {his} own coat on a hook
the attic; something scratched above {his} head; a family of tiny mice
the cellar; something tapped again and again; a dripping pipe
the forest; two yellow eyes shone between the trees; a small owl
the wind; something knocked at the door; a loose branch
ghosts; something white moved in the garden; a shirt on the washing line
monsters; something growled under the bed; the old dog, who was snoring
thunder; there was a loud crash in the kitchen; the cat, who had knocked over a pan
the old mill; a deep voice said hoo, hoo, hoo; the wind in the broken window""",
     tool="candle|lamp|lantern|little light")

plot("bake", """
{when}{who} wanted to make {dish} for {reason}. {He} [washed {his} hands|put on an apron] and [took out the big
bowl|lit the stove]. But [when {he} opened the cupboard, there {lack} no {missing}|there {lack} no {missing} in
the kitchen]! "[What shall I do|What now]?" {he} said.

{He} [ran|went|walked] to the {seller}. "[Please, may I have|Do you have] some {missing}?" {he} asked. "[Of
course|Yes]," said the {seller}, "but can you first {favour}?" [So {hero} worked hard.|{hero} was glad to help.]
[When the work was done|Soon it was done, and then], the {seller} gave {him} [plenty of|more than enough]
{missing}.

Back at home, {hero} [mixed|stirred] and [tasted|sang]. [Soon the house smelled wonderful.|Before long,
{dish_the} was ready.] ["This is the best that I have ever eaten!" said {guest}.|{Guest} ate three pieces.
"Delicious!" said {guest}.|{Guest} took a bite and smiled. "You made this all by yourself?" asked {guest}.]
[{hero} was very proud.|They ate until nothing was left.|It had been worth the work.] {close}""",
     dish__dish_the__lack__missing__seller="""a honey cake; the cake; was; honey; beekeeper
an apple pie; the pie; were; apples; farmer
pancakes; the pancakes; was; milk; farmer
carrot soup; the soup; were; carrots; gardener
fresh bread; the bread; was; flour; miller
a cheese pie; the pie; was; cheese; shepherd
berry jam; the jam; was; sugar; baker
a plum cake; the cake; was; butter; baker
fish soup; the soup; was; fish; fisherman
pumpkin bread; the bread; were; pumpkins; gardener""",
     reason__guest__Guest="""the birthday of {pal}; {pal}; {pal}|{his} friend {pal}; {pal}; {pal}
{his} {elder}, who was ill; {his} {elder}; {His} {elder}|{his} {elder}; {his} {elder}; {His} {elder}""",
     favour="help me to sweep the floor|carry these bags inside|find my glasses|feed my hens|water my flowers"
            "|help me to wash the windows|stack this wood")

plot("young", """
{when}{who} heard a [tiny|soft|sad] sound {spot}. {He} bent down and saw a {baby}. It was [all alone|lost|cold
and alone]. ["Are you lost, little one?" asked {hero}.|"Where is your mother?" asked {hero} softly.|"Don't be
afraid, little one," said {hero}.] The {baby} only {sound}.

{hero} [picked it up carefully|gave it a drop of water|put it into {his} {colour} hat]. [Then {he} went to find
{pal}.|On the road {he} met {pal}.] "Look what I found," said {hero}. "[Its mother must live|I saw one like
that|I think it lives] {near}," said {pal}. So they [walked|set out] together. [It was a long way, and the sun
was hot.|They had to cross a stream and climb over a fence.|{pal} told jokes, and the {baby} listened.|]

[At last|Finally], they came to {goal}. There was the mother! [She ran to her {baby} and kissed it.|She was so
happy that she danced.|She called, and the {baby} answered.] "[Goodbye|Be well], little {baby}," said {hero}.
["I will miss it," said {pal}.|"Now it is home," said {pal}.|The {baby} {sound} once more.|] {help} {evening}""",
     spot=SPOTS,
     baby__sound__near__goal="""duckling; said peep; by the pond; the pond
lamb; said baa; on the green hill; the green hill
kitten; said mew; in the barn; the barn
puppy; whined; on the farm; the farm
chick; said cheep; behind the mill; the hen house
young owl; blinked; in the hollow oak; the hollow oak
piglet; squeaked; behind the farm; the muddy yard
young hare; trembled; near the wheat field; the wheat field
turtle; blinked; near the reeds; the reeds""")

plot("broken", """
{when}{who} [was playing in the kitchen|ran through the house|was dancing in the front room]. [Suddenly|All at
once], {accident}. [Crash!|There was a loud noise.] The {colour} {object} [was broken|lay in pieces on the
floor]. It [belonged to {his} {elder}|was the favourite {object} of {his} {elder}]. {hero} [felt terrible|grew
pale|did not know what to do].

"[You could hide it|Nobody saw it]," said {pal}. {hero} [shook {his} head|thought about it, but it did not feel
right]. "[No, I must tell the truth|No, that would be a lie]," {he} said. {He} [went|walked slowly] to {his}
{elder}. "I broke your {object}," said {hero}. "I am [very|so] sorry."

{His} {elder} [was quiet for a moment|looked at {him} for a long time]. "[Thank you for telling me|It was brave
to tell me]," {ehe} said. "[A {object} can be mended|I care more about you than about a {object}]." [Together
they glued the pieces|They swept the floor and glued the pieces together]. [It looked a little crooked, but
{hero} liked it even more.|In the end it looked almost like new.] {honest} {close}""",
     object__accident="""vase; {he} bumped into the table
cup; the cup slipped from {his} hands
plate; {his} elbow pushed a plate off the shelf
teapot; {he} tripped over the rug and hit the table
flower pot; {his} ball hit the window sill
bowl; the heavy bowl fell down
jug; {his} foot caught the table cloth
clock; {his} ball flew across the room
lamp; {he} jumped a little too high""")

plot("learn", """
{when}{who} wanted to learn how to {skill}. [All {his} friends could do it already.|{He} had dreamed of it for
weeks.|{pal} could do it very well.] {He} tried, but {fail}. {He} tried again, but it was [no better|even
worse]. "[I will never learn it|It is too hard|I give up]!" {he} [cried|said].

{teacher_in} "[I could not do it at first, either|Nobody can do it the first time|You only need time]," said
{teacher}. "{tip}. [Try once more|Try it slowly|Let me show you]." {hero} [nodded and tried again|wiped {his}
face and stood up]. [{He} practised all week.|Every day after breakfast, {he} practised.|They practised until
evening.] [It went a little better each time.|Step by step, {he} got better.]

[And then, on the seventh day|One day], it worked! {success}. "[Look at me|I can do it]!" {he} shouted. ["I knew
it!" said {teacher}.|{Teacher} clapped and cheered.] {practice} {evening}""",
     skill__fail__tip__success="""
ride a bicycle; {he} fell into the grass; Look ahead and not at your feet; {hero} rode to {place}
swim; {he} swallowed a lot of water; Breathe slowly and kick your legs; {hero} swam across the pond
whistle; only air came out; Make your lips small and round; {hero} whistled a merry tune
skate; {he} sat down hard on the ice; Bend your knees a little; {hero} made a big circle on the ice
play the flute; it sounded like an angry goose; Blow as softly as the wind; {hero} played a whole song
juggle; the apples rolled in all directions; Start with only two; {hero} kept three apples in the air
row a boat; the boat only turned in circles; Pull both oars at the same time; {hero} rowed to the little island
bake bread; the bread was as hard as a stone; Let the dough rest for an hour; {hero} made a soft and golden bread
paint; the horse looked like a table; Look closely before you begin; {hero} painted a horse that looked alive
dance; {he} stepped on {his} own feet; Listen to the music first; {hero} danced until the music stopped
read; the letters seemed to jump around; Take one word at a time; {hero} read a whole story aloud""",
     teacher_in__teacher__Teacher="""{pal} had watched {him}.; {pal}; {pal}|{pal} sat down beside {him}.; {pal}; {pal}
{His} {elder} heard {him}.; {his} {elder}; {His} {elder}|The {worker} came by.; the {worker}; The {worker}""")

plot("plant", """
{when}the {worker} gave {hero} a [small brown|tiny|strange] seed. "[Plant it and wait|Take good care of it|It
needs water and time]," said the {worker}. {who} [dug a hole {spot}|found a sunny place {spot}] and put the seed
into the [soft|dark] earth. [Every morning|Each day], {he} gave it water.

But nothing happened. [A week went by, and there was only earth.|After 5 days there was still nothing.]
"[Perhaps it is asleep|It does not want to grow|Maybe I did something wrong]," said {hero}. ["Be patient," said
{pal}. "It is working under the ground."|"Wait a little longer," said {pal}. "Big things start small."] So
{hero} waited[ and sang to the seed|, and told it stories|].

[Then it rained for a night, and in the morning|One morning], there was a green [tip|leaf]! [It grew and
grew.|Every day it was a bit taller.] By [autumn|the end of summer], it was {plant}. [{hero} {use} and {gave}
{pal}.|{hero} and {pal} {use} together.] ["You were right," said {hero} to {pal}.|The {worker} was amazed.|]
{patience} {evening}""",
     spot="behind the house|beside the fence|next to the well|near the kitchen window|at the edge of the garden",
     plant__use__gave="""the tallest sunflower in the village; counted its seeds; gave half of them to
a huge orange pumpkin; made pumpkin soup; brought a bowl to
a bush full of sweet berries; picked a full basket; shared it with
a long row of beans; cooked a big pot of beans; invited
a rose with a hundred flowers; cut a few of the roses; gave them to
a plant with ripe tomatoes; made a fresh salad; ate it with
a vine with purple grapes; picked the grapes; shared them with""")

plot("gift", """
{when}{who} remembered that [tomorrow was the birthday of {pal}|{pal} would be [6|7|8|9|10] years old the next
day]. "[I have no present|I need a present]!" {he} [thought|said]. {He} [looked into {his} purse, but it was
empty|had only one small coin]. "[Can you help me|What should I do]?" {he} asked {his} {elder}. "The best gifts
are made by hand," said {his} {elder}.

{hero} thought [for a long time|about it]. [What did {pal} like?|What would make {pal} smile?] Then {he} had an
idea. {He} found {stuff} and [sat down at the table|went to work at once]. {He} {work} [all afternoon|until it
was dark|for hours]. When it was finished, it was {gift}.

The next day, {he} gave it to {pal}. [{pal} opened it slowly.|{pal} was very excited.] "[Did you make this for
me|You made this yourself]?" {phe} asked. ["Yes," said {hero}, "just for you."|{hero} nodded shyly.] "It is the
[best|most beautiful] present of all!" said {pal}. [Then they ate cake and danced.|{pal} kept it for many
years.|There was cake, and everybody sang.] {close}""",
     stuff__work__gift="""some wool; knitted; a warm {colour} scarf
paper and paint; drew and painted; a book with pictures of all their adventures
an old piece of wood; carved; a little {animal2} with a funny face
glass beads and a string; tied and counted; a {colour} necklace
an old box and some shells; glued; a treasure box
some paper and thin sticks; cut and glued; a big {colour} kite
scraps of cloth; sewed; a soft {colour} pillow
an empty jar and {colour} paper; cut and folded; a lantern that shone like a star
a piece of leather; cut and sewed; a {colour} bag with a button""")

plot("way", """
{when}{who} and {pal} followed {lure} into the forest. They [walked and walked|ran deeper and deeper between the
trees]. When {lure_the} [was gone|disappeared], they looked around. [All the trees looked the same.|There was no
path anywhere.] "[Where are we|Which way is home]?" asked {pal}. "[I don't know|I am not sure]," said {hero}.
"[I think that we are lost|But we will find the way]."

[{pal} began to cry.|It grew darker, and {pal} was afraid.|] {hero} took {pal} by the hand. "[My {elder} told me
what to do|We must stay calm]," {he} said. "{clue}." [They stood very still.|So they looked and listened.]
"{sign}!" [cried|said] {pal}.

They {follow}, [over stones and roots|through bushes and tall grass|step by step], until they saw [the lights of
the village|the roof of their house|the old bridge]. {His} {elder} [stood at the gate|was waiting at the door].
"[There you are|I was so worried]!" {ehe} said[ and hugged them both|]. [They drank hot [milk|tea|soup] by the
fire.|"Next time, stay on the path," {ehe} said.|{brave}] {close}""",
     lure__lure_the="a blue butterfly; the butterfly|a white rabbit; the rabbit|a strange song; the song"
                    "|a golden bird; the bird|a red squirrel; the squirrel|a shining beetle; the beetle",
     clue__sign__follow="""A stream always leads to the valley; I can hear water over there; followed the stream
Where there is smoke, there is a house; I see smoke behind those trees; walked towards the smoke
The bell rings every evening; Listen, there is the bell; followed the sound of the bell
The sun goes down behind our village; The sun is over there; walked towards the evening sun
The north star shows the way; There it is, bright and clear; followed the star
Our own steps can lead us back; Here are our footprints; followed their own footprints""")

plot("bridge", """
{when}{who} wanted to bring {food} to {his} {elder}, who lived on the other side of {water}. But when {he} came
to the {crossing}, it was [gone|broken]. The [storm|flood] had carried it away. "[How can I get across|What
now]?" said {hero}. The water was [deep|cold] and fast.

[{He} threw in a few stones, but they sank.|{He} tried to jump, but it was too far.|{He} walked up and down, but
found no way.] Then {pal} came by with a [cart|rope|saw]. "[Let's build a new one|Why don't we build one]," said
{pal}. {hero} [nodded|liked the idea]. They {build}. [It was hard work, and they got very tired.|They worked
until noon.|Twice it fell down, but they tried again.]

At last, {hero} could [walk|step] across, [slowly and carefully|with arms stretched out]. ["It holds!" {he}
called.|"Come on, it is safe!" {he} called to {pal}.] {His} {elder} was [surprised|very happy] to see {him}.
"You built that?" {ehe} asked. "[Not alone|{pal} helped me]," said {hero}. They all ate {food_the} together.
{help} {close}""",
     food__food_the="a pot of soup; the soup|a basket of eggs; the eggs|a fresh bread; the bread"
                    "|a jar of honey; the honey|a cake; the cake|a bag of apples; the apples",
     water__crossing="the stream; bridge|the river; old bridge|the brook; little bridge",
     build="rolled a big log across the water|tied long branches together|laid flat stones in a row"
           "|pushed an old tree across|carried boards and nailed them together")

plot("quarrel", """
{when}{who} and {pal} both wanted to [play with|have] the {colour} {thing}. "[It is mine|I had it first]!" said
{hero}. "No, [it is mine|I saw it first]!" said {pal}. They pulled [at it|and pushed], and [the {thing} fell
into the mud|the {thing} fell down]. "[I don't want to play with you anymore|Then go away]!" cried {pal}, and
{phe} went home.

{hero} [was alone with the {thing}|sat there with the {thing}]. But [it was no fun without {pal}|playing alone
was no fun]. {He} [kicked a stone|looked at the clouds]. "[I miss {pal}|That was not kind of me]," {he}
[thought|said]. [{His} {elder} saw {him}. "A friend is worth more than a {thing}," {ehe} said.|]

So {he} [cleaned the {thing} and|took the {thing} and] went to the house of {pal}. "I am sorry," said {hero}.
"You can [have it first|play with it, too]." {pal} [smiled|was quiet]. "I am sorry, too," {phe} said. "[Let's
take turns|We can play together]." [And they did, all {time2} long.|And so they played until supper.] {peace}
{close}""",
     thing="ball|kite|drum|wooden boat|toy train|spinning top|puppet|swing|sled|cart|whistle",
     time2="afternoon|day|evening")

plot("cart", """
{when}{who} saw the {worker} on the road to {place}. [The face of the {worker} was red.|The {worker} looked
unhappy.] "[What is the matter|Can I help you]?" asked {hero}. "{trouble}," said the {worker}, "and the market
opens at [8|9|10] o'clock."

{hero} [walked around the cart|scratched {his} head]. {He} was small, but {he} had [many ideas|a clever head].
"[I know what to do|Wait here]," {he} said. {He} ran to fetch {pal}. [Together they|Soon they came back, and
they] {fix}. "[One, two, three|Now]!" called {hero}. [Slowly|With a jerk], {result}.

"[You are wonderful|Thank you, thank you]!" said the {worker}, and gave them {reward}. {hero} and {pal} [rode on
the cart to {place}|waved until the cart was out of sight]. "[That was fun|We make a good team]," said {pal}.
{help} {evening}""",
     trouble__fix__result="""
My cart is stuck in the mud; laid branches under the wheels and pushed; the cart rolled out of the mud
My donkey will not move; held a fat carrot in front of the donkey; the donkey began to walk
A wheel has come off; lifted the cart with a long beam and put the wheel back; the cart stood straight again
A tree lies across the road; tied a rope to the tree and pulled; the tree moved to the side
My horse is afraid of the bridge; covered the eyes of the horse and led it along; the horse walked over the bridge""",
     worker="farmer|miller|baker|potter|beekeeper|gardener|fisherman|carpenter|shepherd",
     reward="two sweet apples|a bag of nuts|a jar of honey|a big melon|a silver coin|two warm rolls|a {colour} ribbon")

plot("sleep", """
{when}{who} had [played|run and jumped] so much that {he} was very tired. But when night came, {he} could not
sleep. {He} [turned to the left and to the right|counted 100 sheep|listened to the clock]. [The moon shone
through the window.|The house was quiet.] "[I am still awake|I can't sleep]," {he} [called|said].

{His} {elder} came and sat down on the bed. "[I will tell you a story|Close your eyes and listen]," {ehe} said.
"[Far away|Once], there was a {colour} {animal2} who wanted to {wish}. It {journey}, and it asked {asked}. But
nobody could help." "[And then|What happened next]?" asked {hero}.

"[In the end|Then], the {animal2} {finish}," said {his} {elder}. "And it was happy." {hero} [smiled|yawned].
"[That is a good ending|I like that {animal2}]," {he} [whispered|said]. [The stars were bright above the
roof.|Outside, the wind sang softly.] And before {his} {elder} could put out the light, {hero} was [fast
asleep|dreaming of the {colour} {animal2}].""",
     wish__finish="""touch the moon; saw the moon in the pond and touched it
find the end of the rainbow; slept in a field of flowers with all the colours
see the sea; found a shell and heard the sea inside it
learn a song; listened to the rain and sang with it
catch the wind; made a kite and held the wind on a string
own a star; made friends with a firefly""",
     journey="walked over seven hills|sailed across a lake|ran through a dark forest|climbed a high mountain",
     asked="the owl and the bear|the river and the wind|the sun and the clouds|a whale and a crab")

plot("race", """
{when}there was a big race from {place} to {place2}, and {who} wanted to win. {He} had [practised for weeks|new
{colour} shoes]. "[I will be the first|Watch me run]!" {he} told {pal}. [The {worker} counted to 3|The {worker}
rang a bell], and [off they went|everybody ran].

{hero} was [fast|in front]. But [halfway|behind the bridge|at the corner] {he} saw {pal}, who {trouble}. [The
others ran past.|Nobody else stopped.] {hero} [looked at the road|could see the end of the road]. Then {he}
turned around. "[I will help you|Take my hand]," {he} said. "But you will lose the race!" said {pal}. "[You are
more important|There will be other races]," said {hero}.

[Arm in arm|Slowly], they [came in last|walked to the end of the race]. [But all the people clapped.|To their
surprise, everybody cheered.] The {worker} gave {him} {prize}. "[This is for the kindest heart|A good friend is
the real winner]," said the {worker}. [A kind deed is never wasted.|{hero} had lost
the race, but {he} had won a friend.|] {evening}""",
     trouble="had hurt a foot|had fallen into a hole|sat on the ground and cried|had lost a shoe in the mud",
     prize="a {colour} ribbon|a golden cup|a big cake|a wreath of flowers|a shiny medal")


class Story:
    """One story's slots and choices."""

    def __init__(self, rng):
        self.rng = rng
        self.slots = {}
        self.cast()
        self.scene()
        slots, self.template = PLOTS[rng.choice(list(PLOTS))]
        for names, entries in slots.items():
            together = len(entries[0]) == len(names)
            drawn = rng.choice(entries) if together else [entry[0] for entry in rng.sample(entries, len(names))]
            for name, value in zip(names, drawn):
                self.slots[name] = self.expand(value)
        for name, text in ENDINGS.items():
            self.slots[name] = self.expand(text)

    def name(self, girl):
        if self.rng.random() < 0.12:
            return "".join(self.rng.choice(part) for part in SYLLABLES).capitalize()
        return self.rng.choice(GIRLS if girl else BOYS)

    def cast(self):
        rng, s = self.rng, self.slots
        girl, pal_girl, animals = rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.3
        s["hero"] = self.name(girl)
        s["pal"] = s["hero"]
        while s["pal"] == s["hero"]:
            s["pal"] = self.name(pal_girl)
        s["he"], s["him"], s["his"] = ("she", "her", "her") if girl else ("he", "him", "his")
        s["He"], s["His"] = s["he"].capitalize(), s["his"].capitalize()
        s["phe"] = "she" if pal_girl else "he"
        s["elder"], s["ehe"] = rng.choice(ELDERS)
        s["pelder"] = rng.choice(ELDERS)[0]
        people = ["girl" if girl else "boy", "girl" if pal_girl else "boy"]
        kind, pal_kind = rng.sample(ANIMALS, 2) if animals else people
        s["kind"], s["pal_is"] = kind, f"a {pal_kind} named {s['pal']}"
        s["animal2"] = rng.choice([animal for animal in ANIMALS if animal not in (kind, pal_kind)])

    def scene(self):
        rng, s = self.rng, self.slots
        s["colour"], s["colour2"] = rng.sample(COLOURS, 2)
        s["worker"], s["weather"], s["time"] = rng.choice(WORKERS), rng.choice(WEATHER), rng.choice(TIMES)
        s["place"], s["place2"] = (row[0] for row in rng.sample(rows(PLACES), 2))
        s["home"], s["trait"] = rng.choice(rows(HOMES))[0], rng.choice(TRAITS)
        when = "One {weather} {time}, "
        intro, start = rng.choice([("", ""), ("", when), (INTRO, when), (INTRO, when), (WHO, when)])
        s["intro"], s["when"] = self.expand(intro), self.expand(start)
        s["who"] = rng.choice([s["hero"], s["he"]]) if intro else s["hero"]

    def expand(self, text):
        while "{" in text:
            text = text.format_map(self.slots)
        while "[" in text:
            text = re.sub(r"\[([^\[\]]*)\]", lambda m: self.rng.choice(m[1].split("|")), text)
        return text

    def text(self):
        paragraphs = re.split(r"\n\s*\n", self.template.strip())
        paragraphs[0] = "{intro} " + paragraphs[0]
        told = []
        for paragraph in paragraphs:
            paragraph = " ".join(self.expand(paragraph).split())
            paragraph = re.sub(r"(^|(?<=[.!?] ))[a-z]", lambda m: m[0].upper(), paragraph)
            told.append(re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", paragraph))
        return "\n\n".join(told)


def stories(seed):
    """Yields stories without end."""
    rng = random.Random(seed)
    while True:
        yield Story(rng).text()


if __name__ == "__main__":
    count, seed = (int(word) for word in sys.argv[1:] + ["3", "1"][len(sys.argv) - 1:])
    for story in itertools.islice(stories(seed), count):
        print(story, end="\n\n---\n")
