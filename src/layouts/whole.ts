/**
 * Whether a model has each part of a network once: experts without a hole, one form in all layers, and no tensor that is
 * stored both as a whole and in parts. Converting finds such faults too; a model that stays as it is has them all the same.
 */
import { plural } from '../core/words.js'
import { expertsIn } from './facts.js'
import { leavesOf, stackedOver } from './forms.js'
import { factsOf, type Laid } from './model.js'
import { type Captures, indexOf, type NameIndex, nameOf } from './names.js'
import type { Facts, Family, FamilyForm, LayoutProblem, LayoutRule, Tensors } from './types.js'

/** A tensor that a rule describes: stored whole, in parts, or both. */
interface Instance {
  readonly rule: LayoutRule
  /** The capture that it stacks over. */
  readonly over: string | undefined
  /** The name of the whole tensor, whether or not it is there. */
  readonly name: string
  /** The module that has all layers: their tensors are alike. */
  readonly prefix: string
  /** The captures of the whole tensor: those of its layer. */
  readonly layer: string
  readonly whole: boolean
  /** By name of a part, with the stacked capture as it is: the numbers that are there, and their tensors. */
  readonly parts: ReadonlyMap<string, ReadonlyMap<string, string>>
  readonly biases: boolean
}

/** A part of a network that is stored twice: as a whole tensor, and otherwise. */
export interface Twice {
  readonly whole: string
  readonly others: readonly string[]
  /** Whether all of it is there both times. */
  readonly all: boolean
}

export interface WholeOptions {
  /** Whether each part has to be there that others need: of a base. Otherwise only that of experts. */
  readonly complete: boolean
  /** Whether layers may have different forms: the recipe says so. */
  readonly mixed: boolean
}

/** What is wrong with the parts of a family in a model. */
export function faultsOf(family: Family, model: Laid, { complete, mixed }: WholeOptions): LayoutProblem[] {
  const facts = factsOf(model)
  if (family.isOne?.(facts) === false) return []
  const all = instancesIn(family, model.tensors)
  if (all.length === 0) return []
  return [
    ...all.flatMap(misnumbered),
    ...(mixed ? [] : mixedIn(all)),
    ...stacksIn(all, facts),
    ...missingWholes(all),
    ...(complete ? missingParts(all) : []),
  ]
}

/** Tensors of a model that hold the same part of a network. */
export function twiceIn(family: Family, model: Laid): Twice[] {
  // A part that is stored twice is a whole tensor once. Most models have none, and many parts.
  const index = indexOf(model.tensors)
  if (!structured(family).some(({ tensor }) => index.skeletons(tensor).length > 0)) return []
  return family.isOne?.(factsOf(model)) === false ? [] : twiceOf(instancesIn(family, model.tensors))
}

/** The tensors that hold the same parts of a network as those of a form do, and that the form does not have. */
export function twinsOf(family: Family, form: FamilyForm, tensors: Tensors): readonly string[] {
  const wholes = new Set(form.rules.filter(isStructured).map(({ tensor }) => tensor))
  return instancesIn(family, tensors).flatMap(({ rule, name, whole, parts }) => {
    if (!whole || parts.size === 0) return []
    return wholes.has(rule.tensor) ? [...parts.values()].flatMap((part) => [...part.values()]) : [name]
  })
}

/** Whether a tensor is made of several: only these can be there in part. */
function isStructured({ is }: LayoutRule): boolean {
  const inner = (form: LayoutRule['is']): boolean => {
    if (typeof form === 'string') return false
    if ('concat' in form || 'stack' in form) return true
    return inner('transpose' in form ? form.transpose : 'expand' in form ? form.expand : form.swapHalves)
  }
  return inner(is)
}

const rulesOf = new WeakMap<Family, readonly LayoutRule[]>()

/** The rules of tensors that are made of several, each once: forms can differ in the order of elements alone. */
function structured(family: Family): readonly LayoutRule[] {
  const known = rulesOf.get(family)
  if (known) return known
  const own = new Map<string, LayoutRule>()
  for (const rule of family.forms.flatMap(({ rules }) => rules).filter(isStructured)) own.set(keyOf(rule), rule)
  const rules = [...own.values()]
  rulesOf.set(family, rules)
  return rules
}

type Found = Omit<Instance, 'whole' | 'parts'> & { whole: boolean; readonly parts: Map<string, Map<string, string>> }

const known = new WeakMap<NameIndex, Map<string, readonly Instance[]>>()

/** Families can have the same rules, and models the same names: what is found of one is kept as long as the index of names. */
function instancesIn(family: Family, tensors: Tensors): readonly Instance[] {
  const index = indexOf(tensors)
  const found = known.get(index) ?? new Map<string, readonly Instance[]>()
  known.set(index, found)
  return structured(family).flatMap((rule) => {
    const key = keyOf(rule)
    const instances = found.get(key) ?? instancesOf(rule, index)
    found.set(key, instances)
    return instances
  })
}

/** Rules with the same key have the same parts, possibly in another order. */
const keyOf = ({ tensor, is }: LayoutRule): string => `${tensor} ${[...new Set(leavesOf(is))].sort().join(' ')}`

function instancesOf(rule: LayoutRule, index: NameIndex): readonly Instance[] {
  const name = nameOf(rule.tensor)
  const [over] = stackedOver(rule.is)
  const found = new Map<string, Found>()
  const instance = (captures: Captures): Found => {
    const tensor = name.fill(captures)
    const known = found.get(tensor)
    if (known) return known
    const own = Object.fromEntries(name.captures.map((capture) => [capture, captures[capture]!]))
    const { prefix = '', wb: _, ...place } = own
    const made: Found = {
      ...{ rule, over, name: tensor, prefix, whole: false },
      layer: JSON.stringify([prefix, place]),
      parts: new Map<string, Map<string, string>>(),
      biases: own.wb === 'bias',
    }
    found.set(tensor, made)
    return made
  }
  for (const { captures } of index.find(rule.tensor)) instance(captures).whole = true
  for (const leaf of new Set(leavesOf(rule.is))) {
    const part = nameOf(leaf)
    // The tensors of an instance's part, of which there may be hundreds.
    const known = new Map<Found, Map<string, string>>()
    const numbersOf = (one: Found, captures: Captures): Map<string, string> => {
      const place = over === undefined ? captures : { ...captures, [over]: `{${over}}` }
      const key = part.fill(place)
      const numbers = one.parts.get(key) ?? new Map<string, string>()
      one.parts.set(key, numbers)
      // Without a stacked capture, other captures of the part may differ.
      if (over !== undefined) known.set(one, numbers)
      return numbers
    }
    for (const { name: stored, captures } of index.find(leaf)) {
      const one = instance(captures)
      const numbers = known.get(one) ?? numbersOf(one, captures)
      numbers.set(over === undefined ? '' : captures[over]!, stored)
    }
  }
  return [...found.values()]
}

function twiceOf(all: readonly Instance[]): Twice[] {
  const holders = new Map<string, string>()
  return all.flatMap((one): Twice[] => {
    const { name, whole, parts } = one
    if (!whole) return []
    if (parts.size > 0) {
      const others = [...parts.values()].flatMap((part) => [...part.values()])
      return [{ whole: name, others, all: leavesIn(one).every((leaf) => parts.has(leaf)) }]
    }
    // Two forms can have whole tensors of the same parts.
    const key = leavesIn(one).join(' ')
    const other = holders.get(key)
    holders.set(key, name)
    return other === undefined || other === name ? [] : [{ whole: other, others: [name], all: true }]
  })
}

/** Numbers are written without leading zeros: `experts.01` is not the expert 1. */
const misnumbered = ({ parts }: Instance): LayoutProblem[] =>
  [...parts.values()].flatMap((numbers) =>
    [...numbers].flatMap(([number, tensor]) =>
      /^0\d/.test(number) ? [{ tensor, message: `has the number ${number}, which should be ${Number(number)}` }] : [],
    ),
  )

/** Layers that are stored whole next to layers in parts. */
function mixedIn(all: readonly Instance[]): LayoutProblem[] {
  const groups = new Map<string, Instance>()
  return all.flatMap((one): LayoutProblem[] => {
    // All tensors of experts have one form.
    const key = `${one.prefix} ${one.over ?? one.rule.tensor}`
    const first = groups.get(key)
    if (!first) groups.set(key, one)
    if (!first || first.whole === one.whole) return []
    const [whole, apart] = one.whole ? [one, first] : [first, one]
    const part = [...apart.parts.values()][0]!.values().next().value!
    return [{ tensor: whole.name, message: `is one tensor, and ${part} is one of several`, needs: 'mixed' }]
  })
}

/** Experts that are missing, or that the configuration does not have. */
function stacksIn(all: readonly Instance[], facts: Facts): LayoutProblem[] {
  const most = new Map<string, { readonly places: number; readonly says: string }>()
  const experts = (count: number): string => plural(count, 'expert')
  const places = ({ name, whole, parts }: Instance): number =>
    whole
      ? (facts.shapes.get(name)?.shape[0] ?? 0)
      : Math.max(...[...parts.values()].flatMap((numbers) => [...numbers.keys()].map((number) => Number(number) + 1)))
  const stacks = all.filter(({ over }) => over !== undefined)
  for (const one of stacks) {
    const key = `${one.over} ${one.prefix}`
    const known = most.get(key)
    const own = places(one)
    if (!known || own > known.places)
      most.set(key, {
        places: own,
        says: one.whole ? `${one.name} has ${experts(own)}` : `there is ${numbered(one, own - 1)}`,
      })
  }
  for (const one of stacks) {
    const key = `${one.over} ${one.prefix}`
    const named = expertsIn(one.over!, facts, most.get(key)!.places)
    if (named > 0) most.set(key, { places: named, says: `the configuration has ${experts(named)}` })
  }
  return stacks.flatMap((one): LayoutProblem[] => {
    const wanted = most.get(`${one.over} ${one.prefix}`)!
    if (one.whole) {
      const own = places(one)
      return own === wanted.places
        ? []
        : [{ tensor: one.name, message: `is a stack of ${plural(own, 'tensor')}, but ${wanted.says}` }]
    }
    return leavesIn(one).flatMap((leaf): LayoutProblem[] => {
      const numbers = one.parts.get(leaf) ?? new Map<string, string>()
      const beyond = [...numbers].find(([number]) => Number(number) >= wanted.places)
      if (beyond) return [{ tensor: beyond[1], message: `is one too many: ${wanted.says}` }]
      let hole = 0
      while (numbers.has(String(hole))) hole++
      return hole >= wanted.places
        ? []
        : [
            {
              tensor: leaf.replace(`{${one.over}}`, String(hole)),
              message: `is missing: ${wanted.says}`,
            },
          ]
    })
  })
}

/** A stored part with the number. */
const numbered = ({ parts }: Instance, number: number): string =>
  [...parts.values()].map((numbers) => numbers.get(String(number))).find((tensor) => tensor !== undefined) ??
  `expert ${number}`

/** The names of the parts, with the stacked capture as it is. */
function leavesIn({ rule, over, name }: Instance): readonly string[] {
  const captures = nameOf(rule.tensor).match(name)!
  return [...new Set(leavesOf(rule.is))].map((leaf) =>
    nameOf(leaf).fill(over === undefined ? captures : { ...captures, [over]: `{${over}}` }),
  )
}

/** A layer without one of the tensors of experts that another layer has. */
function missingWholes(all: readonly Instance[]): LayoutProblem[] {
  const stacks = all.filter(({ over }) => over !== undefined)
  const rules = new Map<string, Set<LayoutRule>>()
  const layers = new Map<string, Instance[]>()
  for (const one of stacks) {
    rules.set(one.prefix, (rules.get(one.prefix) ?? new Set()).add(one.rule))
    const layer = layers.get(one.layer)
    if (layer) layer.push(one)
    else layers.set(one.layer, [one])
  }
  return [...layers.values()].flatMap((own): LayoutProblem[] => {
    const [first] = own
    const missing = [...rules.get(first!.prefix)!].find((rule) => !own.some((one) => one.rule === rule))
    if (!missing) return []
    const captures = nameOf(first!.rule.tensor).match(first!.name)!
    const name = nameOf(missing.tensor).fill(captures)
    const [leaf] = leavesOf(missing.is)
    const part = nameOf(leaf!).fill({ ...captures, [first!.over!]: '0' })
    return [{ tensor: first!.whole ? name : part, message: 'is missing: another layer has it' }]
  })
}

/** Parts of a tensor without the others. Biases can be those of some parts only. */
function missingParts(all: readonly Instance[]): LayoutProblem[] {
  const held = new Set(all.flatMap((one) => (one.whole ? leavesIn(one) : [])))
  return all.flatMap((one): LayoutProblem[] => {
    if (one.over !== undefined || one.whole || one.biases) return []
    const missing = leavesIn(one).find((leaf) => !one.parts.has(leaf) && !held.has(leaf))
    const there = [...one.parts.values()][0]!.values().next().value!
    return missing === undefined ? [] : [{ tensor: missing, message: `is missing: it belongs to ${there}` }]
  })
}
