/** What can be wrong with the tokenizer of a model, for whoever plans with it. */
import { type Fault, fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { agree, plural } from '../core/words.js'
import type { Tokenizer } from './types.js'

/** `so`: what follows. */
export const noTokenizer = (model: string, so = ''): Fault =>
  fault(
    'no-tokenizer',
    `the model ${quote(model)} has no tokenizer${so}`,
    'put tokenizer.json, vocab.txt, tokenizer.model, or vocab.json with merges.txt into the model folder',
  )

/** The maximum number of unused ids that a tokenizer may have beyond the rows of its model. */
const MOST_GAPS = 65_536

/** The error of ids that are so far beyond the tokens and the rows of a model that they are wrong; undefined if they are not. */
export function farIds({ size, ids }: Tokenizer, rows: number, shown: string): Fault | undefined {
  if (size <= rows + ids.size + MOST_GAPS) return undefined
  return fault(
    'bad-tokenizer',
    `${shown}: ${plural(ids.size, 'token')} ${agree(ids.size, 'has', 'have')} ids up to ${size - 1}, far beyond the ${plural(rows, 'row')} of its embeddings`,
    'correct the ids, or name another tokenizer',
  )
}

/** Which ids the loaded tokenizer has that its file has not, in words; undefined if there are none. */
export function renumberedText({ renumbered, ids }: Tokenizer, shown: string): string | undefined {
  const [one] = renumbered
  return (
    one &&
    `${shown}: the tokenizers library changes the ids of ${plural(renumbered.length, 'added token')}, such as ${quote(one.content)} from ${one.stated} to ${ids.get(one.content)}; terge uses the ids of the library`
  )
}
