/** What adapters change besides weights: the vocabulary size, the head, the task. */

import type { Checkpoint } from '../../checkpoints/types.js'
import { isObject } from '../../core/json/text.js'

type Config = Readonly<Record<string, unknown>>

export interface Amendment {
  /** Rows of the embedding before and after. */
  readonly vocabulary?: { readonly before: number; readonly after: number }
  /** The model whose tokenizer has that vocabulary. */
  readonly tokenizer?: string
  /** The head is a separate tensor now; in the model it was tied to the embedding. */
  readonly split?: true
  /** The new suffix of the class name, such as `ForSequenceClassification`. */
  readonly task?: string
  /** The number of rows of the classifier. */
  readonly labels?: number
  /** Tensors that the model did not have. */
  readonly added?: ReadonlySet<string>
  /** The prefix of all other names in a network with a head. The bare model's names lack it. */
  readonly prefix?: string
}

/** By origin, the model that an adapter was applied to. */
export type Amendments = ReadonlyMap<string, Amendment>

/** A model's configuration with the changes of an adapter. */
export function amended(config: Config, { vocabulary, task, labels }: Amendment = {}): Config {
  const sized = vocabulary ? withRows(config, vocabulary.before, vocabulary.after) : config
  const named = task === undefined ? sized : withTask(sized, task)
  return labels === undefined ? named : withLabels(named, labels)
}

/**
 * Sets the number of tokens wherever the configuration or a part of it states the old number. If none does, sets it in
 * the text part, or else at the top.
 */
export function withRows(config: Config, before: number, after: number): Config {
  if (statesRows(config, before)) return replaced(config, before, after)
  const { text_config: text } = config
  if (isObject(text) && 'vocab_size' in text) return { ...config, text_config: { ...text, vocab_size: after } }
  return 'vocab_size' in config ? { ...config, vocab_size: after } : config
}

/** Sizes of vocabularies: translation models have one for each language. */
const SIZE = /^((decoder|encoder|src|tgt|source|target|padded)_)?vocab_size$/

const statesRows = (config: Config, rows: number): boolean =>
  Object.entries(config).some(([key, value]) =>
    SIZE.test(key) ? value === rows : isObject(value) && statesRows(value, rows),
  )

const replaced = (config: Config, before: number, after: number): Config =>
  Object.fromEntries(
    Object.entries(config).map(([key, value]) => {
      if (SIZE.test(key) && value === before) return [key, after]
      return [key, isObject(value) ? replaced(value, before, after) : value]
    }),
  )

const CLASS = /(ForCausalLM|LMHeadModel|ForConditionalGeneration|ForMaskedLM|ForPreTraining|Model)$/

function withTask(config: Config, task: string): Config {
  const { architectures } = config
  if (!Array.isArray(architectures) || typeof architectures[0] !== 'string') return config
  const [name] = architectures as [string]
  return CLASS.test(name) ? { ...config, architectures: [name.replace(CLASS, task)] } : config
}

function withLabels(config: Config, labels: number): Config {
  const { id2label } = config
  const stated = isObject(id2label) ? Object.keys(id2label).length : 2
  if (stated === labels) return config
  const names = Array.from({ length: labels }, (_, at) => `LABEL_${at}`)
  return {
    ...config,
    id2label: Object.fromEntries(names.map((name, at) => [String(at), name])),
    label2id: Object.fromEntries(names.map((name, at) => [name, at])),
  }
}

/** Whether a folder has a tokenizer. */
export const hasTokenizer = ({ sidecars }: Checkpoint): boolean =>
  sidecars.some((name) => /^(tokenizer\.(json|model)|vocab\.(json|txt)|spiece\.model)$/.test(name))
