/** The purpose of a stack of layers, from the words of its prefix. Checkpoints have no other sign of it. */
import type { Stack } from './layerNames.js'

/** Towers that feed a language model, and parts in between. */
const VISION = /^(vision|visual|vit|image|images|img|video|pixtral|siglip|sam|clip|high_res)$/
const AUDIO = /^(audio|speech|acoustic|sound|wav2vec2|hubert|conformer|whisper|mel|vocoder|codec|talker)$/
/** Parts between a tower and the language model. */
const BRIDGE =
  /^(qformer|projector|connector|merger|mergers|resampler|perceiver|abstractor|aligner|quantizer|quantizers|vqmodel)$/
/** Helpers next to a stack, which are not models. */
const HELPER =
  /^(adapter|adapters|projection|conv|convs|conditioning|subsampling|prenet|postnet|tokenizer|diffusion|feature_extractor|lateral|fpn|neck|head|heads|embeddings)$/
/** Multi-token prediction layers, after or next to the model. */
const DRAFT = /^(mtp|draft|eagle|eagle3|medusa|nextn|mtps)$/

export const wordsOf = (prefix: string): string[] => prefix.toLowerCase().split(/[._]/)

export type Role = 'vision' | 'audio' | 'helper' | 'draft' | 'text'

/** Whether a word of the name matches, or one of its dotted parts as a whole (`feature_extractor`). */
const has = (name: string, pattern: RegExp): boolean =>
  [...wordsOf(name), ...name.toLowerCase().split('.')].some((word) => pattern.test(word))

/** The role of a stack, from its prefix. */
export const roleOf = (prefix: string): Role => (has(prefix, HELPER) ? 'helper' : partOf(prefix))

/** The role of any tensor. Its name may contain words such as head or embeddings. */
function partOf(name: string): Role {
  if (has(name, DRAFT)) return 'draft'
  if (has(name, BRIDGE)) return 'helper'
  if (has(name, VISION)) return 'vision'
  return has(name, AUDIO) ? 'audio' : 'text'
}

/** A text encoder next to other towers, as in CLIP. It is not a language model. */
const TEXT_TOWER = /(^|\.)(text_(encoder|tower)|text(_model|_transformer|ual)?(\..*)?\.(encoder|resblocks))(\.|$)/
const isTextTower = (prefix: string): boolean => TEXT_TOWER.test(prefix)

const LANGUAGE = /^(language|llm|lm|text_decoder|language_model|thinker)$/

/**
 * The stack of a model's language model, if it is certain: the only stack, or the only one that is neither a tower
 * for images or sounds nor a helper.
 */
export function mainStack(stacks: readonly Stack[]): Stack | undefined {
  if (stacks.length <= 1) return stacks[0]
  const models = stacks.filter(({ prefix }) => !['helper', 'draft'].includes(roleOf(prefix)))
  const spoken = models.filter(({ prefix }) => roleOf(prefix) === 'text')
  const texts = spoken.length > 0 ? spoken : models
  const named = texts.filter(({ prefix }) => has(prefix, LANGUAGE))
  const [only, ...more] = named.length > 0 ? named : texts
  if (!only || more.length > 0 || /(^|\.)resblocks$/.test(only.prefix)) return undefined
  // A text tower is one of several equal towers. Alone, or next to helpers, it is the model.
  const others = stacks.filter((stack) => stack !== only && ['vision', 'audio'].includes(roleOf(stack.prefix)))
  return others.length > 0 && isTextTower(only.prefix) ? undefined : only
}

/** Whether a stack belongs to an encoder or a decoder. */
export function sideOf(prefix: string): 'encoder' | 'decoder' | undefined {
  const words = [...wordsOf(prefix)]
  return words.includes('decoder') ? 'decoder' : words.includes('encoder') ? 'encoder' : undefined
}

const shared = (a: string, b: string): number => {
  const [left, right] = [a.split('.'), b.split('.')]
  let count = 0
  while (count < left.length && count < right.length && left[count] === right[count]) count++
  return count
}

/**
 * Whether a tensor outside stacks belongs to this stack: no other prefix shares more parts with its name. With equal
 * counts, it belongs to the language model, or to a decoder.
 */
export function belongsTo(name: string, own: Stack, stacks: readonly Stack[]): boolean {
  const others = stacks.filter(({ prefix }) => prefix !== own.prefix)
  if (others.length === 0) return true
  const role = partOf(name)
  if (role !== 'text' && role !== roleOf(own.prefix)) return false
  const mine = shared(name, own.prefix)
  const theirs = others.map((stack) => ({ stack, near: shared(name, stack.prefix) }))
  if (theirs.some(({ near }) => near > mine)) return false
  const equals = theirs.filter(({ near }) => near === mine).map(({ stack }) => stack)
  if (equals.length === 0) return true
  const rest = equals.filter(({ prefix }) => ['text', 'vision', 'audio'].includes(roleOf(prefix)))
  if (roleOf(own.prefix) !== 'text' || isTextTower(own.prefix)) return false
  return rest.every(
    ({ prefix }) => roleOf(prefix) !== 'text' || (sideOf(own.prefix) === 'decoder' && sideOf(prefix) !== 'decoder'),
  )
}
