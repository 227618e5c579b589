/** Layouts in a recipe: names, and rules that say which tensors a stored tensor is made of. */
import { nearest, quote } from '../../core/suggest.js'
import { type Cursor, entriesOf, get, isMapping, itemsOf, numberOf, oneOrMore, textOf } from '../../language/cursor.js'
import type { Report } from '../../language/report.js'
import type { LayoutChoice } from '../../language/types.js'
import { FAMILIES, layoutNames, layoutsNamed } from '../../layouts/index.js'
import { capturesOf } from '../../layouts/names.js'
import type { Form } from '../../layouts/types.js'

/** The layouts of a model: names and rules. */
export const readLayouts = (at: Cursor | undefined, report: Report): LayoutChoice[] =>
  oneOrMore(at).flatMap((item): LayoutChoice[] => {
    if (!isMapping(item)) return readLayoutNames(item, report, { mixed: true })
    const rule = readRule(item, report)
    return rule ? [{ kind: 'rule', rule, at: item.path }] : []
  })

/** Names of layouts: `mixtral/released`, `minimax/released`, or `released`. `mixed`: whether layers may have several. */
export const readLayoutNames = (
  at: Cursor | undefined,
  report: Report,
  { mixed = false } = {},
): (LayoutChoice & { readonly kind: 'name' })[] =>
  oneOrMore(at).flatMap((item) => {
    const name = textOf(item)
    if (name === undefined) return []
    if (layoutsNamed(name).some(({ form }) => mixed || form !== 'mixed'))
      return [{ kind: 'name', name, at: item.path } as const]
    const forms = new Set(FAMILIES.flatMap((family) => family.forms.map((form) => form.name)))
    const near = nearest(name, [...layoutNames(), ...forms], 2)
    report.error('unknown-layout', `there is no layout ${quote(name)}`, item.path, {
      hint:
        near.length > 0
          ? `did you mean ${near.join(' or ')}? terge inspect --layouts lists all`
          : 'terge inspect --layouts lists all',
    })
    return []
  })

/** The keys that say how a form is made. Each form has exactly one. */
const FORM_KEYS = ['is', 'concat', 'stack', 'transpose', 'expand', 'swap_halves'] as const

/** Digits, or one of the captures with a meaning of their own. */
const TEXTS = new Set(['prefix', 'wb', 'rest'])

function readRule(at: Cursor, report: Report): (LayoutChoice & { readonly kind: 'rule' })['rule'] | undefined {
  const tensor = get(at, 'tensor')
  const name = textOf(tensor)
  if (!tensor || name === undefined) {
    if (!tensor)
      report.error('missing-key', 'a rule of a layout needs the tensor that it describes', at.path, {
        hint: 'write tensor: "layers.{n}.qkv.weight", concat: […]',
      })
    return undefined
  }
  if (!isPattern(tensor, name, report)) return undefined
  const known = new Set(capturesOf(name))
  const is = readForm(at, report, known)
  return is === undefined ? undefined : { tensor: name, is }
}

/** A form: a name, or a mapping with one of `FORM_KEYS`. `known`: the captures that have a value. */
function readForm(at: Cursor | undefined, report: Report, known: ReadonlySet<string>): Form | undefined {
  if (at === undefined) return undefined
  const text = textOf(at)
  if (text !== undefined) return readName(at, text, report, known)
  const keys = FORM_KEYS.filter((key) => get(at, key))
  const [key, second] = keys
  if (key === undefined) {
    if (isMapping(at))
      report.error('missing-key', 'this does not say what the tensor is made of', at.path, {
        hint: `write one of ${FORM_KEYS.join(', ')}`,
      })
    return undefined
  }
  if (second !== undefined) {
    report.error(
      'contradiction',
      `a tensor is made in one way, but here are ${quote(key)} and ${quote(second)}`,
      [...at.path, second],
      {
        part: 'key',
        hint: 'put one into the other: {transpose: {concat: […]}}',
      },
    )
    return undefined
  }
  refuseOtherKeys(at, key, report)
  return makeForm(at, key, report, known)
}

/** The keys that a kind of form has in addition to its own. */
const BESIDE: Readonly<Record<(typeof FORM_KEYS)[number], readonly string[]>> = {
  is: [],
  concat: ['axis', 'groups', 'sizes'],
  stack: ['over'],
  transpose: [],
  expand: ['ones'],
  swap_halves: ['axis'],
}

function refuseOtherKeys(at: Cursor, key: (typeof FORM_KEYS)[number], report: Report): void {
  for (const [other, value] of entriesOf(at))
    if (other !== key && other !== 'tensor' && !BESIDE[key].includes(other))
      report.error('contradiction', `${quote(other)} does not belong to ${quote(key)}`, value.path, {
        part: 'key',
        hint: 'remove it',
      })
}

/** As many groups as a part has places. */
const IN_TURN = 'in turn'

function makeForm(
  at: Cursor,
  key: (typeof FORM_KEYS)[number],
  report: Report,
  known: ReadonlySet<string>,
): Form | undefined {
  const own = get(at, key)!
  const axis = numberOf(get(at, 'axis')) ?? 0
  if (key === 'concat') {
    const parts = itemsOf(own).map((item) => readForm(item, report, known))
    const sizes = itemsOf(get(at, 'sizes')).map((item) => numberOf(item) ?? 0)
    if (sizes.length > 0 && sizes.length !== parts.length) {
      report.error('bad-value', `there are ${parts.length} parts, but ${sizes.length} sizes`, [...at.path, 'sizes'], {
        hint: 'write the size of each part in one group',
      })
      return undefined
    }
    if (parts.some((part) => part === undefined)) return undefined
    const groups = textOf(get(at, 'groups')) === IN_TURN ? IN_TURN : (numberOf(get(at, 'groups')) ?? 1)
    return { concat: parts as Form[], axis, groups, ...(sizes.length > 0 ? { sizes } : {}) }
  }
  if (key === 'stack') return stackForm(at, own, report, known)
  const inner = readForm(own, report, known)
  if (inner === undefined) return undefined
  if (key === 'transpose') return { transpose: inner }
  if (key === 'expand') return { expand: inner, ones: numberOf(get(at, 'ones')) ?? 2 }
  return key === 'swap_halves' ? { swapHalves: inner, axis } : inner
}

/** A stack is over the one capture in it that has no value yet, or over the one that `over` names. */
function stackForm(at: Cursor, own: Cursor, report: Report, known: ReadonlySet<string>): Form | undefined {
  const over = textOf(get(at, 'over'))
  const fresh = [...new Set(namesIn(own).flatMap(capturesOf))].filter((capture) => !known.has(capture))
  const chosen = over ?? (fresh.length === 1 ? fresh[0] : undefined)
  if (chosen === undefined || !fresh.includes(chosen) || TEXTS.has(chosen)) {
    report.error(
      'bad-pattern',
      over === undefined
        ? `a stack is over one number in its names that the tensor does not have, but here are ${fresh.length === 0 ? 'none' : fresh.map((one) => `{${one}}`).join(' and ')}`
        : `the names of the stack have no number {${over}} of their own`,
      over === undefined ? own.path : [...at.path, 'over'],
      { hint: 'write a capture such as {e} in the names: stack: "layers.{n}.experts.{e}.weight"' },
    )
    return undefined
  }
  const inner = readForm(own, report, new Set([...known, chosen]))
  return inner === undefined ? undefined : { stack: inner, over: chosen }
}

/** All names in a form. */
function namesIn(at: Cursor): string[] {
  const text = textOf(at)
  if (text !== undefined) return [text]
  return [...itemsOf(at), ...FORM_KEYS.flatMap((key) => get(at, key) ?? [])].flatMap(namesIn)
}

function readName(at: Cursor, text: string, report: Report, known: ReadonlySet<string>): string | undefined {
  if (!isPattern(at, text, report)) return undefined
  const other = capturesOf(text).find((capture) => !known.has(capture))
  const missing = [...known].find((capture) => !capturesOf(text).includes(capture))
  const found = other ?? missing
  if (found === undefined) return text
  report.error(
    'bad-pattern',
    other === undefined
      ? `${quote(text)} has no {${found}}, so it would be the same tensor for every {${found}}`
      : `{${found}} in ${quote(text)} has no value: it is not in the name of the tensor`,
    at.path,
    { hint: 'use the same captures in the tensor and its parts; only a stack adds one' },
  )
  return undefined
}

/** Whether a name has each capture once, and text between two of them. */
function isPattern(at: Cursor, text: string, report: Report): boolean {
  const captures = capturesOf(text)
  const twice = captures.find((capture, index) => captures.indexOf(capture) !== index)
  const problem =
    twice !== undefined
      ? `{${twice}} is in the name twice`
      : /\}\{/.test(text)
        ? 'two captures follow one another'
        : /[{}]/.test(text.replaceAll(/\{\w+\}/g, ''))
          ? 'a brace is not part of a capture such as {n}'
          : captures.indexOf('prefix') > 0 || (captures[0] === 'prefix' && !text.startsWith('{prefix}'))
            ? '{prefix} is not at the beginning'
            : undefined
  if (problem !== undefined)
    report.error('bad-pattern', `${quote(text)}: ${problem}`, at.path, {
      hint: 'write a name such as layers.{n}.qkv.weight',
    })
  return problem === undefined
}
