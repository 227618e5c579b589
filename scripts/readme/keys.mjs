// The recipe's keys, from its schema.
import { recipeSchema } from '../../dist/src/recipe/schema.js'
import { table, ticks } from './markdown.mjs'

const schema = recipeSchema()
const NAME = '#/$defs/'
const follow = (node) => (node.$ref ? { ...schema.$defs[node.$ref.slice(NAME.length)], ...node } : node)

/** The part of a schema that has keys: itself, or a branch. */
function keyed(node) {
  const { properties, anyOf, items } = follow(node)
  if (properties) return properties
  return (anyOf ?? (items ? [items] : [])).map(keyed).find((found) => found !== undefined)
}

const describe = (node) => {
  const { description, enum: words, ...rest } = follow(node)
  const choices = words && !(words.length > 6) ? ` One of ${words.map((word) => ticks(String(word))).join(', ')}.` : ''
  const inner = description ?? (rest.items ? describe(rest.items) : '')
  return `${inner}${choices}`.trim()
}

export const keyTable = () =>
  table(
    ['key', 'meaning'],
    Object.entries(schema.properties).map(([key, node]) => [ticks(key), describe(node)]),
  )

/** Mappings that a recipe writes in several places, each told once. */
const PLACES = [
  ['the recipe', schema],
  ['a model', schema.$defs.model],
  ['`filters`', schema.$defs.filters],
  ['`merge`', schema.$defs.merge],
  ['a rule of `merge.rules`', schema.$defs.rule],
  ['a step of `steps`: exactly one of', schema.$defs.step],
  ['`rebasin`', schema.$defs.rebasin],
  ['`repair`', schema.$defs.repair],
  ['`interpolate`', schema.$defs.interpolate],
  ['`stack`: a list of', schema.$defs.stack],
  ['`extract.lora`', schema.$defs.extract.properties.lora],
  ['`moe`', schema.$defs.moe],
  ['an expert of `moe.experts`', schema.$defs.moe.properties.experts.items],
  ['`moe.shared_expert`', schema.$defs.moe.properties.shared_expert],
  ['`output`, or one of `outputs`', schema.$defs.output],
  ['`evaluate`', schema.$defs.evaluate],
  ['`search`', schema.properties.search],
]

export const keyReference = () =>
  PLACES.map(([place, node]) => {
    const rows = Object.entries(keyed(node)).map(([key, value]) => [ticks(key), describe(value)])
    return `**Keys of ${place.replace(': exactly one of', ' (exactly one of them)').replace(': a list of', ' (of each item)')}**\n\n${table(['key', 'meaning'], rows)}`
  }).join('\n\n')
