/**
 * Checks the tree against the schema: unknown and missing keys, wrong types and values. Each error is reported once.
 * A misspelt key is reported and then read as the key that was meant, so that it causes no further errors and its
 * value is checked too.
 */
import { didYouMean, nearest, quote, quotedNumberHint } from '../core/suggest.js'
import type { Report } from '../language/report.js'
import { childOf, type MapNode, type Node, nodeAt, renameKeys, toPlain } from '../language/tree.js'
import type { Path } from '../language/types.js'
import { checkedSchema, type Schema, STEP_KINDS } from './schema.js'
import validate, { type SchemaError } from './schema-validator.js'

const schema = checkedSchema()

const follow = (at: unknown): Schema => {
  const { $ref } = (at ?? {}) as { $ref?: string }
  return $ref === undefined ? ((at ?? {}) as Schema) : follow((schema.$defs as Schema)[$ref.slice('#/$defs/'.length)])
}

/** The branch of a union that fits a value's JSON type. */
function branch(at: Schema, fits: (type: string) => boolean): Schema {
  const branches = ((at.anyOf ?? []) as Schema[]).map(follow)
  return branches.find(({ type }) => [type].flat().some((one) => fits(String(one)))) ?? at
}

/**
 * The schema of the value at a path. The path is followed here because the validator names places relative to its own
 * functions.
 */
function schemaAt(path: Path): Schema {
  let at: Schema = schema
  for (const key of path) {
    const list = typeof key === 'number'
    const { items, properties, additionalProperties } = branch(at, (type) => type === (list ? 'array' : 'object'))
    at = follow(list ? items : ((properties as Schema | undefined)?.[key] ?? additionalProperties))
  }
  return at
}

/** A JSON pointer as a path. Only the tree shows which parts are list indexes. */
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

/** Methods and their parameters, also those of rules, are checked where the method is known (`readMerge`). */
const elsewhere = ({ instancePath, keyword }: SchemaError): boolean => {
  const [whole, deeper] = /^(?:\/steps\/[^/]*)?\/merge(?:\/rules\/\d+)?\/parameters(\/)?/.exec(instancePath) ?? []
  return keyword === 'if' || deeper !== undefined || (whole === instancePath && keyword === 'additionalProperties')
}

/** Reports the errors and returns the tree without its unknown keys. `setRoot` gets the tree after each correction. */
export function checkStructure(start: MapNode, report: Report, setRoot: (root: Node) => void): MapNode {
  let root: Node = start
  for (;;) {
    if (validate(toPlain(root))) return root as MapNode
    const errors = (validate.errors ?? []).filter((error) => !elsewhere(error))
    const unknown = errors.filter(({ keyword }) => keyword === 'additionalProperties')
    if (unknown.length === 0) {
      for (const error of withoutBounds(settleUnions(errors))) describe(error, root, report)
      return root as MapNode
    }
    const byParent = new Map<string, string[]>()
    for (const { instancePath, params } of unknown) {
      const keys = byParent.get(instancePath) ?? []
      keys.push(String(params.additionalProperty))
      byParent.set(instancePath, keys)
    }
    const before = root
    root = renameKeys(
      before,
      new Map(
        [...byParent].map(([pointer, keys]) => [pointer, unknownKeys(pathOf(before, pointer), keys, before, report)]),
      ),
    )
    setRoot(root)
  }
}

/** Reports the unknown keys of one mapping, and returns the key that each was probably meant to be. */
function unknownKeys(
  parent: Path,
  keys: readonly string[],
  root: Node,
  report: Report,
): Map<string, string | undefined> {
  const names = new Map<string, string | undefined>()
  const known = Object.keys((branch(schemaAt(parent), (type) => type === 'object').properties ?? {}) as Schema)
  const node = nodeAt(root, parent)
  const free = new Set(known.filter((name) => node && childOf(node, name) === undefined))
  for (const key of keys) {
    const [meant] = nearest(key, free, 1)
    const isStep = parent.length === 0 && (STEP_KINDS as readonly string[]).includes(key)
    const beside = meant === undefined && parent[0] !== undefined && ofRecipe(key)
    const hint = isStep
      ? `${key} is a step: write it under steps, as NAME: {${key}: …}`
      : beside
        ? `${key} is a top-level key: write it next to ${parent[0]}`
        : didYouMean(key, meant ? free : known, 'valid here')
    const where = parent.length === 0 ? 'a recipe' : quote(nameOf(parent))
    report.error(isStep ? 'misplaced-step' : 'unknown-key', `${where} has no key ${quote(key)}`, [...parent, key], {
      part: 'key',
      hint,
    })
    names.set(key, meant)
    if (meant !== undefined) free.delete(meant)
  }
  return names
}

const ofRecipe = (key: string): boolean =>
  Object.hasOwn((branch(schemaAt([]), (type) => type === 'object').properties ?? {}) as Schema, key)

/** The name of a path in messages: its last key, with the index if it is an item of a list. */
function nameOf(path: Path): string {
  const last = path.at(-1)
  if (typeof last !== 'number') return String(last ?? 'recipe')
  return `${path.slice(0, -1).findLast((part) => typeof part === 'string') ?? 'recipe'}[${last}]`
}

/**
 * At most one branch of a union fits a value's type. Keeps the errors of that branch, or one error for the union if
 * none fits.
 */
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

/** A value of the wrong type also violates the bounds of the right type. Those errors add nothing. */
function withoutBounds(errors: readonly SchemaError[]): SchemaError[] {
  const mistyped = new Set(errors.filter(({ keyword }) => keyword === 'type').map(({ instancePath }) => instancePath))
  return errors.filter(
    ({ keyword, instancePath }) => !mistyped.has(instancePath) || (keyword !== 'minimum' && keyword !== 'maximum'),
  )
}

const kindOf = (node: Node | undefined): string => {
  if (node === undefined) return 'nothing'
  if (node.kind === 'list') return node.items.length === 0 ? 'an empty list' : 'a list'
  if (node.kind === 'map') return node.entries.size === 0 ? 'an empty mapping' : 'a mapping'
  if (node.value === null) return 'nothing'
  if (node.value === '') return 'an empty string'
  return typeof node.value === 'string' ? 'a string' : Number.isFinite(node.value) ? 'a number' : node.source
}

const JSON_TYPES = { map: 'object', list: 'array', scalar: '' }

const isType = (node: Node | undefined, type: string): boolean =>
  node?.kind === 'scalar' && (typeof node.value === type || (type === 'integer' && typeof node.value === 'number'))

const TYPE_WORDS: Readonly<Record<string, string>> = {
  object: 'a mapping',
  array: 'a list',
  string: 'a string',
  number: 'a number',
  integer: 'an integer',
  boolean: 'true or false',
}

/** The schema that an error belongs to, with the title of the whole where it has none. */
function ownerOf(path: Path, node: Node | undefined, keyword: string): Schema {
  const whole = schemaAt(path)
  // If the value's type fits a branch, the error is inside that branch. Otherwise it belongs to the union.
  const inside = keyword !== 'type' && keyword !== 'anyOf'
  const part = inside
    ? branch(whole, (type) => type === JSON_TYPES[node?.kind ?? 'scalar'] || isType(node, type))
    : whole
  return { ...part, title: part.title ?? whole.title }
}

function describe({ keyword, instancePath, params }: SchemaError, root: Node, report: Report): void {
  const path = pathOf(root, instancePath)
  const node = nodeAt(root, path)
  if (node?.kind === 'scalar' && node.broken) return
  const owner = ownerOf(path, node, keyword)
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
      const isNumber = expected !== undefined && /number|integer/.test(String(expected))
      const hint = isNumber && node?.kind === 'scalar' ? quotedNumberHint(node.value) : undefined
      const what = hint === undefined ? found : 'a string'
      report.error('bad-type', `${name} must be ${expected ?? 'something else'}, not ${what}`, path, { hint })
      return
    }
    case 'enum': {
      const allowed = ((owner.enum ?? []) as unknown[]).map(String)
      const isDtype = owner.title === 'a dtype'
      const message = isDtype ? `there is no dtype ${quote(value)}` : `${name} can't be ${quote(value)}`
      if (node?.kind !== 'scalar' || node.value === null)
        report.error(
          'bad-type',
          `${name} must be ${owner.title ?? `one of ${allowed.join(', ')}`}, not ${kindOf(node)}`,
          path,
        )
      else report.error(isDtype ? 'unknown-dtype' : 'bad-value', message, path, { hint: didYouMean(value, allowed) })
      return
    }
    case 'const':
      report.error('bad-value', `${name} must be ${owner.const}, the version of the recipe language`, path, {
        hint: `write ${nameOf(path)}: ${owner.const}`,
      })
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
      const hint = 'split it into two steps; the second one uses the first by name'
      report.error('contradiction', `the step ${name} has ${found}; a step must have exactly one of them`, second, {
        part: 'key',
        hint,
      })
      return
    }
    default:
      throw new Error(`internal: no words for the schema's keyword ${keyword}`)
  }
}
