/** `extract`: the difference of two models as a low-rank adapter. */
import { configOfValue } from '../shared/configOfValue.js'
import type { StepKind } from '../types.js'
import { adapterSentence, extractedLine, extractionLines } from './lines.js'
import { planExtract } from './plan.js'
import { readExtract } from './read.js'
import { extractRecord, readExtractRecord } from './record.js'
import { definitions, extract as schema } from './schema.js'
import type { ExtractRecord, ExtractStep } from './types.js'

export const extract: StepKind<ExtractStep, never, ExtractRecord> = {
  kind: 'extract',
  schema,
  definitions,
  read: readExtract,
  uses: ({ from, base }) => [from, base],
  like: ({ base }) => base,
  sharesNames: true,
  notModel: { what: 'an adapter', hint: 'write it to an output; apply it to a model with lora: PATH' },
  patterns: ({ base, filters }) => ({ base, filters, rules: [] }),
  plan(step, context) {
    const { recipe, values } = context
    return planExtract(recipe, step, values, configOfValue(values.get(step.base)!, context), context) ?? {}
  },
  factored: extractRecord,
  readRecord: readExtractRecord,
  planLines: ({ name }, { factorings }, left = {}) =>
    extractionLines(
      factorings.filter(({ step }) => step === name),
      left,
    ),
  line: extractedLine,
  adapter: { base: ({ models }) => models[1]!, sentence: adapterSentence },
}
