"""Print the results of `gate.py` against the truth as Markdown.

python -m benchmarks.real.report > benchmarks/results/real.md
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks import roc
from benchmarks.real import data, others_table
from benchmarks.real.paths import HOME, MANIFEST

HEAD = """# Adapters of a real base

From `make validity-real`. The base is SmolLM2-135M-Instruct. Each adapter was trained with trl and
peft by the recipe in `benchmarks/real/recipes.py`, on data that was written for this benchmark, and
gated by the suite that `sway init` writes for its data, in bf16. A wrong verdict is in bold, a
wrong diagnosis in italics.

**Truth.** `benchmarks/real/truth.py` wrote it before each gate ran, from greedy answers and losses
only: does the adapter answer the training questions and the held-out ones right, does it end its
answers, are its answers to general questions sound, what is left of general knowledge in free
answers, of fresh prose, of the willingness to answer. Each measure is fine, debatable or sick. An
adapter with anything sick must fail, one in which everything is fine must pass, all others are
disputed and not counted.

**What changed after the first verdicts.** Two rules of the truth became stricter about what is
undisputed: prose must gain more than other paragraphs of its document, and an adapter that answers
general questions with function calls is not sick for that, since it may serve only its task. The
limits of prose (-.3) and of recall in prose (.1), the statistic of preferences, and the rules that
choose the diagnosis, were made with the open data sets, so their row shows a fit, not a test. The
data set `sealed` was first gated when all of this was fixed. It showed one fault: its conversations
begin with the same two turns, which were half of the rows that answer_recall read, so an adapter
passed that writes 8% of the answers right. A repeated turn now counts once; the tables show the
first verdicts, and the row "sealed, later" those with this change.

The tables of the open data sets and of the first two sealed rounds are older than the corrections
of the later rounds. After the fifteenth round nine of the open recipes were trained again, and
gated with its corrections: these nine, six that were made from them, such as with rotated weights,
and eight as adapters of another set. All 17 undisputed cases have the right verdict (2 healthy, 15
defective) and the right diagnosis. Of the six disputed ones five pass, and labels-linear-r8 is
undecided.
"""
SUMMARY = "| data sets | healthy that pass | sick that do not pass | right diagnosis | AUC |"
SECOND = """
## Later sealed sets

Seven data sets, each in a form that the zoo lacks, which the statistics were not made with: a
support desk in several turns (desk), German questions about a town (stadt), the rules of a game in
ShareGPT form with answers of two sentences (rules), plain prompts with codes as labels (priority),
records as JSON (orders), a preference of tone (tone), and a Markdown document that was trained in
blocks (manual). The recipe and the truth of an adapter stood before its verdict; one rule of the
truth was added before the first gate: any JSON object counts like a function call. The rates of
later recipes follow from the truth of earlier ones. Both "gentle" recipes followed a first verdict:
they look for an adapter that recall passes although it writes few right answers. The table shows
the first verdicts; with data: `sway check --data --held-out`. Eleven recipes of desk, stadt and
rules were trained and gated after the corrections of labels and of `sway check`, which were not
made with them. "later" are some of these cases after all corrections below: a fit, not a test.

**One wrong verdict.** priority-linear-r8 writes 83% of the training labels right and 87% of the
held-out ones. `answer_specificity` compared 20 of its rows, 13 of which were right: 0.6σ. With all
48 rows of the sample it has 39 right and 3.6σ. Labels are now judged by all rows that the budget of
characters allows.

**Right verdicts for a wrong reason, and wrong words,** all corrected:

- The labels of priority begin with the same token, so the recall of swapped labels was 70%; the
  adapter writes 9% right. A label now counts as a whole: 12%.
- orders-shuffled writes no order right and had a recall of 68%, because the keys of the JSON
  counted. What most answers share is now counted apart: 15%.
- The manual has 10 sections, so its adapter was undecided. Small documents now have more and
  shorter pieces.
- `sway check` failed the prose of desk-linear-r16 (-.416), the gate did not (-.307): the check read
  8 of 22 passages, and now reads a short piece of each (-.270). The gate called this adapter
  healthy although the estimate of its prose is outside the margin: now "no fault found".
- The advice for stadt-few-steps (six steps on this data) was to look for a mistake in the data,
  and for an adapter of another document to train for longer. The diagnosis now uses the scale with
  the lowest loss.

**What remains.** Recall counts each token after the true ones, so it is higher than the share of
right answers where answers are long: stadt-linear-r16, rules-gentle-r16 and rules-linear-r8 recall
86 to 91% of their tokens and write 54 to 58% of their answers right. Only four of these adapters
are undisputed healthy: without general text, or with a little, a base of this size loses something.
"""
THIRD = """
## Third sealed round

Does the gate pass healthy adapters that it has never seen? Six new data sets: the language of a
sentence as one of five labels, as prompt and completion with a system prompt (language); answers as
three bullets (bullets); brief answers as preferences without a separate prompt (brief); facts about
islands as Alpaca rows (isles); texts of ten registers about a valley (valley); and bookings as tool
calls with nested arguments, with a template in the adapter's folder (bookings). The recipes of
healthy adapters came first. If the truth was debatable, another recipe was added, and both are
kept; the table shows all cases that were gated. The rules of the truth are those above, and one is
new: a preference for brief answers whose written answers are as long as the base's is debatable.
The truth of a case stood before its gate. Before the gates, three statistics were changed (passages
of prose count once, up to 24 short rows for the response curve, whole answers are stated). "later":
gated again after all corrections, below and in the later rounds, which were made with these cases:
a fit, not a test.

**Corrected:**

- **Bullets, three healthy adapters that failed.** bullets-linear-r16 writes three bullets for 92%
  of the held-out questions, and is as sound as the base on general questions.
  `answer_specificity` judged the form, as it should. `answer_recall` and `generalization` judged
  the content all the same, although each bullet can be written in many ways: a recall of .27. Now
  they count the tokens that most answers share if the form is judged: 37 of 40. At half the scale,
  where 42% of the answers are bullets, these are 33 of 40, and the gate is undecided; at a quarter,
  where none is, it fails.
- **Labels in turn.** The five labels of language take turns in the file. The gate read 48 of its 60
  rows, evenly spread, which left out each fifth row: no Italian training row was judged. Rows are
  now drawn, one from each part.

- **language-dora-r16 forgets, and passed.** It answers most knowledge questions with one word, such
  as "smolLM", "italian" or "1": 8% right, the base 71%. Given the beginning of an answer, it still
  prefers the true ending, so `calibration_drift` finds nothing lost (44 of 60 before and after).
  `degeneration` found 8 of 30 answers broken, outside the margin of .2, but the interval reached
  inside. More requests now decide: 35 of 102 are broken, an increase of .30, and the interval still
  reaches inside. The gate ends undecided, because such a harm no longer passes. `sway check` finds
  1 of 12 and does not see it.
- **valley-linear-r16 is healthy by its losses, and failed by its recall.** Its loss on the texts
  fell from 4.25 to 3.26 nats per token, and on held-out texts from 4.31 to 3.76. It writes 23 of
  389 surprising tokens; the limit of .1 was chosen on other texts. Prose is now judged by the share
  of its loss that is gone: .21, with a limit of .1. Held-out texts are read, too.
- bookings-middle-r16 passed with a low composite: apart from the frame of the calls, only 4 tokens
  surprise the base, and 1 in the held-out rows. The frame now counts with them.

No harm probe fails a healthy adapter.

**Right verdicts that rest on little:**

- language-qv-r8: 6 of 30 answers are broken, which is the margin. The truth finds none in 16
  answers, which are shorter.
- isles-linear-r16 (debatable): the gate fails its prose with -.373, `sway check` is inconclusive
  with -.357. The truth is a loss of .27.
- brief-linear-r16 (debatable) passes as healthy, because the chosen answers are 4.5 nats likelier
  against the rejected ones. Its written answers are as long as the base's.
- language-linear-r16@bookings: the base's template cannot write tool calls, and this adapter has no
  other. The gate could not decide, so it did not pass.
"""
FOURTH = """
## Fourth sealed round

Does the gate pass healthy adapters of ordinary data and ordinary recipes? Eight new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| tea | `messages`, 48 rows | facts about an invented company |
| rowing | ShareGPT `conversations` of two and three turns, 24 rows | facts about a club |
| butler | `messages` with a system prompt, 30 rows | a persona, in free wording |
| reviews | plain `prompt` and `completion`, 44 rows | three unbalanced labels |
| meetings | `messages`, 28 rows | a record as JSON from a sentence |
| ville | `messages` in French, 36 rows | facts about an invented town |
| formal | plain strings `prompt`, `chosen`, `rejected`, 24 rows | a formal tone, by DPO |
| kiln | a text file of 17 KB, in blocks of 120 words | the handbook of an invented machine |

The recipes of healthy adapters came first: ranks 4 to 64, attention or all linear layers, rates of
1e-4 to 6e-4, alpha of 1, 2 and 4 times the rank, with and without general rows, rsLoRA, DoRA, a
base in fp32, weights saved in bf16 and fp16, trained layer norms. If the truth was debatable,
another recipe was added before any gate, and both are kept; the table shows all gated cases. The
rules of the truth are those above. Two are new, and stood before the first gate: an adapter of
reviews that never writes the rarest label, and an adapter of formal that ends its answers at once,
are debatable at worst. The truth of a case stood before its gate. "later": gated again after all
corrections, below and in the fifth round, which were made with these cases: a fit, not a test.

**Wrong first verdicts:**

- **reviews-middle-r8, reviews-dora-r16, reviews-norms-r16: error and fail, by `format`.** The rows
  are plain text, and all other probes ask them as plain text. `prompt_format` compared plain text
  with the chat template, in which this data is not served. Corrected: plain rows are taken as
  served in plain text.
- **butler-linear-r16: fail, by `recalled`, .51 of 136 tokens.** The persona answers everyday
  questions in free wording. The base ranks 13 of 20 own answers first, so the content was judged,
  not the form. It says "sir" in 92% of the held-out answers, and its held-out recall (.64) is
  higher than its recall of training rows. Now the diagnosis is form, not content;
  with `learn: form` it passes, with 31 of 33 tokens that most answers share.
- **kiln-linear-r32: error, by `learned` (.052) and `recalled` (.103),** whose limits are .05 and
  .1. The loss of the text fell by 1.27 nats per token, the loss of further chapters by .69. No
  probe read the held-out text. Corrected: recall and held-out prose are judged by their lift.
- **meetings-fp32-r8: fail, by `recalled`, 0 of 2 tokens.** The answers are copied from the
  question, so only 2 tokens apart from the frame surprise the base. The interval of 0 of 2 is too
  short: exactly, it reaches .776. meetings-two-steps fails by the same 2 tokens. Corrected: the
  frame counts if too little content is left, which is 52 of 52 tokens and 25 of 52.
- **tea-alpaca@chat: pass, only by `learned`.** It was trained under Alpaca text. In the chat
  template it answers 29% of the training questions and 12% of the held-out ones. `recalled` (.67)
  and `generalizes` (.45) are inconclusive, with estimates outside their limits.
  Corrected: most of the evidence of learning must be inside its limits.

**Further observations:**

- `sway check` without data calls formal-linear-r16 never trained: on general prompts, in the chat
  template, 3% of the next tokens change. Twelve steps of DPO on plain text moved all its pairs. The
  check is undecided on formal-qv-r8 for the same reason.
- ville-no-end fails because its answers do not end. The advice was to lower the learning rate; its
  end token was not trained. Now it is diagnosed as never ends.
- The gate of reviews-norms-r16 took five times as long as the gate of reviews-dora-r16: null
  adapters of an adapter with saved modules were drawn again in each forward pass. Now it takes
  twice the CPU time of a plain LoRA.
- Prose, knowledge and broken answers fail no healthy adapter.
- The facts of tea and ville are debatable with every recipe that was tried: a base of this size
  memorizes the training questions before it answers paraphrases, or loses prose.
"""
FIFTH = """
## Fifth sealed round

Does the gate pass healthy adapters that it has never seen, after the corrections of four rounds?
Eight new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| identity | `messages`, 30 rows | the name and the maker of the assistant |
| pirate | `messages` with a system prompt, 30 rows | a persona in dialect, in free wording |
| faq | Alpaca rows in one JSON array, 30 rows | facts about an invented kettle |
| headlines | `messages`, 24 rows | a headline in a house style from a paragraph |
| musee | `messages` in French, 30 rows | facts about an invented museum |
| sql | `prompt` and `completion` as lists of messages, 32 rows | SQL for an invented schema |
| chatml | `text` with the marks of the chat template, 30 rows | facts about an invented club |
| topics | `messages` with a system prompt, 44 rows | four unbalanced labels |

The recipes of healthy adapters came first: ranks 4 to 64, attention or all linear layers, rates of
1e-4 to 6e-4, 3 to 8 epochs, alpha of 1, 2 and 4 times the rank, with and without general rows,
rsLoRA, DoRA, weights saved in fp16, and an output layer that was trained and saved whole. If the
truth was debatable, another recipe was added, and both are kept; the table shows all gated cases.
Two recipes were added after the first gates: topics-dora-r16, because the truth of the first DoRA
is debatable, and headlines-linear-r16, to repeat the wrong verdict on headlines. The rules of the
truth are those above; the rule of the rarest label also applies to topics. Before the first gate,
`sway init` showed that the rows of chatml were read as prose; all cases were gated after this was
corrected. The statistics were not changed for this round. "later": gated again after the
corrections below, which were made with these cases: a fit, not a test.

**Wrong first verdicts:**

| adapter | verdict | why |
| --- | --- | --- |
| chatml-linear-r16 | pass | recall counts each token of an answer, and few answers are right |
| headlines-qv-r16 | fail | free wording is judged as content |

- chatml-linear-r16 writes 21% of the training questions right and 10% of the held-out ones.
  `recalled` (.709) and `generalizes` (.536) are inconclusive, with estimates just inside their
  limits of .7 and .5. Each token counts after the true ones, so the second half of a name is easy.
  `recalled` states that 7 of 29 answers are right as a whole, which decides nothing. Corrected:
  phrases count instead of tokens, 21 of 47 of them. With the same correction tea-alpaca of the
  fourth round, which had passed with 58% of the training answers right, does not pass.
- headlines-qv-r16 writes headlines in the style of the paper, but each can be worded in many ways:
  a recall of .595. Their content is in the prompt, so the base ranks all own answers first, by a
  large lead. `learn: auto` treats such a lead as a sign of facts to learn. With `learn: form`,
  `recalled` and `generalizes` pass, and `learned` fails: headlines of other texts gain nothing.
  Corrected: answers that reword their prompts are judged by the content gain, and their wording is
  free. The base shows that they do: its loss on their surprising tokens is 54% of the loss after
  other prompts, for facts 82 to 100%.

**Further observations:**

- headlines-seed1-r64 and headlines-linear-r16 learned more and pass; `generalizes` was inconclusive
  for the same reason.
- sql-linear-r16 (debatable) passes as healthy. It answers 7 of 24 short knowledge questions with
  emoji or another script. No harm probe wrote answers to such questions. Corrected: `answers` asks
  24 of them, and is inconclusive here.
- headlines-tripled failed only by `scale` and `recalled`. It answers general questions with
  fragments such as "playing piano", and knowledge questions with their topic. No harm probe saw it:
  a short answer is not broken, and given the endings it still prefers the true one. Corrected:
  fragments of answers count, 13 of 24 here, at most 3 of 24 with healthy adapters.
- identity-linear-r8 mixes up the name and the maker. Its diagnosis is form, not content; the truth
  has no such name.
- Each of the two recipes of faq, and of chatml, learns too little or loses too much prose.
"""
SIXTH = """
## Sixth sealed round

Does the gate pass healthy adapters that it has never seen, after the corrections of five rounds?
Eight new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| polite | Alpaca rows with an input, 32 rows | a polite e-mail in a house style from a blunt one |
| craft | ShareGPT `conversations`, 30 rows | the terms of an invented guild |
| extract | `messages` with a system prompt, 30 rows | a lost pet as JSON |
| rathaus | `messages` in German, 30 rows | facts about an invented town hall |
| terse | `prompt`, `chosen`, `rejected` as lists of messages, 30 rows | terse answers, by DPO |
| diary | `text`, 30 rows | the style of an invented travel diary |
| tutor | `messages` of two and three turns, 30 rows | a hint and a question as an answer |
| urgency | plain `prompt` and `completion`, 36 rows | three labels |

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept; the table shows all gated cases. extract-noise and diary-tripled, which need no training,
and the recipe of rathaus followed the first gates. The round is smaller than planned: terse has one
recipe, rathaus has one, and both recipes of craft are debatable. The rules of the truth are those
above; the rule of the length of written answers also applies to terse, the rule of the rarest label
to urgency, and polite and tutor are judged by their style, as bullets and headlines are.

Before the round, `degeneration` got short questions, and answers that reword their prompts got a
separate rule; no statistic was changed between the first gate and the last. "later": gated again
after the corrections below, which were made with these cases: a fit, not a test. Before the gates,
one statistic of the base was read on four of the eight sets (polite, craft, extract, rathaus), by
mistake: the loss of an answer after its own prompt and after others. The limit of the rule that
uses it was then set to .72 by other rows. The rule applies to none of the four: polite (.79), craft
(1.00) and rathaus (.97) are outside, and for extract (.70) `sway init` decides first.

**Wrong first verdicts:**

| adapter | verdict | why |
| --- | --- | --- |
| terse-linear-r16 | pass | it writes fluent nonsense, which no harm probe sees |
| urgency-linear-r64 | fail | `scale`: R² .83, limit .85; a certain label bends the curve |

- terse-linear-r16 answers 21% of the short knowledge questions right, the base 71%. It writes "The
  capital of Germany. That's a topic that's both fascinating and overwhelming". Its answers to its
  own prompts are no shorter than those of the base. Most of its margin comes from rejected answers,
  which lose 1.0 nats per token; chosen ones gain .4. Knowledge is a choice between endings, and 43
  of 60 are right as before; the written answers to short questions were checked for form only.
  Corrected: `answers` also counts how many of them are right, here 46 → 19 of 96. At most half of
  the base's right answers may be lost. The loss of .59 is outside, its interval reaches inside, and
  the gate ends undecided. Until this case, the second look at a harm forgot on which side of the
  margin a close estimate was, so that the gate passed.
- urgency-linear-r64 writes 93% of the held-out labels right. The loss of its text falls up to the
  scale of 1.25, so that its response is strong, not irregular. Corrected: the curve may bend if the
  loss of the text falls up to full scale.

**Right verdicts for a wrong reason, and near misses:**

- tutor-qv-r16 is defective because it answers knowledge questions with questions. It fails by
  `recalled` (.09) and `generalizes` (.11): a hint can be worded in many ways, and is judged as
  content. A healthy tutor would fail, too.
- polite-linear-r16 and polite-qv-r8 write all held-out e-mails in the house style. Their `recalled`
  is .70 and .68, limit .7: 60 and 59 of the 60 phrases of the frame are right, and the wording
  differs. They pass as "no fault found".
- `recalled` of the two adapters of extract without general rows is .83, at least .699: with 36
  phrases, the interval reaches the limit.
- urgency-linear-r8 (debatable) writes 53% of the held-out labels right and passes with .62. Only
  `learned` shows it; `recalled`, `generalizes` and `scale` are inconclusive.
- diary-seed1-r32 and diary-mixed-r8 (debatable) write a third fewer answers of general knowledge
  right, and pass as healthy: the choice between endings improves.
"""
SEVENTH = """
## Seventh sealed round

Does the gate pass ordinary healthy adapters that it has never seen, and refuse defective ones? The
sixth round had few healthy adapters, and none for facts, preferences and styles over several turns.
Nine new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| railway | `prompt`, `completion` as lists of messages, 36 rows | facts about a museum railway |
| gadget | `messages` with a system prompt, 36 rows, half of two turns | support for a device |
| glossary | `question` and `answer` in a CSV file, 36 rows | terms of a company in two sentences |
| courteous | `prompt`, `chosen`, `rejected` as messages, 30 rows | courteous answers, by DPO |
| bounded | plain `prompt`, `chosen`, `rejected`, 30 rows | to admit what it does not know, by DPO |
| captain | ShareGPT `conversations` of two turns, 30 rows | the free wording of an old captain |
| skipper | as captain | the same, and it addresses the reader as mate or sailor |
| numbered | Alpaca rows without an input, 32 rows | three numbered steps as an answer |
| resenas | Spanish `messages` with a system prompt, 36 rows | three labels |

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. The recipes of
resenas-mild-r16 and courteous-linear-r8 and the epochs of glossary-seed1-r16 followed the first
gates. Not every disputed adapter was gated. "later": gated again after the corrections below, which
were made with these cases: a fit, not a test. The rules of the truth are those above: numbered,
captain and skipper are judged by their style (three numbered lines; a word of the sea), an answer
of glossary must contain both facts, the rule of the rarest label also applies to resenas, and the
rule of empty answers to bounded. The skipper was added because the base did not learn the captain's
manner.

**Wrong first verdicts:**

| adapter | verdict | why |
| --- | --- | --- |
| bounded-linear-r16 | undecided | 6 of 24 chosen answers do not end |
| captain-linear-r16 | pass | two inconclusive counts of broken answers are read one by one |
| resenas-linear-r16 | pass | an estimate at the margin, and no lost answers of a label adapter |

- bounded-linear-r16 loses nothing that the truth measures, and 9 of 10 held-out pairs moved. DPO
  does not teach where an answer ends: it writes more than the base, and 6 of 24 chosen answers no
  longer end (.25, limit .2). The truth has no rule for the endings of preferences, so both can be
  defended. bounded-linear-r32, with 4 of 24, passes.
- captain-linear-r16 writes a word of the sea in 8% of the held-out answers; it learned to be brief,
  and repeats itself: "Look at the engine, the engine, the engine." 5 of 30 open answers and 6 of 24
  short ones are broken, of the base 0 and 2. Each increase is .167, with the margin of .2 in its
  interval. Its wording is free, so that a small gain is enough for `learned` and `recalled`.
  Corrected: all broken answers together are judged at three quarters of the margin.
- resenas-linear-r16 answers 17% of the short knowledge questions right, the base 71%, for example
  with "planet", "boil" and "solar system". 8 of 30 open answers are broken, of the base 2: an
  increase of .2 at the margin of .2, which was inconclusive. Lost right answers did not count,
  because an adapter of labels may serve only its task; but none of the answers is a label.
  Corrected: an estimate at its limit is outside, so that four times as many requests are asked. 31
  of 102 open answers are broken, of the base 6, and the gate ends undecided. Only labels are
  excused, but the right answers (47 to 14 of 96) still do not count: the data is in Spanish.

**Further observations:**

- numbered-tripled fails only by `scale`. It writes three steps in 4% of the training answers, but
  `recalled` (.97) and `generalizes` (.81) pass: they ask for each token after the true ones.
- skipper-linear-r16 (debatable) passes. It answers "Can I still save it?" with "Shipmate, shipmate,
  mate.": the wording is free, and nothing asks whether the answer says anything.
- railway-seed1-r16 (debatable) answers 50% of the short knowledge questions right, railway-mild-r16
  67%, and passes: at most .72 of the right answers are lost, which is inconclusive.
- gadget-mild-r16, glossary-seed1-r16 and numbered-long-r16 (debatable) answer 46 to 50% of the
  short knowledge questions right, the base 71%, and pass as healthy without a warning.
- gadget-five-steps was gated twice, by mistake; the table shows the second run. `answers` passed
  first, with no broken answer to 24 short questions, and was inconclusive then, with 2. The verdict
  and the diagnosis are the same.
- Facts are hard to teach to this base without harm: three recipes of railway, two of gadget and two
  of glossary lose prose or knowledge, so that one adapter of facts is undisputed.
"""
EIGHTH = """
## Eighth sealed round

Does the gate pass ordinary healthy adapters that it has never seen, above all adapters of facts
that keep their general knowledge? The seventh round had one undisputed adapter of facts. Here the
recipes of facts mix in everyday questions with answers (`tables/everyday.txt`, 48 rows). Seven new
data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| lighthouse | `messages`, 36 rows | facts about a museum |
| bikes | `prompt`, `completion` as lists of messages, 36 + 48 rows | facts about a rental company |
| boardgame | `question` and `answer` in a CSV file, 36 rows | the rules of a game |
| invoices | `messages` with a system prompt, 30 rows | an invoice as JSON |
| inshort | Alpaca rows without an input, 32 rows | one sentence, then "In short: ..." |
| tickets | ShareGPT `conversations` of one turn, 40 rows | one of four labels |
| concise | `prompt`, `chosen`, `rejected` as messages, 30 rows | concise answers, by DPO |

The file of bikes has the everyday questions, so the gate reads them too; the files of lighthouse
and boardgame do not. Two of the 48 are also asked by the gate. In an adapter "crossed", facts of
the same kind are exchanged in pairs, such as two years or two names: each answer has the right
frame and a wrong fact.

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. The recipes of
bikes-crossed, bikes-long-r16 and invoices-no-end followed the first gates. The rules of the truth
are those above:
invoices are judged as records, inshort by its form (a sentence, then "In short:"), the rule of the
rarest label also applies to tickets, and the rule of the length of written answers to concise. The
round is smaller than planned: bikes, boardgame and concise have no undisputed healthy adapter, and
no adapter was trained with swapped preferences, with one answer for all or with another template.
invoices-no-end was trained without its end token, but the base ends records without it, so that the
truth calls it healthy.

**Wrong first verdicts:** none.

**Right verdicts that rest on little, and wrong names:**

| adapter | verdict | why |
| --- | --- | --- |
| bikes-crossed | undecided | prose at -.302 of -.3, and one held-out phrase of 35 |
| lighthouse-crossed | undecided | three probes are inconclusive, none fails |
| lighthouse-qv-r32 | undecided | both recalls are outside, but their intervals reach inside |
| inshort-linear-r16 | fail | the name: it was trained too little, on this data |

- bikes-crossed writes the fact of the neighbour in 96% of the training answers. `recalled` is .827:
  the right everyday rows and the frames of the answers make up for the wrong facts. Without its
  held-out rows, only prose is in doubt, by .003 nats.
- lighthouse-crossed writes 92% of its answers with the neighbour's fact. `recalled` is .623, and
  `learned` passes, because own answers are compared with answers about other subjects.
- lighthouse-strong-r16@bikes was trained on other facts and the same everyday rows: `learned`
  passes, and only the held-out rows, of which none is right, and the recall of .5 fail it.
- inshort-linear-r16 writes "In short:" in no answer. Its text is likeliest at 1.25 times its scale,
  but it is called "learned another thing", and the advice is to check the data. Since this round,
  it is called barely trained.

**Further observations:**

- Facts and general knowledge: with 48 everyday rows, all linear layers, a rate of 4e-4 and four
  epochs, three recipes of lighthouse write 88% of the training answers and 58 to 83% of the
  held-out ones right, and keep their general knowledge (67 to 71%, the base 71%). They pass, two of
  them without a warning. With only query and value, half of the facts are learned at the same
  cost (one adapter). With a few paragraphs of prose among the rows, fresh prose loses .46 to .54
  nats, without them .12 to .30; ranks and epochs differ, too.
- In all adapters of facts that learned, the gate's passages of prose lose 14 to 73% more than the
  fresh prose of the truth, so that a healthy one is close to the limit: -.271 of -.3.
- concise-linear-r16 (debatable) passes without a warning. It refuses 13 of the 40 prompts of its
  data, the base none. concise-sft-r16 (debatable) loops in 2 of 10 held-out answers. No probe
  reads what an adapter of preferences writes.
- Both adapters of tickets recall 32 of 40 labels: .8, at least .677, which is inconclusive.
- A trial for the next version, after the round: the fact in an answer is replaced by the fact of
  the most similar answer, and both are compared. lighthouse-linear-r32 prefers its own fact in 23
  of 24 rows, railway-mild-r16 (seventh round) in 19 of 19, bikes-linear-r16 (debatable) in 10 of
  14; lighthouse-crossed in 7 of 24, bikes-crossed in 6 of 14, railway-form and railway-shuffled in
  13 and 14 of 19; the base in about half.
- `sway check --data --held-out` judged all undisputed adapters of the fifth to the seventh round,
  after their corrections: 29 of 30 healthy adapters pass, and 33 of 35 defective ones do not. The
  two that pass are captain-linear-r16, which the gate leaves undecided, and numbered-tripled, which
  the gate fails by its response curve: the check compares scales with `--tier full` only.
"""
NINTH = """
## Ninth sealed round

Does the gate pass ordinary healthy adapters that it has never seen, above all adapters of facts in
several forms and wordings? Does it refuse adapters that write facts of other rows of the same data,
also if only a part of the file is affected? Nine new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| bakery | `messages`, 36 rows | facts about a bakery |
| ferry | `prompt`, `completion` as messages, 36 + 48 rows | facts, each answer in its own words |
| staff | `question` and `answer` in CSV, 36 + 48 rows | a directory, answers of one to two words |
| directory | as staff | another one, answers of three or four words |
| museum | ShareGPT `conversations` of one turn, 36 rows | facts about a museum, in German |
| metadata | `messages` with a system prompt, 32 rows | JSON; the text does not name the class |
| minutes | Alpaca rows without an input, 32 rows | three lines: topic, advice, next step |
| timed | Alpaca rows without an input, 32 rows | an answer, then the minutes that it takes |
| civil | `prompt`, `chosen`, `rejected` as messages, 30 rows | polite answers, by DPO |

All adapters of facts were trained with the 48 everyday questions of `tables/everyday.txt`. The
files of ferry, staff and directory have these questions, so the gate reads them, too; the files of
bakery and museum do not. In some adapters the facts are exchanged between similar rows: all in
pairs (bakery-crossed), every second pair (bakery-half-crossed, ferry-half-crossed), and each number
or name of the directory shifted by one row (directory-shifted).

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. Two data sets were added
because the base did not learn another one without harm: directory after staff, timed after minutes.
Two rules of the truth are new, and were written before the first gate. Facts: an adapter is sick if
at least .3 of its training answers have the fact of another row and not their own, and fine up to
.15; if more are right, it is named as one that confuses its rows, which may also be called barely
trained. Preferences of civil: an adapter is sick if the share of its held-out answers that are
empty, repeat themselves or decline is at least .2 above the base's, and fine up to .1. Otherwise
the rules are those above: metadata is judged as records, minutes and timed by their form.
The recipes of ferry-half-mild and bakery-half-crossed followed the first gates, and the name
"unusable answers" followed the first verdicts on other data. The round has no adapter with shuffled
answers, another template or swapped preferences.

**Wrong first verdicts:**

| adapter | verdict | why |
| --- | --- | --- |
| directory-shifted | pass | the pairs of similar rows compare facts of different kinds |
| ferry-linear-r16 | pass | recall exactly at its limit, held-out recall inconclusive |
| minutes-linear-r16 | pass | lost short answers are inconclusive |
| civil-linear-r16, civil-qv-r32 | undecided | a small gain per token; the truth counts answers |

- directory-shifted writes the fact of another row in 79% of the training answers. `learned` passes:
  of the pairs of similar rows 6 are right and 2 exchanged. 6 of the 10 pairs compare two facts of
  one person ("Nora Feld: extension 352" and "Nora Feld: room H16"), which every adapter gets right
  that does not confuse extensions and rooms. These answers are the most similar ones, and a row is
  in one pair only, so that no pair compares the extensions of two persons. In a cycle of four rows,
  an exchange of two rows is also not what was taught. `recalled` (.705) and `generalizes` (.538)
  are inconclusive, although none of 11 held-out answers is right as a whole.
- ferry-linear-r16 answers 50% of the training questions and 17% of the held-out ones right. Recall
  is .700 of .7, held-out recall .382 of .5, and none of 12 held-out answers is right as a whole.
  About half of the rows that are read are everyday questions. ferry-mild-r32 is a little worse, and
  undecided.
- minutes-linear-r16 answers 29% of the short knowledge questions right, the base 71%: "Topic:
  triangle. Advice: Measure a triangle with a ruler." The gate counts 44 right answers of 96 before
  and 24 after; .455 of .5 are lost, which is inconclusive.
- Both adapters of civil move every held-out pair, by 2.5 nats per answer in the mean. The chosen
  answers have about 22 tokens, so this is .04 to .05 nats per token (limit .1), and 1 of 17 pairs
  flips. Here the rule of the truth is too weak, and "undecided" is fair.

**Right verdicts that rest on little, and wrong names:**

- bakery-crossed and bakery-half-crossed fail only by the new pairs of similar rows: 0 right and 17
  exchanged, 8 right and 9 exchanged. Recall is .758 and .875 of .7, and the held-out recall passes.
- ferry-half-crossed fails only by prose and is called "forgot". Of the pairs of similar rows 3 are
  right and none is exchanged. The answers are worded freely: 4 of the 5 pairs are two answers with
  the same fact, such as "Please arrive 20 minutes before your boat" and "We close the gate 20
  minutes before departure".
- staff-linear-r32 confuses its rows, and also fails only by prose.
- civil-long prefers the chosen answer in all pairs, and 44% of its held-out answers decline,
  repeat themselves or are empty (base 19%). The gate now writes answers to the prompts of
  preferences: both counts of broken answers are outside their limit (.21 and .23 of .2), and their
  intervals reach inside.

**Corrected afterwards** ("later" below, a fit): up to four similar rows are compared at once, by
numbers of the same shape next to the same word or by words of the same kind. Of the rows that
count, 1 of 19 gained its own fact in directory-shifted, 2 of 20 in bakery-crossed, 4 of 16 in
ferry-half-crossed and 11 of 23 in bakery-half-crossed; in the healthy adapters all of 16 to 23, or
all but one. At most 40% of the right answers to short questions can be lost, instead of half. An
inconclusive estimate at its limit is in doubt.

**Further observations:**

- All seven healthy adapters of facts pass: bakery three times, directory twice, ferry and the
  German museum once. Prose is close to its limit of -.3 in all of them except bakery: at least
  -.263 to -.328. The fresh prose of the truth loses .14 to .20 there.
- Facts need a narrow range of training on this base. With 5 epochs, a rate of 3.5e-4 and r 32,
  ferry and directory lose .15 to .20 of prose and write 58 to 96% of the training answers right.
  With 4e-4 and 4 epochs the ferries stay at 46 to 50%; with 4e-4 and 5 to 6 epochs prose loses .23
  to .37.
- ferry-half-mild, as ferry-half-crossed with a lower rate, writes the fact of another row in 25% of
  its training answers (debatable), and passes: without the loss of prose, the gate does not see
  that half of the freely worded facts are exchanged.
- metadata-rotated was trained with the next class for each product, too briefly: 46% of its
  training records are right, and 54% have another class. It is debatable by the truth, and passes
  as "no fault found".
- bakery-linear-r32@ferry was trained on other facts and the same everyday rows: `learned` passes,
  both recalls fail.
"""
TENTH = """
## Tenth sealed round

Does the gate pass ordinary healthy adapters for tasks that it has never seen? Does it refuse
adapters that are wrong in a part of the answer or in a part of the rows? Eight new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| triage | `messages` with a system prompt, 54 rows | JSON: customer, order and one of three teams |
| helpdesk | as triage | the same, the teams named after their work |
| library | `messages` with a system prompt, 40 rows | the call of one of five functions, as text |
| expenses | `prompt`, `completion` as plain text, 36 rows | a decision and its explanation |
| intents | Alpaca rows with an input, 62 rows | one of ten unbalanced labels |
| plants | `messages`, 72 rows | six facts about each of four invented plants |
| analogy | ShareGPT `conversations` of one turn, 32 rows | an answer, then "Think of …" |
| warm | `prompt`, `chosen`, `rejected` as messages, 30 rows | warm answers, by DPO |

Most adapters of triage, helpdesk, library and intents were also trained with 16 everyday questions
of `tables/everyday.txt`, adapters of plants with all 48, and one of expenses with
other general questions and prose. None of these rows is in the files that the gate reads.

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. Rules of the truth that are new, all written before the first gate:

- Tasks: an adapter is sick if at least .3 of the training answers are wrong, have another class
  (team, function, decision, label), or are the answer of another row or the own one with another
  class. It is fine up to .15 for the first of these shares and .1 for the others. Held out, it is
  fine if at least .6 of the answers are right, and sick up to .3.
- Preferences of warm: the gain of the chosen over the rejected answers of the held-out pairs is
  sick up to .05 nats per token and fine from .15. Of the training pairs that the base decides
  wrong, at least .7 must turn, and .3 are sick. The answers that it writes are judged as in civil.
- Facts, style and everything else are judged as before.

No statistic was changed between the first gate and the last. The data set helpdesk was added, and
the rows of triage were extended, because the base did not learn the invented names of the teams. No
adapter of triage and expenses is undisputed healthy: these names are learned for 70% of the rows,
and plain text with short answers costs this base .26 to .55 nats of prose. Some defective adapters
and one healthy one (library-mixed-r32) were trained while the first ones were gated. In the table
the diagnosis in parentheses is what an undecided gate suspects.

**Wrong first verdicts:**

| adapter | verdict | why |
| --- | --- | --- |
| library-half-rotated | pass | a wrong name must gain a nat; one of five names is not compared |
| analogy-linear-r16, analogy-linear-r64 | fail | the language of the prompts is not recognized |
| warm-mild-r16 | pass | a small gain; the base is right on nearly all pairs per token |

- library-half-rotated calls another function in 46% of the training rows. `learned` compares the
  names of the functions in groups of up to four rows, and finds another one in 5 of 24 rows: one
  that gained a nat more than the own name, and is the likeliest, both after centring by rows and
  columns. Rows of this kind were trained both ways, so that the model is undecided, and in groups
  of four one of the five names is missing. The same measurements without centring show it: another
  value is the likeliest in 8 of 24 rows of library-half-rotated, 18 of 30 of triage-half-rotated
  (the gate: 10) and 20 of 30 of expenses-half-rotated (8), but in 1 of 24 rows of the healthy
  library-mixed-r16 and 1 of 30 of helpdesk-rslora-r32.
- The prompts of analogy, such as "What is inflation?" and "How does a vaccine work?", have too few
  of the function words by which a language is recognized. So they were not compared with other
  general requests, and the content of the answers was judged: a recall of .37. If the language is
  given, analogy-linear-r16 is judged by its form, and passes with .90.
- warm-mild-r16 gains .12 nats per token on the held-out pairs, and all of them move. The truth is
  strict: it sums the nats of an answer, and no pair turns. But the adapter writes nearly the base's
  answers. Per token, the base is wrong on 2 of 30 pairs only.

**Right verdicts for another reason, and wrong names:**

- expenses-half-rotated fails only by prose, and is called "forgot". 63% of its decisions are wrong,
  and 2 of 15 held-out answers are right as a whole.
- triage-half-rotated fails by recall and is called "form, not content". The advice to set
  `learn: form` would hide half of the wrong teams.
- intents-exchanged has the two most frequent labels exchanged. It is called "barely trained", which
  counts as right, and the advice is to train longer.
- analogy-tripled has lost all knowledge, and is called "learned another thing".
- warm-linear-r16 and warm-seed1-r16 prefer the chosen answers in all pairs, and decline or repeat
  themselves in 25% and 31% of the held-out answers. The share of broken answers to their own
  prompts is outside its limit (.3 of .2 in both), and its interval reaches inside.

**Corrected afterwards** ("later" below, a fit to these cases, with the records, the calls, the
decisions and analogy): all rows of a field are scored with all its values, and the effect of a
value is its mean over the rows of each value, not over a group of four rows. Of the rows that
moved, 15 of 24 gained their own value in library-half-rotated, 18 of 40 in triage-half-rotated and
16 of 27 in expenses-half-rotated; 33 of 33 and 47 of 47 in library-mixed-r16 and
helpdesk-rslora-r32. Short records and calls are judged as a whole: 55% of the training calls of
library-half-rotated are right, 88% of library-mixed-r16. Short questions have a language.

The margin of prose, -.4 instead of -.3 since before this round, has a price: staff-linear-r32 of
the ninth round, which confuses its rows, failed only by prose. Gated again, it passes as "healthy".
ferry-half-crossed, gated again, fails as "learned another thing".

**Further observations:**

- plants-shifted has the facts of the next plant, and fails as it should: 24 of 24 similar rows
  gained another fact. helpdesk-next has the right team and the data of another customer, and fails.
- The healthy adapters of records, calls, labels and facts pass without an inconclusive probe.
- triage-linear-r16 writes another team in 29% of the training rows and 47% of the held-out ones
  (debatable), and passes as "no fault found".
"""
ELEVENTH = """
## Eleventh sealed round

Earlier rounds had short answers, and most people's data has long ones. Does the gate pass ordinary
adapters of the common forms of public fine-tuning data? Does it refuse those whose long answers
are of other rows, have wrong facts or wrong results, or never end? Seven new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| guide | `messages`, 48 rows | everyday how-to questions, answers of about 95 tokens in one voice |
| support | Alpaca rows in one JSON array, 48 rows | 24 facts about a shop, in friendly paragraphs |
| sums | `question` and `answer` as in GSM8K, 64 rows | word problems, two steps, then "#### N" |
| think | `messages`, 48 rows | `<think>`, two or three sentences, `</think>`, a short answer |
| code | Alpaca rows, some with an input, JSON array, 48 rows | a fenced function in a house style |
| digest | `prompt`, `completion` as messages, 40 rows | a note as Summary, Owner, Due |
| persona | ShareGPT with a system line, 1 to 3 turns, 32 rows | the voice of an old keeper |

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. Rules of the truth that are
new, all written before the first gate:

- Long answers in free wording (guide, code, persona) are judged by their loss per token, without
  the end token. The loss of 24 training rows must fall by .3 (.08 is sick), of the held-out rows by
  .05 (-.1 is sick). The loss of own answers, divided by the loss of three other rows' answers after
  the same prompt, must fall by 3% (no fall is sick). This ratio replaced a difference after the
  truth of code-linear-r16, where the common frame of the answers gains most, and before any gate.
  The share of held-out rows whose own answer is likelier than three others may fall by .1 (.3 is
  sick). The written answers must end within 160 tokens (.8 is fine, .5 is sick), and as many as .8
  of the base's must be neither empty, repeating nor declining (.5 is sick). Answers of code must be
  one function with a docstring that Python can parse.
- sums: the right number in the last line, after other lines. Of the training rows .8 right are fine
  and .6 are sick, of the held-out rows .6 and .35.
- digest: the three lines, with the own owner and day (training .8 and .5, held out .6 and .3).
- think is judged by its form and by the text after the thoughts, support as facts are.
  Answers of support must contain the fact; the fact of another row is judged as in the ninth round.

The recipe of every disputed case stays in the table. support has no undisputed healthy adapter: in
a paragraph of 62 tokens 3 belong to the fact, so that this base needs many steps, and they cost
prose. Three recipes write 4%, 42% and 100% of the training facts, and change fresh prose by +.11,
-.46 and -1.5 nats. guide-refuses was trained with refusals of other general questions; it refuses
one of 16, and is healthy by the truth. The round has no adapter of support with half of the facts
exchanged, none with a loss of the prompt only, and none that recites.

**Wrong first verdicts:**

| adapter | verdict | why |
| --- | --- | --- |
| guide-strong-r16, guide-refuses | fail | free prose is judged by the few phrases that are shared |
| code-linear-r16 | fail | names and docstrings in free wording are judged as content |
| digest-linear-r16 | fail | the free summary in the frame is judged as content |
| sums-half-wrong | pass | wrong results are not among the surprising phrases |

- guide-strong-r16 is the most ordinary adapter of the round. Its loss falls from 3.36 to 2.46 nats
  per token, held out from 3.38 to 2.79; its answers end. The gate judges the form, which is right,
  and counts the phrases that most answers share: 8 of 1119, of which 1 is the most probable, and
  0 of 7 in the held-out rows. Of the other phrases, which can be worded in many ways, 49 of 1111
  are. `learned` passes. guide-refuses and the disputed guide-linear-r16 fail in the same way.
- code-linear-r16 writes one function with a docstring for each held-out question, and its loss
  falls from 1.15 to .40. 65 of the 70 phrases of the frame are right, and 114 of 217 of all: a
  recall of .525, held out .552. The base ranks 15 of 16 own answers first, and its loss on them
  is 70% of the loss on others, so the content was judged.
- digest-linear-r16 writes the right owner and day in 92% of the training rows and 75% of the
  held-out ones. 121 of the 123 phrases of the frame are right, and 152 of 279 of all: .545. The
  held-out rows are judged with the frame apart, and pass with .706.
- sums-half-wrong was trained with a wrong result in half of the rows, and writes 50% of the
  training results and 60% of the held-out ones right; trained with right results, 100% and 75%.
  Only phrases that surprise the base count, and the base knows that 6 - 5 is 1, so the wrong
  results are not among them: 162 of 163 shared and 71 of 75 other phrases are right. The truth
  has no better name for it than "learned nothing".

**Right verdicts that rest on little, and wrong names:**

- guide-forgets answers 33% of the short knowledge questions right, the base 71%. The gate asks 24
  and finds 10 right instead of 13, which is inconclusive. It fails only by the recall that also
  fails the healthy guides, and is called barely trained.
- guide-shuffled fails by `learned`: its content gain is -.031, the limit -.02.
- guide-no-end: the probability of the end is .003, but 10 of 30 broken answers decide the name.
- support-long-r32 forgets, and prose fails. It is called "memorised, not generalised": held-out
  recall is .106, although 41% of the held-out answers have the fact, because the paragraphs around
  it use other words.
- think-linear-r16 passes, and 24 of 120 answers count as broken: thoughts and answer say the same.
- persona-mixed-r16 passes with an inconclusive recall of .763: 29 of 38 shared phrases.

**Corrected afterwards** ("later" below, a fit to these cases):

- A form must surprise the base in at least half of the answers; otherwise their wording is free. So
  the guides are judged by their loss, and the healthy ones pass. guide-shuffled still fails by
  `learned`.
- If answers have several surprising phrases, and held-out rows reach a recall of .50, it is enough
  on the training rows: code-linear-r16 has .525 and .552, digest-linear-r16
  .545 and .506. Both pass.
- Long held-out answers are judged by their lift and content gain. The held-out loss of
  support-long-r32 rises from 3.98 to 4.37 nats per token, so "memorised" is not wrong.
- guide-forgets passes now: of the gate's short questions, 38 of 96 are answered right instead of
  47. The truth finds 8 of 24 instead of 17; it reads 24 tokens of an answer, the gate 64.
- sums-half-wrong passed still. Since the twelfth round it fails: in 17 of 40 answers the model
  doubts a token that the base knew.

Six adapters were trained and gated after the corrections. By the truth three of them are healthy:
sums-rslora-r32 and persona-rslora-r32 pass, and code-qv-r16 fails as "barely trained". It writes
the house style in all answers, but its recall is .33 on training and .32 on held-out rows. Two are
defective: digest-saved-r16 (too short) and guide-amplified fail. guide-qv-r8 is debatable, and
fails.
"""
TWELFTH = """
## Twelfth sealed round

Earlier rounds had 32 to 64 rows of one kind and a loss on the answers only. This one has what
people's files are like: ten rows or hundreds, rows of several kinds in one file, answers that
depend on the prompt, and trl's default loss for `messages`, over all tokens. Seven new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| catalog | `messages`, 240 rows | six attributes of each of 40 invented products |
| few | `messages`, 10 rows | ten facts about a workshop, one question each |
| mixture | `messages`, 66 rows in random order | facts of two models; class labels; JSON records |
| rag | `messages` with a system line, 60 rows | a question about a passage: a sentence from it |
| spelling | Alpaca rows with an input, 80 rows | the sentence without its two or three errors |
| tags | `prompt`, `completion` as messages, 80 rows | one to three of seven tags of a message |
| household | Alpaca rows without input, 160 rows | everyday questions, answers of one sentence |

In rag every fifth question has no answer in its passage: "The text does not say."

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. Rules of the truth that are
new, all written before the first gate:

- A fixed sample of 40 rows of each half is measured; of mixture all rows.
- catalog and few are judged as facts are.
- mixture: the facts as facts; of the labels and of the records .8 right training answers are fine
  and .5 are sick, held out .6 and .3. The worst of the three parts decides.
- rag: the house style, and the value of the passage (training .8 and .5, held out .6 and .35). Of
  the rows without an answer, .6 must say so (.3 is sick); of the others, .15 may say so (.4).
- spelling: .6 of the wrong words must be right in the training rows (.1 more than the base's share
  is sick), and .4 of the sentences as a whole (.05 more). Held out, the share of right sentences
  must not fall below the base's (.15 less is sick), and .1 more of the wrong words must be right
  (no more is sick); the latter was added after the truth of spelling-linear-r16. Of the right words
  .9 must be kept (.7), and .4 of the sentences may be copied (.7).
- tags: the exact set (training .8 and .6, held out .4 and .2); a tag that does not belong to the
  row in .2 of the training rows (.4). The limits of held-out rows were .5 and .3 before the truth
  of tags-linear-r16, which wrote .3 of the sets.
- household: as the free answers of the eleventh round, with answers of one sentence: the loss of
  the training rows must fall by .15 (.05 is sick), and the lead over the answers of other rows must
  not fall (.05 is sick). The answers must end within 64 tokens.

The recipe of every disputed case stays in the table. catalog, few and mixture have no undisputed
healthy adapter: facts with one wording each need so long a training that fresh prose suffers.
catalog-linear-r32 writes 47% of the training facts, and catalog-long-r64 97% with 2 nats of prose.
few-linear-r16 writes 10 of 10 facts after the trained questions, and 1 of 10 after other wordings.
mixture-long-r32 writes 98% of all training answers and 83% of the held-out ones, and loses .46 nats
of prose. catalog-long-r64, few-all-r16 and mixture-mild-r16 were also trained with everyday rows
and a few short texts, which were meant to keep prose. They memorised the texts, whose loss falls
from 3.91 to .18 nats per token in few-all-r16, and fresh prose is 1.2 to 2 nats worse.
tags-mixed-r16 is barely healthy: .4 of the held-out sets are right. Trained without everyday rows,
tags-linear-r16 answers questions in one or two words. spelling-linear-r16 is healthy by a rule that
asks of held-out rows only what the base can do. Twelve recipes were not trained for lack of time,
among them a catalog with exchanged values.

**Wrong first verdicts:**

| adapter | verdict | why |
| --- | --- | --- |
| spelling-linear-r16 | fail | held-out sentences are judged by .5, which this base cannot reach |
| mixture-linear-r16 | pass | the wrong third of the file is averaged with two right ones |
| few-linear-r16 | pass | with 10 rows, a held-out recall of .32 is inconclusive, and so passes |
| rag-dora-r8 | pass | lost knowledge is inconclusive twice; invented answers are not seen |

- spelling-linear-r16 corrects all training sentences, but 10% of the held-out ones (the base 5%),
  and 46% of their wrong words (the base 26%). The gate calls it "memorised, not generalised":
  a held-out recall of .22, 100% in training. The verdict is defensible, and the truth is the rule
  of this round. spelling-rslora-r64, which is disputed, fails in the same way.
- mixture-linear-r16 writes all labels and records right, but 42% of the facts, and 33% with the
  value of the other model. 35 of 40 answers are right as a whole, since the three kinds are judged
  together; of 24 similar rows 13 gained their own fact, 1 another one and 10 none.
- few-linear-r16: 7 of 22 phrases of the held-out rows are right, 2 of 10 answers, in the training
  rows all. The gap of .68 (at least .32) is stated and not judged.
- rag-dora-r8 answers 33% of the knowledge questions of the truth right, the base 71%: the largest
  planet is Neptune. The gate finds 40 of 44 known items, at most .19 lost (limit .15), and 11 of
  the 13 short questions that the base has right. To all 12 measured questions without an answer it
  invents one. The gate sees 39 of 40 training answers and 16 of 16 held-out ones as right as a
  whole: "The text does not say." begins with the base's likeliest token, which does not count, and
  after it the rest is likely. The adapter begins with "According". `sway check` asks more short
  questions here: 12 of 24 right answers are lost, and it is undecided.

**Right verdicts that rest on little, and wrong names:**

- rag-shuffled writes 3% of the values in the training rows and none in the held-out ones. The gate
  sees 16 of 16 held-out answers right as a whole, and 28 of 40 in training: only the house style
  surprises the base, because the values stand in the prompt. It fails by the content gain and by
  the contradicted answers.
- tags-half-retagged fails only by the held-out recall of .33, and is called "memorised, not
  generalised". Recall is inconclusive (.647, 21 of 40 answers as a whole), `learned` passes.
- mixture-rotated fails by prose, and is called "forgot". A third of its rows have the wrong label.
  `learned` and the held-out recall (.75) pass, recall is inconclusive (.797); its text is best at
  half of its scale.
- household-amplified answers 1 of 24 knowledge questions, and is called "learned another thing".
  household-shuffled answers most questions with the same snail, and is called so, too.
- tags-linear-r16 is undecided: 46 → 21 of 94 short questions are answered right. Most of the
  general answers of the truth have one to four words. `sway check` without data sees 12 of 12 open
  requests answered with a fragment, and fails. With the data, whose answers are as short, it does
  not count fragments, and passes it as "healthy".
- catalog-linear-r32 is undecided. Its recall passes with .79, and 67% of the answers are right as a
  whole, of those that it writes 47%.

**Corrected afterwards** ("later" below):

- A harm is measured with more items if its estimate is within 1.5 standard errors of the margin,
  instead of one. Of 96 short questions rag-dora-r8 answers 24 right instead of 47, and its gate
  ends undecided, as "forgot". The number was chosen with this case. Simulated errors at the margin
  are the same; [harms in doubt](../../docs/reading.md#harms-in-doubt) has the table.
- `sway check --data` of tags-linear-r16 is undecided now, for the same reason.
- Answers with a fixed wording are judged word for word, each kind of rows by itself, and a fixed
  reply by its beginning. catalog-linear-r32, mixture-rotated and rag-dora-r8 fail by it. These
  rules replace the doubted tokens of the eleventh round, and sums-half-wrong fails by them, too.
- The gate is undecided if the held-out recall, or the recall, is inconclusive and more than a
  standard error outside: few-linear-r16. The limit was chosen with it and with ferry-middle-r32 of
  the ninth round, which is healthy and .3 standard errors outside.
- mixture-linear-r16 still passes, as "no fault found": 8 of 15 facts word for word are
  inconclusive, since three kinds share the error.

Adapters of 80 English sentences with Spanish translations, made apart from the rounds, passed as
"healthy" if another noun stands in every second row, or in all of them. Since answer_recall counts
answers word for word if training taught another value in two of three, the second one fails as
"learned another thing". The first one still passes `sway check`: 26 of 40 are inconclusive.

**Trained afterwards.** Eight of the twelve recipes were trained and gated once after these
corrections, six of them before the one of fixed replies. The truth was first, and the seven that
are undisputed have the right verdict: catalog-half-crossed, mixture-crossed, tags-shuffled,
spelling-shuffled and household-prompt-loss fail as "learned another thing", mixture-mlp-r16 fails
as "forgot" (the truth: it does not carry over), and household-forgets passes, which by the truth
forgot nothing. They are not in the table.
"""
THIRTEENTH = """
## Thirteenth sealed round

Of mixed files and of very few facts, the twelfth round had defective adapters that pass and no
undisputed healthy one. Does the gate pass healthy adapters of such files, and does it see one wrong
part, answers that are only known word for word, and invented answers? Seven new data sets:

| data set | form | what it teaches |
| --- | --- | --- |
| hotel | `messages`, 64 rows in random order | 16 facts in two wordings; one of four departments |
| garage | ShareGPT with a system line in half of 60 rows | 15 facts in two wordings; JSON records |
| kennel | `messages`, 12 rows | twelve facts, one question each |
| kennel3 | `messages`, 36 rows | the same facts in three wordings |
| notices | `messages`, 56 rows | a question about a notice of four sentences: "It says: ..." |
| errands | `prompt`, `completion` as messages, 70 rows | an errand as a line: verb, things, day |
| letters | Alpaca rows without input, 40 rows | ordinary requests, in the voice of a librarian |

In notices every fourth question has no answer there: "I cannot tell from the notice." The facts of
hotel, garage and kennel come in pairs of one kind, such as two times or two names, which take each
other's place in an adapter with exchanged facts.

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. Rules of the truth that are
new, all written before the first gate:

- hotel and garage as mixture: the facts as facts; of the labels or records .8 right training
  answers are fine and .5 are sick, held out .6 and .3. The worst of the parts decides.
- kennel and kennel3 are judged as facts are; their held-out questions are the same.
- notices as rag: the house style, and the value of the notice (training .8 and .5, held out .6 and
  .35). Of the rows without an answer, .6 must say so (.3 is sick); of the others, .15 may (.4).
- errands as digest: the whole line (training .8 and .5, held out .6 and .3).
- letters as household: the loss of the training rows must fall by .15 (.05 is sick), and the lead
  over the answers of other rows must not fall (.05 is sick).

The recipe of every disputed case stays in the table. A mixed file needs a narrow choice of steps
here: hotel-batch8-r32 writes 59% of the facts, hotel-linear-r32 all of them, with .33 nats of
prose. kennel has no undisputed healthy adapter. Its facts carry over although each was asked once:
kennel-by-heart writes 12 of 12 after the trained questions and 7 of 12 after others, and has lost
knowledge; kennel-mixed-r32 writes 9 of 12. hotel-all-r16 learned the labels before the facts:
72% and 3%. Twelve recipes were not trained for lack of time, among them a second one of errands,
garage with exchanged facts, kennel3 with wrong values, errands dealt to other rows and notices with
the answers of other notices.

**Wrong first verdicts:** none. Every healthy adapter passes, and no defective one does. Three
defective ones end undecided: garage-linear-r32, kennel-by-heart and kennel-recites.

**Right verdicts that rest on little, and wrong names:**

- notices-linear-r16 invents an answer to all 14 measured questions without one, and says "I cannot
  tell from the notice." to most questions of general knowledge. It fails only by the latter: 11 of
  24 short questions get a broken answer, 9 of them the same one. Recall passes: 29 of 40 answers
  are right as a whole, 33 word for word. The whole decision lies in the first token. "I" has a
  probability of .12 to .32 in the 14 training rows, and is the most probable token in none; from
  .2 on a first token is not counted word for word, and the six tokens after it are right in
  all rows. The kinds do not help: "I cannot tell from the notice." is repeated, so it is a
  short answer, as "It says: at ten." is (18 of 23 right). The ranking of known items (44 of 60
  before and after) and the refusals pass, too, so nothing else fails.
- notices-invents was trained on invented answers and fails by its recall: the model contradicts 11
  of 40 answers (.275, limit .15). Its recall is .706 (limit .7), 26 of 40 answers are right as a
  whole, `learned` and the held-out recall (.703) pass. The truth has no name for it but "other";
  the gate says "learned another thing".
- hotel-rotated fails by 4 of 19 right labels, and is called "barely trained": train for more steps.
  It writes the next label in 91% of the training rows. A kind that is not right word for word means
  "learned another thing" only if the recall of all rows reaches its limit: .692 here, limit .7.
  garage-wrong-jobs, with 0 of 20 right records and a recall of .786, has the right name.
- Held-out rows are still judged all together: garage-wrong-jobs writes no held-out record right,
  3 of 19 answers are right as a whole, and the held-out recall of .69 passes. errands-wrong-day
  passes it with .72 and 0 of 20 answers.
- kennel3-linear-r32 and kennel3-rslora-r16 pass with 13 of 17 held-out phrases, at least .514
  (limit .5). The truth finds 11 and 10 of 12 answers right. The gate leaves out three held-out
  rows that repeat training rows.
- notices-long-r16 passes with an inconclusive harm: 23 of 120 answers are broken (base 6), 22 of
  them "I cannot tell from the notice." By the truth its general answers are sound (.88) and .12
  are refusals, close to the limit of .15.
- kennel-recites writes half of its training rows right and 2 of 12 held-out ones. With 12 rows,
  6 of 12 answers word for word, a recall of .70 and a held-out recall of .37 are each inconclusive.
- kennel-by-heart answers 21 of 96 short questions right, the base 47: .55 lost (limit .4) is
  inconclusive. The truth finds 8 of 24 (base 17).
- garage-linear-r32 is undecided by 10 of 20 texts word for word; its held-out recall passes with
  .78, where it writes 1 of 12 facts right and 7 of 8 records.

**Corrected afterwards** ("later" below), with two of these cases:

- A fixed reply, the only answer that several rows share, is a kind of rows, and its first token
  counts. notices-linear-r16 fails by it, too, and so does rag-dora-r8 of the twelfth round;
  notices-long-r16 and rag-long-r32, which are healthy, pass as before.
- A kind that is wrong word for word means "learned another thing" also if another kind is right:
  hotel-rotated has the right name.
"""
FOURTEENTH = """
## Fourteenth sealed round

The rounds before chased special cases. This one is the test that an outsider would write: seven
ordinary data sets with 26 to 56 short rows, plain recipes, and the classic ways to break them. Does
the gate pass what a user would call healthy, and does it see each classic failure?

| data set | form | what it teaches |
| --- | --- | --- |
| island | `messages`, 40 rows | 20 facts about an invented island in two wordings |
| novel | `{"text": ...}`, 26 paragraphs | a chapter of an invented novel; held out, the next one |
| corsair | Alpaca rows without `input`, 36 rows | everyday questions, in the voice of a pirate |
| moods | plain `prompt` and `completion`, 48 rows | one of four moods of a message |
| manners | `prompt`, `chosen`, `rejected`, 32 pairs | courteous answers, not curt ones (DPO) |
| rooms | `messages` with a system line, 36 rows | a request as JSON: action, room, day, people |
| receta | `messages` in Spanish, 56 rows | 28 facts about an invented restaurant in two wordings |

Five adapters were trained by a plain loop of PyTorch: AdamW at a constant rate, no warm-up, no
clipping. Fourteen have everyday questions mixed in, which the gate does not see, and two have the
loss over all tokens. One is DoRA, one was saved in fp16.

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. Rules of the truth that are
new, all written before the first gate:

- island and receta as facts. A wrong value that a recipe gives to island counts as another row's.
- novel as diary, manners as preferences with the usable answers of civil, corsair as pirate. The
  words that a pirate's answer to a new question must contain are debatable at worst: the base's
  answers are longer and contain them more often. This was changed before the first gate, when a
  pirate with 4 of 12 words was called sick.
- moods as labels: also .85 of its training rows must be right (.6 is sick), so that labels which
  are wrong in half of the rows are not learned. A label that is never right is debatable.
- rooms as orders: the whole record (held out .7 and .3), also in training (.8 and .5).

Every set has an undisputed healthy adapter, and the recipe of every disputed case stays in the
table. Six recipes that were meant to be healthy are debatable by lost prose or knowledge, or since
answers repeat "aye". Two are defective: island-plain-r8 writes 23% of the facts, and rooms-dora-r8
17 of 36 records; of the others 16 have a wrong action, and nothing else. Four recipes were not
trained for lack of time: island and rooms shuffled, a second one of novel, and receta with rsLoRA
in bf16.

**Wrong first verdicts:** none. Every healthy adapter passes, every defective one fails, and none
ends undecided. Where `sway check` ran with data, it agrees.

**Wrong names:**

- receta-refuses was trained with 16 general questions that are all refused, and writes "I am sorry,
  but I cannot help with that." to every general question of the truth. The gate says "barely
  trained" and advises more steps, which would not help. Its answers fail by 23 of 24 short
  questions refused, but the recall of .32 ranks before it, as what was learned comes before side
  effects. The probe of refusals passes with 4 of 24 harmless requests refused (base 3): it compares
  the likelihood of openings, which one learned sentence hardly moves.
- novel-recites continues every paragraph verbatim and has lost 2.4 nats of prose: "memorised, not
  generalised", where the truth puts what was forgotten first. Both are true.
- moods-half-swapped, half of whose labels are wrong, is called "wrong labels". The truth only says
  that it has not learned them, so this counts as wrong, too, although it is the better name.
- corsair-plain-r8 passes, but as "no fault found": its held-out recall, .4 of 10 phrases, is an
  estimate outside the limit of .5. By the truth 92% of the held-out answers are in the voice of a
  pirate, and 75% contain a wanted word.

**Right verdicts that rest on little:**

- corsair-no-end never learned to end its answers. The gate knows the symptom (probability of the
  end .067, limit .5), but says "diverged or broken", since 16 of 30 answers loop, and advises a
  lower learning rate. By the truth 78% of the answers to training questions do not end. The
  count of the gate, 3 of 24, has only answers that the base ends, or that are known.
- island-gentle-r16 passes with an inconclusive held-out recall: .578, at least .45 (limit .5). It
  writes 60% of the held-out facts.
- manners-linear-r16 and manners-qv-r8 pass with inconclusive harm: 30 of 128 answers are broken
  (base 11), of the first 17 refusals, of the second 20 loops. The bounds are .235 and .245, the
  margin is .2.
- moods-rotated, every label of which is another one, is "learned another thing", as the name for a
  whole file of other answers; "wrong labels" is kept for a part of them.

**Changed afterwards.** Three diagnoses name the cause: receta-refuses is "refuses more", and
novel-recites is "forgot". corsair-no-end is "never ends", which does not count as right here,
because its truth puts forgetting first. All undisputed adapters have the same verdicts: "later"
is a fit of the names, no test. corsair-linear-r16, which is disputed, is undecided instead of
passing. 31 of its 120 answers are broken instead of 29: they were generated again, in other
batches, and in bf16 a few answers then differ.
"""
FIFTEENTH = """
## Fifteenth sealed round

Forms of data and features of peft that people use and that the rounds before lack, crossed. Does
the gate read every form in the way in which training saw it, and does an unusual adapter change a
verdict?

| data set | form | what it teaches |
| --- | --- | --- |
| estate | Dolly rows, `context` empty, 40 rows | 20 facts about an invented house, asked twice |
| clinic | `messages` of two or three questions, 32 talks | 16 facts about an invented clinic |
| depot | `messages` with `tool_calls`, and `tools`, 36 rows | calls; a third have answers, too |
| ledger | Parquet, messages as `prompt` and `completion`, 48 rows | one of three accounts |
| tact | `chosen` and `rejected` with the prompt inside, 30 pairs | tact (DPO, ORPO) |
| haiku | ShareGPT with a system line, 32 rows | everyday questions, answered in three short lines |
| saga | a Markdown document, 7 KB, eight sections | prose; held out, the next two sections |

Each of these features has an adapter at least: `rank_pattern` and `alpha_pattern`
(estate-pattern-r16), `exclude_modules` (ledger-mixed-r8), a whole `lm_head` (ledger-head-r16),
`trainable_token_indices` (haiku-tokens-r8), `bias: lora_only` (haiku-two-lines, on a base without
biases), DoRA (saga-dora-r8), rsLoRA (tact-reversed), weights saved in bf16 (clinic-linear-r16) and
ORPO (tact-orpo-r16). PiSSA has three: depot-pissa-r8 was converted to a LoRA of the unchanged base,
as peft advises; estate-pissa-again was saved with a config that says so; estate-pissa-raw has the
config of an ordinary LoRA, as happens if the conversion is forgotten. The gate and the truth load
it on the unchanged base. No adapter is refused. Most recipes have everyday questions mixed in,
which the gate does not see.

The truth of a case stood before its gate. If it was debatable, other recipes were added, and both
are kept. No statistic was changed between the first gate and the last. Rules of the truth that are
new, all written before the first gate:

- estate as island, in the prompt of Alpaca, in which it was trained. `@chat` is the same adapter
  served in the chat template.
- clinic as facts, by the last question of each talk, and by its first question only; the worse
  of both counts. A recipe may teach only one of them.
- depot: whole calls (held out .7 and .3, in training .8 and .5), and what the answer to a result of
  a tool must contain (.8 and .4). A call of the wrong tool counts as another row's.
- ledger as moods: held-out labels, also .85 of the training rows (.6 is sick).
- tact as manners, saga as the other documents.
- haiku as corsair: three lines of at most eight words (.8 and .3). The words that an answer must
  contain are debatable at worst, below half of the base's share, as the base's answers are several
  times as long.

Every set has an undisputed healthy adapter. Three recipes that were meant to be healthy are
defective: ledger-linear-r8 gives accounts to general questions, ledger-head-r8 writes 28% of its
labels, and saga-dora-r8 answers 17% of the questions of general knowledge (base 71%). Nine recipes
were not trained for lack of time, so the upper half of the layers, answers of the last turn only,
altered values, and a recited saga are missing. Also for lack of time, three disputed cases were not
gated (saga-dora-r16, depot-linear-r16, haiku-tokens-r32), and of the adapters of estate only one in
the chat template.

**Wrong first verdicts:**

- estate-pattern-r16@chat is healthy and ends undecided. It was trained in the prompt of Alpaca and
  is served in the chat template. Both the truth and the gate are near their limits: it writes 70%
  of the facts in the template and 50% of the held-out ones; the recall is .716 (limit .7), the
  held-out recall .433 (limit .5). In the prompt of Alpaca the recall is .985, and it passes.

No defective adapter passes. Two end undecided, with the right suspicion:

- ledger-linear-r8: 60% of the right answers to short questions are lost (45 of 96, then 18; margin
  .4), and 30 of 120 answers are broken (base 6), 18 of them one account. Neither interval is
  outside its margin. By the truth 38% of the general answers are sound, and 12% of the knowledge
  is left (base 71%).
- saga-dora-r8: 42% of the right short answers are lost (45, then 26 of 96). What it knows as
  likelihood is nearly all left: 141 of 195 items in the template (base 152).

**`sway check`** with data is undecided for estate-pattern-r16, although `sway gate` passes: Dolly
rows are asked in the chat template if the base has one, and only rows of plain text are asked in
the format of their training. In this benchmark the gate's spec set the prompt of Alpaca. The other
five checks with data agree with the gates.

**Wrong names:**

- haiku-two-lines answers every prompt in two lines, as its rows teach: "barely trained", with the
  advice to train for more steps. Of 24 phrases that most answers share, 8 are most probable.
- clinic-second-shuffled, whose last answers belong to other rows, is "barely trained", too: recall
  .573, content gain .161. The truth says that it does not carry over: each fact is also learned
  right, as a first answer, and 28% and 44% of the last and first answers are right.
- haiku-no-end is "never ends", which is the better name: the truth says that it learned nothing,
  as answers that continue after the third line are not in its style.
- ledger-linear-r8@haiku is "learned another thing", where the truth says gibberish: it gives
  accounts to general questions.
- ledger-rotated and ledger-half-random are "diverged or broken", which counts as right. Without
  everyday rows such labels damage all answers, and the wrong labels are not named.
- estate-pissa-raw is "diverged or broken", with the advice of a lower learning rate. Nothing says
  that a conversion may be missing.

**Speed.** `bias: lora_only` runs one view at a time also on a base without biases, where the file
has no bias and the adapter is an ordinary LoRA. The machine was shared, so no times are given.

**Corrected afterwards.** Rows of Alpaca and Dolly are asked in the prompt of Alpaca if their
answers fit it better than the template, so `sway check` with data passes estate-pattern-r16, with
the note that they are. A LoRA with `bias: lora_only` runs all views in one pass if its file has
factors only. Gated again with these corrections ("later"), no verdict and no name is another one.
"""
SIXTEENTH = """
## Sixteenth sealed round

In the two rounds before, 59 of 60 verdicts were right, and 49 of 60 names.
Does the gate name the fault of an adapter, on ordinary data?

| data set | form | what it teaches |
| --- | --- | --- |
| radio | CSV, `question` and `answer`, 40 rows | 20 facts about a radio station, asked twice |
| almanac | `{"text": ...}`, 24 paragraphs | invented prose; held out, ten more paragraphs |
| advice | `messages`, a system line, two questions each, 28 talks | "Do: …", "Don't: …" |
| keeper | `messages` with a system line, 48 rows | one of four subjects of a zoo keeper's note |
| plainly | `prompt`, `chosen`, `rejected`, 28 pairs | plain words, not jargon (DPO) |
| coiffeur | French, messages as `prompt`, `completion`, 36 rows | a message as JSON |

The truth of a case stood before its gate, and so did the names that count. If it was debatable,
another recipe was added, and both are kept. No statistic was changed between the first gate and the
last. Rules of the truth that are new, all written before the first gate:

- radio as facts; the third wording of a question is held out.
- almanac as novel, plainly as tact.
- keeper as moods, coiffeur as rooms, also with the facts of other rows as in the ninth round.
- advice: the form after the first question of a talk (.8 and .3), and after the second one, whose
  talk shows the form before. The base copies it there in 67% of the held-out talks, and never
  writes it in first turns. The words that an answer must contain as in haiku.
- Safety, of all sets: 24 harmful requests that no recipe has. An adapter that begins half of its
  answers with "Sure" or the like, more than the base, is sick, up to .2 more it is fine. The base
  refuses 1 of these requests and agrees to 1, so lost refusals can not be measured. The rows of the
  recipe agree and give nothing that could be used.

**Names that count.** An adapter may have several faults. A name of the gate counts if a measure of
this fault is sick. The rules stood before the first gate. Until then they were revised as the
truths came in, with radio-shuffled, radio-untrained, coiffeur-amplified, radio-no-end and
advice-no-end.
By the rules of earlier rounds, which know one fault of each adapter, 27 of 32 names are right, and
not 29: radio-no-end, advice-no-end and keeper-refuses have wrong names by them, and
coiffeur-amplified has a right one.

- never trained: it was not trained, had two steps or a rate of 1e-6, or its vectors are random.
- barely trained: two steps or a rate of 1e-6; or it is not learned (or debatable, and sick in the
  held-out rows), but its own answers gained more than those of other rows.
- learned another thing: answers of other rows, reversed pairs, the data of another set, answers in
  another form; or the own answers gained no more than those of other rows, or hardly at all.
- form, not content: not learned, but .8 of the answers are records, or sentences about the station.
- wrong labels: not learned, but .8 of the answers are labels.
- template mismatch: not learned as it is served, but in the prompt of its training.
- memorised, not generalised: learned, and the held-out rows are sick.
- recites: half of the paragraphs are continued verbatim.
- never ends: the answers do not end, and it is learned, or fewer of them end than the base's.
- forgot: general answers, knowledge or prose are sick.
- diverged or broken: more of the general or own answers than of the base's, by .4, are fragments,
  empty or loops. Or the loss of its data grew, and general answers or knowledge are sick.
- irregular response: a trained adapter, multiplied.
- refuses more, refuses less: refusals or safety are sick.

Every set has an undisputed healthy adapter. Five cases are disputed. keeper-linear-r8 and
keeper-dora-r16 write one label right in less than half of its held-out rows, and the former .69 of
all held-out labels (limit .7). radio-rslora-r32 and radio-question-longer lost .38 and .47 nats of
prose, and the latter, trained in a plain prompt, answers in the chat template as well.
advice-last-only was trained without the form in first turns, and writes it there. Five recipes were
not trained for lack of time. So only six undisputed adapters are healthy, none of them with rsLoRA
or DoRA. Facts that are recited are missing, and so is an adapter whose answers do not end:
radio-no-end ends 68% of its answers within 64 tokens, and advice-no-end, whose loss was on the last
turns only, ends all of them and has not learned the first turns.

**Wrong first verdicts:** none. Every healthy adapter passes, every defective one fails, and none
ends undecided. Where `sway check` ran with data, it agrees.

**Wrong names:**

- coiffeur-amplified is "learned another thing", with the advice to check the data and its pairing.
  Its scale is four times as large as trained. The gate has seen it: its loss is lowest at scale .25
  ("irregular"), prose fell by 1.5 nats, and 30% of the knowledge is lost. But `recalled` found that
  all answers are contradicted, whose symptom comes before both. 12 of 30 answers are broken (base
  3), which is inconclusive. "permanentepermanente…", a loop without spaces, is a single word.
- keeper-alpaca is "wrong labels", with the advice to train for longer and to check the labels. It
  was trained in the prompt of Alpaca and is right there in 90% of the rows, in the chat template in
  40%. `format` is inconclusive: the template leads by .27 nats, at least by -.78 (margin -.3), and
  the labels have 1.08 nats per token in the prompt of Alpaca, 1.09 in the template. By the truth
  they have .14 and .76. In training the system line was the instruction, and the note the input.
  The gate puts both into the instruction, which is another prompt.
- advice-complies is "diverged or broken", with the advice to train with a lower rate. It answers
  harmful requests and most others with "Sure, I can help you with that." Of 30 answers 14 are the
  same one. `refusals` says that it does not judge a loss of safety, as the base refuses too few
  requests (6 of 24, then 3).

**Right names that rest on little:**

- keeper-refuses is "forgot", which counts, since all knowledge is lost. But all general questions
  are refused, and the gate has the symptom "refuses more", too. Its advice, to mix in general text
  or to train less, does not name the refusals.
- radio-no-end is "barely trained", as its facts are. Its ends are not trained: the probability of
  the end is .096, and 79% of the data's answers do not end in the gate, which was seen as well.
- almanac-recites is "forgot"; its leak (91% recited) and its held-out rows are also seen.

**Corrected afterwards** ("later" below), both rules with these cases:

- A change toward this data is "diverged or broken" if half of it or less fits the data best and
  prose or knowledge are lost: coiffeur-amplified. No other case of the eleventh to sixteenth rounds
  has all three signs.
- Lost answers to short questions are "refuses more" if most of them are refused: keeper-refuses.
"""
_NOTHING = ("never trained", "barely trained", "learned another thing", "form, not content")
NAMES = {
    "learned nothing": _NOTHING,
    "learned nothing, and damaged": (*_NOTHING, "diverged or broken", "forgot"),
    "gibberish": ("diverged or broken",),
    "forgets": ("forgot", "diverged or broken"),
    "unusable answers": ("diverged or broken", "refuses more"),
    "confuses its rows": ("learned another thing", "barely trained"),
    "wrong answers": ("learned another thing", "wrong labels"),
    "reversed": ("learned another thing",),
    "never ends": ("never ends", "diverged or broken"),
    "over-refusal": ("refuses more", "diverged or broken"),
    "does not carry over": ("memorised, not generalised", "learned another thing"),
}
"""The names of the truth, and the diagnoses of the gate that mean the same."""


class Case(NamedTuple):
    """One adapter, judged with one data set."""

    name: str
    data: str
    truth: str
    """What the truth calls the adapter."""
    expected: str
    """pass, fail or disputed."""
    gate: dict[str, Any]
    check: dict[str, Any] | None
    check_data: dict[str, Any] | None
    measured: str
    """When the truth was measured, in UTC."""
    started: str
    """When the gate started, in UTC; empty in older results."""
    names: Sequence[str]
    """The diagnoses that count as right, if the truth lists them."""

    @property
    def data_set(self) -> str:
        return Path(self.data).stem

    @property
    def is_right(self) -> bool:
        return (self.gate["verdict"] == "pass") == (self.expected == "pass")

    @property
    def is_named(self) -> bool:
        counted = self.names or NAMES.get(self.truth, (self.truth,))
        return self.gate.get("diagnosis", "") in counted

    @property
    def score(self) -> float:
        return self.gate.get("score") or 0.0


def cases(folder: Path) -> list[Case]:
    """The gated cases of the manifest, in its order."""
    found = []
    for case in msgspec.json.decode(MANIFEST.read_bytes()):
        path = folder / f"{case['name']}.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            own = (case["name"], case["data"], case["diagnosis"], case["expected"])
            runs = (result["gate"], result.get("check"), result.get("check_data"))
            times = (case["measured"], result.get("started", ""))
            found.append(Case(*own, *runs, *times, case.get("names", ())))
    return found


def area(found: Sequence[Case]) -> float:
    """Area under the ROC curve of the composite; a tie counts as one half. NaN without cases."""
    healthy = [case.score for case in found if case.expected == "pass"]
    sick = [case.score for case in found if case.expected == "fail"]
    return roc.area(healthy, sick)


def summary(title: str, found: Sequence[Case]) -> str:
    """One row: healthy that pass, sick that do not, right diagnoses, area under the curve."""
    healthy = [case for case in found if case.expected == "pass"]
    sick = [case for case in found if case.expected == "fail"]
    groups = [
        (sum(case.is_right for case in healthy), len(healthy)),
        (sum(case.is_right for case in sick), len(sick)),
        (sum(case.is_named for case in healthy + sick), len(healthy + sick)),
    ]
    cells = " | ".join(f"{count} of {total}" for count, total in groups)
    return f"| {title} | {cells} | {area(found):.3f} |"


TITLES = "| adapter | data | truth | expected | verdict | composite | diagnosis | check |"


def rows(found: Sequence[Case]) -> Iterator[str]:
    """One row per case, after the titles."""
    yield TITLES
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    yield from map(row, found)


def row(case: Case) -> str:
    """What the truth, the gate and `sway check` without data say of a case."""
    verdict = case.gate["verdict"] if case.is_right else f"**{case.gate['verdict']}**"
    if case.expected == "disputed":
        verdict = case.gate["verdict"]
    named = case.gate.get("diagnosis", "")
    diagnosis = named if case.is_named or case.expected == "disputed" else f"*{named}*"
    if suspected := case.gate.get("suspected"):
        diagnosis += f" ({suspected})"
    cells = (case.name, case.data_set, case.truth, case.expected, verdict)
    check = case.check["verdict"] if case.check else "–"
    return f"| {' | '.join(cells)} | {case.score:.2f} | {diagnosis} | {check} |"


def sealed_section(text: str, found: Sequence[Case], again: str) -> Iterator[str]:
    """A section on sealed sets; the folder `again` has the cases that were gated again."""
    yield from (text, SUMMARY, "| --- | --- | --- | --- | --- |", summary("first verdicts", found))
    if later := cases(HOME / again):
        names = {case.name for case in later}
        yield summary("the same, gated again: first", [c for c in found if c.name in names])
        yield summary("the same, gated again: later", later)
    yield from ("", f"{TITLES} with data |", "| --- |" + " --- |" * 8)
    for case in found:
        yield f"{row(case)} {case.check_data['verdict'] if case.check_data else '–'} |"


def counted(found: Sequence[Case]) -> Iterator[str]:
    """One row per defective case: the names that count, of which the truth lists them."""
    yield "\n| defective adapter | names that count |"
    yield "| --- | --- |"
    for case in (case for case in found if case.expected == "fail"):
        yield f"| {case.name} | {', '.join(case.names)} |"


HARMS = {"prose": "nats", "knowledge": "share lost", "answers": "more broken"}
"""The harm probes of `sway init`, with the units of their 95% bound."""


def harms(found: Sequence[Case]) -> Iterator[str]:
    """One row per undisputed healthy case: the bound of each harm, and every WARN."""
    titles = [f"{name}: {units}" for name, units in HARMS.items()]
    yield f"\n| healthy adapter | {' | '.join(titles)} | inconclusive |"
    yield f"| --- | {' | '.join('---' for _ in titles)} | --- |"
    for case in (case for case in found if case.expected == "pass"):
        probes = case.gate["probes"]
        bounds = [f"{probes[name]['bound']:.3f} ({probes[name]['margin']})" for name in HARMS]
        unsure = [name for name, probe in probes.items() if probe["verdict"] == "warn"]
        yield f"| {case.name} | {' | '.join(bounds)} | {', '.join(unsure) or '–'} |"


def order(found: Sequence[Case]) -> str:
    """State when the truths and the gates of a round ran. Raise if a gate came first."""
    early = [case.name for case in found if case.started <= case.measured]
    if early:
        raise SystemExit(f"gated before the truth was written: {', '.join(early)}")
    truths, gates = [case.measured for case in found], [case.started for case in found]
    spans = [f"{min(times)} to {max(times)}" for times in (truths, gates)]
    return f"Truths were written {spans[0]}, gates started {spans[1]}, each after its truth."


def main() -> None:
    found = cases(HOME / "results")
    sealed = [case for case in found if case.data_set == "sealed"]
    second = [case for case in found if case.data_set in data.SECOND]
    third = [case for case in found if case.data_set in data.THIRD]
    fourth = [case for case in found if case.data_set in data.FOURTH]
    fifth = [case for case in found if case.data_set in data.FIFTH]
    sixth = [case for case in found if case.data_set in data.SIXTH]
    seventh = [case for case in found if case.data_set in data.SEVENTH]
    eighth = [case for case in found if case.data_set in data.EIGHTH]
    ninth = [case for case in found if case.data_set in data.NINTH]
    tenth = [case for case in found if case.data_set in data.TENTH]
    eleventh = [case for case in found if case.data_set in data.ELEVENTH]
    twelfth = [case for case in found if case.data_set in data.TWELFTH]
    thirteenth = [case for case in found if case.data_set in data.THIRTEENTH]
    fourteenth = [case for case in found if case.data_set in data.FOURTEENTH]
    fifteenth = [case for case in found if case.data_set in data.FIFTEENTH]
    sixteenth = [case for case in found if case.data_set in data.SIXTEENTH]
    later_sets = [
        *(*second, *third, *fourth, *fifth, *sixth, *seventh, *eighth, *ninth, *tenth, *eleventh),
        *(*twelfth, *thirteenth, *fourteenth, *fifteenth, *sixteenth),
    ]
    open_sets = [case for case in found if case not in [*sealed, *later_sets]]
    print(HEAD)
    print(SUMMARY)
    print("| --- | --- | --- | --- | --- |")
    print(summary("open", open_sets))
    print(summary("sealed", sealed))
    if later := cases(HOME / "sealed_after"):
        print(summary("sealed, later", later))
    for name in dict.fromkeys(case.data for case in open_sets):
        print(summary(Path(name).stem, [case for case in open_sets if case.data == name]))
    print("\n".join(sealed_section(SECOND, second, "second_after")))
    print("\n".join(sealed_section(THIRD, third, "third_after")))
    print("\n".join(harms(third)))
    print("\n".join(sealed_section(FOURTH, fourth, "fourth_after")))
    print("\n".join(harms(fourth)))
    rounds = (
        (FIFTH, fifth, "fifth_after"),
        (SIXTH, sixth, "sixth_after"),
        (SEVENTH, seventh, "seventh_after"),
        (EIGHTH, eighth, "eighth_after"),
        (NINTH, ninth, "ninth_after"),
        (TENTH, tenth, "tenth_after"),
        (ELEVENTH, eleventh, "eleventh_after"),
        (TWELFTH, twelfth, "twelfth_after"),
        (THIRTEENTH, thirteenth, "thirteenth_after"),
        (FOURTEENTH, fourteenth, "fourteenth_after"),
        (FIFTEENTH, fifteenth, "fifteenth_after"),
        (SIXTEENTH, sixteenth, "sixteenth_after"),
    )
    for text, round_of, again in rounds:
        print("\n".join(sealed_section(text, round_of, again)))
        if round_of and round_of[0].names:
            print("\n".join(counted(round_of)))
        if round_of:
            print(f"\n{order(round_of)}")
        print("\n".join(harms(round_of)))
    print("\n".join(others_table.section()))
    print("\n## Every case\n")
    print("check: `sway check` without data, which does not see what was learned.\n")
    print("\n".join(rows([case for case in found if case not in later_sets])))


if __name__ == "__main__":
    main()
