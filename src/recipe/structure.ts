/**
 * The tree against the schema: unknown and missing keys, wrong types and values, each told once. A misspelt key is
 * told and then read as what it was meant to be, so that nothing follows from it and what stands under it is checked.
 */
import { didYouMean, nearest, quote } from '../core/suggest.js'
import type { Report } from './report.js'
import { recipeSchema, type Schema, STEP_KINDS } from './schema.js'
import validate, { type SchemaError } from './schema-validator.js'
import { childOf, type MapNode, type Node, renameKey, toPlain } from './tree.js'
import type { Path } from './types.js'

const schema = recipeSchema()

/** What stands at a path of the schema such as `#/$defs/model/anyOf/1`. */
function schemaAt(pointer: string): Schema {
  let at: unknown = schema
  for (const part of parsePointer(pointer.replace(/^#/, ''))) at = (at as Schema | undefined)?.[part]
  return (at ?? {}) as Schema
}

const parsePointer = (pointer: string): string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((part) => decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~'))

/** Indexes as numbers: only the tree knows which parts are those. */
function pathOf(root: Node, pointer: string): Path {
  let node: Node | undefined = root
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => {
      const key = node?.kind === 'list' ? Number(part) : part
      node = node && childOf(node, key)
      return key
    })
}

/** Method names and parameters are checked where the method is known, by the meaning check, rules' as well. */
const elsewhere = ({ instancePath, keyword, schemaPath }: SchemaError): boolean =>
  keyword === 'if' ||
  schemaPath.includes('/$defs/parameters-') ||
  schemaPath.includes('/$defs/lines/') ||
  (/^(\/steps\/[^/]*)?\/merge(\/rules\/\d+)?\/parameters\//.test(instancePath) && keyword !== 'false schema')

/** Reports the faults and returns the tree without its unknown keys. `root` is asked again after each correction. */
export function checkStructure(start: MapNode, report: Report, setRoot: (root: Node) => void): MapNode {
  let root: Node = start
  for (;;) {
    if (validate(toPlain(root))) return root as MapNode
    const errors = (validate.errors ?? []).filter((error) => !elsewhere(error))
    const unknown = errors.filter(({ keyword }) => keyword === 'additionalProperties')
    if (unknown.length === 0) {
      for (const error of settleUnions(errors)) describe(error, root, report)
      return root as MapNode
    }
    for (const error of unknown) root = unknownKey(error, root, report)
    setRoot(root)
  }
}

function unknownKey({ instancePath, schemaPath, params }: SchemaError, root: Node, report: Report): Node {
  const parent = pathOf(root, instancePath)
  const key = String(params.additionalProperty)
  const known = Object.keys((schemaAt(schemaPath.replace(/\/additionalProperties$/, '')).properties ?? {}) as Schema)
  const node = parent.reduce<Node | undefined>((at, part) => at && childOf(at, part), root)
  if (node?.kind !== 'map' || !node.entries.has(key)) return root
  const free = known.filter((name) => !node.entries.has(name))
  const [meant] = nearest(key, free, 1)
  const isStep = parent.length === 0 && (STEP_KINDS as readonly string[]).includes(key)
  const hint = isStep
    ? `${key} is a step: write it under steps, as NAME: {${key}: …}`
    : key === 'weight' && known.includes('weights')
      ? "did you mean 'weights'?"
      : didYouMean(key, meant ? free : known, 'known here')
  const where = parent.length === 0 ? 'a recipe' : quote(nameOf(parent))
  report.error('unknown-key', `${where} has no key ${quote(key)}`, [...parent, key], { part: 'key', hint })
  return renameKey(root, parent, key, meant)
}

/** The words for what a path leads to: the last key, with the index where it is one of a list. */
function nameOf(path: Path): string {
  const last = path.at(-1)
  if (typeof last !== 'number') return String(last ?? 'recipe')
  return `${path.slice(0, -1).findLast((part) => typeof part === 'string') ?? 'recipe'}[${last}]`
}

/** Of a union only one branch can fit a value's type: its faults stay, or one for the whole where none fits. */
function settleUnions(errors: readonly SchemaError[]): SchemaError[] {
  let left = [...errors]
  for (const union of errors.filter(({ keyword }) => keyword === 'anyOf')) {
    const here = (error: SchemaError): boolean => error.instancePath === union.instancePath
    const inside = left.some(
      (error) =>
        error.instancePath.startsWith(`${union.instancePath}/`) ||
        (here(error) && error.keyword !== 'type' && error.keyword !== 'anyOf'),
    )
    left = left.filter((error) => !here(error) || (error.keyword !== 'type' && (error !== union || !inside)))
  }
  return left
}

const kindOf = (node: Node | undefined): string => {
  if (node === undefined) return 'nothing'
  if (node.kind === 'list') return node.items.length === 0 ? 'an empty list' : 'a list'
  if (node.kind === 'map') return node.entries.size === 0 ? 'an empty mapping' : 'a mapping'
  if (node.value === null) return 'nothing'
  if (node.value === '') return 'an empty text'
  return typeof node.value === 'string' ? 'a text' : typeof node.value === 'number' ? 'a number' : String(node.value)
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  object: 'a mapping',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
}

function describe({ keyword, instancePath, schemaPath, params }: SchemaError, root: Node, report: Report): void {
  const path = pathOf(root, instancePath)
  const node = path.reduce<Node | undefined>((at, part) => at && childOf(at, part), root)
  const owner = schemaAt(schemaPath.slice(0, schemaPath.lastIndexOf('/')))
  const name = quote(nameOf(path))
  const value = node?.kind === 'scalar' ? node.source : ''
  switch (keyword) {
    case 'required': {
      const key = String(params.missingProperty)
      const whose = path.length === 0 ? 'the recipe' : name
      const hint = key === 'terge' ? 'write terge: 1 as its first line' : undefined
      report.error('missing-key', `${whose} needs the key ${quote(key)}`, path, { part: 'key', hint })
      return
    }
    case 'type':
    case 'anyOf': {
      const expected = owner.title ?? (typeof owner.type === 'string' ? TYPE_WORDS[owner.type] : undefined)
      const found = owner.type === 'integer' && value !== '' ? value : kindOf(node)
      report.error('bad-type', `${name} must be ${expected ?? 'something else'}, not ${found}`, path)
      return
    }
    case 'enum': {
      const allowed = ((owner.enum ?? []) as unknown[]).map(String)
      const isDtype = owner.title === 'a dtype'
      const message = isDtype ? `there is no dtype ${quote(value)}` : `${name} can't be ${quote(value)}`
      if (node?.kind !== 'scalar' || node.value === null)
        report.error('bad-type', `${name} must be ${owner.title ?? `one of ${allowed.join(', ')}`}, not ${kindOf(node)}`, path)
      else report.error(isDtype ? 'unknown-dtype' : 'bad-value', message, path, { hint: didYouMean(value, allowed) })
      return
    }
    case 'const':
      report.error('bad-value', `${name} must be ${owner.const}, the version of the language`, path)
      return
    case 'pattern':
      if (value.trim() === '') report.error('bad-value', `${name} is empty`, path)
      else report.error('bad-value', `${name} must be ${owner.title}`, path)
      return
    case 'minimum':
    case 'maximum': {
      const side = keyword === 'minimum' ? 'at least' : 'at most'
      report.error('bad-value', `${name} must be ${side} ${params.limit}, not ${quote(value)}`, path)
      return
    }
    case 'minItems':
    case 'maxItems': {
      const expected = owner.title ? `must be ${owner.title}` : `needs at least ${params.limit} entries`
      const count = node?.kind === 'list' ? node.items.length : 0
      report.error('bad-value', count === 0 ? `${name} is an empty list` : `${name} ${expected}, not ${count}`, path)
      return
    }
    case 'minProperties':
      report.error('bad-value', `${name} is empty`, path, { part: 'key' })
      return
    case 'maxProperties': {
      const keys = node?.kind === 'map' ? [...node.entries.keys()] : []
      const second = keys[1] === undefined ? path : [...path, keys[1]]
      const found = keys.map(quote).join(' and ')
      const hint = 'split it into two steps, the second naming the first'
      report.error('contradiction', `the step ${name} has ${found}; a step does one thing`, second, { part: 'key', hint })
      return
    }
    default:
      throw new Error(`internal: no words for the schema's keyword ${keyword}`)
  }
}
