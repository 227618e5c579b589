import { isTokenizerFile } from '../../checkpoints/sidecarNames.js'
import { changeJson } from '../../core/json/edit.js'
import { isObject } from '../../core/json/text.js'
import { readObject, VOCABULARY_FILES } from '../../tokenizers/read.js'
import type { ResultVocabulary } from '../../tokenizers/types.js'
import { addedEntry } from '../../tokenizers/write.js'
import { withRows } from '../outputs/amend.js'
import type { Lexicon } from './lexicon.js'
import { TEMPLATE_FILE } from './template.js'
import { missingIds, withTokenIds } from './tokenIds.js'

/** Files that hold the vocabulary itself. They contradict a changed vocabulary. */
const VOCABULARY = /^(tokenizer\.json|tokenizer\.model|added_tokens|vocab|merges|spiece|sentencepiece)/

/** The small files that planning reads. */
export const TOKENIZER_FILES = [
  ...VOCABULARY_FILES,
  'merges.txt',
  'added_tokens.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'generation_config.json',
  TEMPLATE_FILE,
]

export type SmallFile =
  | { readonly name: string; readonly model: string }
  | { readonly name: string; readonly text: string }

/**
 * The small files of an output, sorted by name, each with its source model or its text. Tokenizer files come from the
 * model whose tokenizer comes first, all others from the origin. A changed vocabulary is written as new text.
 * `tokenizer`: the model whose tokenizer is used if the recipe does not set one.
 */
export function sidecarsOf(lexicon: Lexicon, origin: string, tokenizer = origin): SmallFile[] {
  const { vocabulary, template, checkpoints } = lexicon
  const { files } = lexicon.tokenizers
  const first = vocabulary?.first ?? tokenizer
  const grown = vocabulary?.texts !== undefined
  const kept = vocabulary?.tokenizer.kept
  const of = (model: string, wanted: (name: string) => boolean): [string, SmallFile][] =>
    checkpoints.get(model)!.sidecars.flatMap((name) => (wanted(name) ? [[name, { name, model }]] : []))
  const made = new Map<string, SmallFile>([
    ...of(origin, (name) => !isTokenizerFile(name)),
    ...of(first, (name) => isTokenizerFile(name) && !(grown && VOCABULARY.test(name) && name !== kept)),
  ])
  const texts = files.get(first) ?? {}
  const put = (name: string, text: string): void => void made.set(name, { name, text })
  for (const [name, text] of Object.entries(vocabulary?.texts ?? {})) put(name, text)
  const config = changedConfig(
    texts['tokenizer_config.json'],
    grown ? vocabulary : undefined,
    template,
    made.has(TEMPLATE_FILE),
  )
  if (config !== undefined) put('tokenizer_config.json', config)
  if (template !== undefined && (made.has(TEMPLATE_FILE) || !made.has('tokenizer_config.json')))
    put(TEMPLATE_FILE, template)
  const generation = files.get(origin)?.['generation_config.json']
  if (vocabulary && first !== origin && generation !== undefined && made.has('generation_config.json')) {
    const before = readObject(generation, 'generation_config.json')
    const after = withTokenIds(before, lexicon, origin, 'generation_config.json')
    const changed = changeJson(generation, before, after)
    if (changed !== undefined) put('generation_config.json', changed)
  }
  return [...made.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** tokenizer_config.json with the added tokens and the template; undefined if it does not change. */
function changedConfig(
  text: string | undefined,
  grown: ResultVocabulary | undefined,
  template: string | undefined,
  apart: boolean,
): string | undefined {
  if (text === undefined || (!grown && template === undefined)) return undefined
  const before = readObject(text, 'tokenizer_config.json')
  const config: Record<string, unknown> = { ...before }
  if (template !== undefined && (!apart || 'chat_template' in config)) {
    if (apart) delete config.chat_template
    else config.chat_template = template
  }
  const { added_tokens_decoder: decoder } = config
  if (grown && typeof decoder === 'object' && decoder !== null) {
    // An entry keeps its settings and moves to the token's new id.
    const known = new Map(Object.values(decoder).flatMap((entry) => (isObject(entry) ? [[entry.content, entry]] : [])))
    const entries = grown.tokenizer.added.map((token) => {
      const { id, ...entry } = addedEntry(token)
      return [String(id), known.get(token.content) ?? entry] as const
    })
    config.added_tokens_decoder = Object.fromEntries(entries)
  }
  return changeJson(text, before, config)
}

type Json = Readonly<Record<string, unknown>>

/** A model's configuration with the vocabulary of the result. */
export function withVocabulary(
  config: Readonly<Record<string, unknown>>,
  lexicon: Lexicon,
  origin: string,
): Readonly<Record<string, unknown>> {
  const { vocabulary } = lexicon
  if (!vocabulary?.models.has(origin)) return config
  const { rows } = vocabulary
  const moved = withTokenIds(config, lexicon, origin, 'config.json')
  const changed = withRows(
    { ...missingIds(moved, lexicon, origin), ...moved },
    vocabulary.models.get(origin)!.rows,
    rows,
  )
  const sized = (config: Json): Json => ({
    ...config,
    ...('vocab_size' in config ? { vocab_size: rows } : {}),
    ...(isObject(config.text_config) ? { text_config: sized(config.text_config) } : {}),
  })
  return sized(changed)
}
