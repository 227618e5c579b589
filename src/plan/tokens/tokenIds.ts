/** Token ids in configurations of a model that gets another model's tokenizer. */
import type { Place } from '../../core/diagnostics.js'
import { isObject } from '../../core/json/text.js'
import type { Faults } from '../../language/faults.js'
import { counterparts } from '../../tokenizers/keys.js'
import { readBeside } from '../../tokenizers/read.js'
import { ROLES, type SpecialRole } from '../../tokenizers/roles.js'
import type { Lexicon } from './lexicon.js'

type Json = Readonly<Record<string, unknown>>

/** Which file a configuration is. */
export type ConfigFile = 'config.json' | 'generation_config.json'

/** Lists of ids of ordinary tokens. They are of no use in another vocabulary. */
const LISTS = /^((begin_)?suppress_tokens|(bad|force)_words_ids|forced_decoder_ids|sequence_bias)$/
const ID = /_token_(ids?|index)$/

const roleIn = (key: string): SpecialRole | undefined => ROLES.find((role) => key === `${role}_token_id`)

/**
 * The token ids of a configuration if the tokenizer is another model's. Those of special roles come from that model's configurations,
 * or else from its tokenizer. Other ids follow their tokens, as tokens are matched. Without such a token an id is what the other
 * model's configurations say, or null.
 */
export function withTokenIds(config: Json, lexicon: Lexicon, origin: string, file: ConfigFile): Json {
  const { vocabulary, tokenizers } = lexicon
  if (!vocabulary || vocabulary.first === origin) return config
  const { tokenizer, models, first } = vocabulary
  const rows = models.get(origin)?.rows
  const special = tokenizers.special(first)
  const before = models.get(origin)?.tokenizer
  const moved = before ? counterparts([before, tokenizers.special(origin)], [tokenizer, special]) : () => undefined
  const ofRole = (role: SpecialRole): number | undefined => {
    const token = special.get(role)
    return token === undefined ? undefined : tokenizer.ids.get(token)
  }
  const idOf = (key: string, value: unknown): unknown => {
    const role = roleIn(key)
    const given = role && ofRole(role)
    if (given !== undefined) return given
    if (!Array.isArray(value)) return typeof value === 'number' ? (moved(value) ?? null) : value
    const ids = value.flatMap((id: unknown) => (typeof id === 'number' ? (moved(id) ?? []) : []))
    return ids.length > 0 || value.length === 0 ? ids : null
  }
  const follow = (part: Json, own: Json): Json =>
    Object.fromEntries(
      Object.entries(part).flatMap(([key, value]): [string, unknown][] => {
        if (isObject(value) && (key === 'text_config' || (rows !== undefined && value.vocab_size === rows)))
          return [[key, follow(value, isObject(own[key]) ? own[key] : own)]]
        if (LISTS.test(key)) return value === null ? [[key, value]] : Object.hasOwn(own, key) ? [[key, own[key]]] : []
        if (!ID.test(key)) return [[key, value]]
        if (roleIn(key) !== undefined) return [[key, Object.hasOwn(own, key) ? own[key] : idOf(key, value)]]
        return [[key, value === null ? value : (idOf(key, value) ?? own[key] ?? null)]]
      }),
    )
  return follow(config, statedBy(lexicon, first, origin, file))
}

/**
 * What the configurations of the model with the tokenizer state. If the result has a generation_config.json, each file follows
 * the same file first; otherwise config.json has what generation follows.
 */
function statedBy(
  { tokenizers: { files }, checkpoints }: Lexicon,
  first: string,
  origin: string,
  file: ConfigFile,
): Json {
  const generation = readBeside(files.get(first) ?? {}, 'generation_config.json', first)
  const config: Json = checkpoints.get(first)!.config ?? {}
  const flat = { ...(isObject(config.text_config) ? config.text_config : {}), ...config }
  const apart = file === 'config.json' && files.get(origin)?.['generation_config.json'] !== undefined
  return apart ? { ...generation, ...flat } : { ...flat, ...generation }
}

/** Token ids that only the model with the tokenizer states: without them, libraries assume ids of another vocabulary. */
export function missingIds(config: Json, lexicon: Lexicon, origin: string): Json {
  const { vocabulary } = lexicon
  if (!vocabulary || vocabulary.first === origin) return {}
  const own = statedBy(lexicon, vocabulary.first, origin, 'config.json')
  const known = (key: string): boolean => [config, config.text_config].some((part) => isObject(part) && key in part)
  const isId = (id: unknown): boolean => typeof id === 'number' || (Array.isArray(id) && id.length > 0)
  return Object.fromEntries(
    ['bos_token_id', 'eos_token_id', 'pad_token_id'].flatMap((key) =>
      isId(own[key]) && !known(key) ? [[key, own[key]]] : [],
    ),
  )
}

/** Settings with token ids that are lost: those without a token in the new vocabulary, by path. */
function lostIds(before: Json, after: Json, path = ''): readonly string[] {
  return Object.entries(before).flatMap(([key, value]) => {
    const now = after[key]
    if (isObject(value) && isObject(now)) return lostIds(value, now, `${path}${key}.`)
    const optional = key !== 'eos_token_id' && roleIn(key) !== undefined
    if (optional || value === null || !(ID.test(key) || LISTS.test(key))) return []
    const fewer = Array.isArray(value) && Array.isArray(now) && now.length === 0 && value.length > 0
    return now === null || now === undefined || fewer ? [`${path}${key}`] : []
  })
}

/** Keys without which a model can be used. */
const OPTIONAL = /(^|\.)(eos_token_id|forced_\w+|(begin_)?suppress_tokens|(bad|force)_words_ids|sequence_bias)$/

/** Networks that count the positions of a text from the id of the padding token. */
const COUNTS_FROM_PADDING =
  /^(camembert|data2vec-text|esm|fsmt|ibert|layoutlmv3|lilt|longformer|luke|m2m_100|markuplm|mpnet|nllb-moe|roberta|roberta-prelayernorm|xlm-roberta|xlm-roberta-xl|xmod)$/

/**
 * Reports ids of tokens that the result needs, and that another vocabulary does not have. `strict`: a model that cannot work
 * without them is refused. Errors: `moved-padding`, `lost-token-ids`. Warning: `lost-token-ids`.
 */
export function reportTokenIds(lexicon: Lexicon, origin: string, strict: boolean, place: Place, faults: Faults): void {
  const { vocabulary, checkpoints, tokenizers } = lexicon
  const config = checkpoints.get(origin)?.config
  if (!vocabulary || vocabulary.first === origin || !config || !vocabulary.models.has(origin)) return
  const after = withTokenIds(config, lexicon, origin, 'config.json')
  const { pad_token_id: pad = 1, model_type: type } = config
  if (COUNTS_FROM_PADDING.test(String(type)) && after.pad_token_id !== pad) {
    const now = after.pad_token_id === null ? 'no padding token' : `padding token ${after.pad_token_id}`
    faults.error(
      'moved-padding',
      `${origin}: models of type ${type} count positions from the id of the padding token, which is ${pad}, and ${vocabulary.first} has ${now}`,
      place,
      'choose a tokenizer with the same id for padding',
    )
  }
  const generation = readBeside(tokenizers.files.get(origin) ?? {}, 'generation_config.json', origin)
  const lost = [
    ...lostIds(config, after),
    ...lostIds(generation, withTokenIds(generation, lexicon, origin, 'generation_config.json')),
  ]
  const keys = [...new Set(lost)]
  const needed = keys.filter((key) => strict && !OPTIONAL.test(key))
  const message = (keys: readonly string[]) => `${vocabulary.first} has no token for ${keys.join(', ')} of ${origin}`
  if (needed.length > 0) {
    const hint = 'add the tokens to the tokenizer of that model, or choose another source'
    faults.error('lost-token-ids', message(needed), place, hint)
  } else if (keys.length > 0) {
    const hint = 'set what the model needs in the configuration of the result'
    faults.warn('lost-token-ids', `${message(keys)}: the configuration of the result has none`, place, hint, origin)
  }
}
