/** Reads the tensors of a model in another form of its family. */
import type { LogicalTensor } from '../checkpoints/types.js'
import { plural } from '../core/words.js'
import { dtypeOf, shapeOf } from '../views/shape.js'
import type { View } from '../views/types.js'
import { expertsIn } from './facts.js'
import { type Atom, leavesOf, Misfit, Missing, putTogether, stackedOver, takeApart } from './forms.js'
import { type Captures, indexOf, nameOf } from './names.js'
import type { Converted, Facts, FamilyForm, LayoutProblem, LayoutRule, Tensors } from './types.js'

/** An atom, and the stored tensor that it is a part of. */
interface FoundAtom {
  readonly view: View
  readonly from: LogicalTensor
  /** It is the stored tensor: no rule matches its name. */
  readonly whole: boolean
}

/** What tensors are read as: a form, or rules of several forms where `wanted` says which tensors are made. */
export interface Target extends Pick<FamilyForm, 'rules'> {
  /** Whether a tensor of this name is made, and kept where it is there. Default: those of all rules are made. */
  readonly wanted?: (name: string) => boolean
}

/**
 * The tensors as the form `to` stores them. A tensor that can be made only in part, two tensors of one name, and shapes
 * that a rule does not fit are problems; then the result is not complete.
 */
export function convertTensors(
  tensors: Tensors,
  from: Pick<FamilyForm, 'rules' | 'only'>,
  to: Target,
  facts: Facts,
): Converted {
  const problems: LayoutProblem[] = []
  const { atoms, kept } = atomsOf(tensors, from, to, facts, problems)
  const made = new Map<string, LogicalTensor>()
  const sources = new Map<string, readonly string[]>()
  const used = new Set<string>()
  const add = (tensor: LogicalTensor, of?: readonly string[]): void => {
    if (made.has(tensor.name)) {
      const other = sourceText(sources.get(tensor.name) ?? [tensor.name])
      problems.push({ tensor: of?.[0] ?? tensor.name, message: `would be ${tensor.name}, which ${other} is` })
      return
    }
    made.set(tensor.name, tensor)
    if (of) sources.set(tensor.name, of)
  }
  for (const tensor of kept) add(tensor)
  for (const one of occurrences(to, atoms, facts)) {
    const found = makeTensor(one, atoms, facts)
    for (const atom of found.used) used.add(atom)
    if ('tensor' in found) add(found.tensor, found.of)
    else problems.push({ tensor: one.name, ...found.problem })
  }
  const left: string[] = []
  const only = new Set(
    (from.only ?? []).flatMap((pattern) =>
      indexOf(atoms)
        .find(pattern)
        .map(({ name }) => name),
    ),
  )
  for (const [name, { view, from: source, whole }] of atoms) {
    if (used.has(name)) continue
    if (only.has(name)) left.push(name)
    else if (whole) add(source)
    else add({ ...source, name, shape: shapeOf(view), view }, [source.name])
  }
  const sorted = [...made.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  return { tensors: new Map(sorted.map((tensor) => [tensor.name, tensor])), left, from: sources, problems }
}

const sourceText = (names: readonly string[]): string => (names.length > 1 ? `${names[0]} and others` : names[0]!)

type Atoms = ReadonlyMap<string, FoundAtom>
type Made =
  | { readonly used: readonly string[]; readonly tensor: LogicalTensor; readonly of: readonly string[] }
  | { readonly used: readonly string[]; readonly problem: Pick<LayoutProblem, 'message' | 'needs'> }

function makeTensor({ name, rule, captures, counts, some }: Occurrence, atoms: Atoms, facts: Facts): Made {
  const found: FoundAtom[] = []
  const used: string[] = []
  const lookup = (atom: string): View | undefined => {
    const one = atoms.get(atom)
    if (!one) return undefined
    found.push(one)
    used.push(atom)
    return one.view
  }
  try {
    // Not simplified: in a plan, stored tensors inside a view are whole.
    const view = putTogether(rule.is, lookup, captures, counts, facts)
    const dtypes = new Set(found.map((one) => one.from.dtype))
    if (dtypes.size > 1) throw new Misfit(`would be made of tensors of the dtypes ${[...dtypes].join(' and ')}`)
    if (dtypeOf(view) === undefined) throw new Misfit('would be made of quantized and unquantized tensors')
    const { dtype, format } = found[0]!.from
    const tensor = { name, dtype, shape: shapeOf(view), view, ...(format === undefined ? {} : { format }) }
    return { used, tensor, of: [...new Set(found.map((one) => one.from.name))] }
  } catch (error) {
    if (error instanceof Missing)
      return { used: some, problem: { message: `can be made only in part: there is no ${error.atom}` } }
    if (error instanceof Misfit) return { used: some, problem: saidBy(error) }
    throw error
  }
}

const saidBy = ({ message, needs }: Misfit): Pick<LayoutProblem, 'message' | 'needs'> =>
  needs === undefined ? { message } : { message, needs }

/** The atoms of all tensors by name, and the tensors that are wanted as they are. */
function atomsOf(
  tensors: Tensors,
  { rules }: Pick<FamilyForm, 'rules'>,
  { wanted }: Target,
  facts: Facts,
  problems: LayoutProblem[],
): { readonly atoms: Map<string, FoundAtom>; readonly kept: readonly LogicalTensor[] } {
  const atoms = new Map<string, FoundAtom>()
  const kept: LogicalTensor[] = []
  const index = indexOf(tensors)
  const apart = new Map<string, { readonly rule: LayoutRule; readonly captures: Captures }>()
  const stacks = new Map<string, Stack>()
  for (const rule of rules)
    for (const { name, captures } of index.find(rule.tensor)) if (!apart.has(name)) apart.set(name, { rule, captures })
  for (const tensor of tensors.values()) {
    const found = apart.get(tensor.name)
    if (found && wanted?.(tensor.name)) {
      kept.push(tensor)
      continue
    }
    const uneven = found && unevenStack(found.rule, tensor, found.captures, facts, stacks)
    if (uneven !== undefined) problems.push({ tensor: tensor.name, message: uneven })
    for (const { name, view } of found ? atomsIn(found.rule, tensor, found.captures, facts, problems) : [tensor]) {
      const other = atoms.get(name)
      if (other) problems.push({ tensor: tensor.name, message: `holds ${name}, which ${other.from.name} holds too` })
      else atoms.set(name, { view, from: tensor, whole: !found })
    }
  }
  return { atoms, kept }
}

/** A stack of one part of a network: how many places it has, and what says so. */
interface Stack {
  readonly places: number
  readonly says: string
}

/** All stacks of one part of a network. */
const stacksOf = (capture: string, { prefix = '' }: Captures): string => `${capture} ${prefix}`

/** Why a stored stack does not have the places of the configuration, or of the other stacks. */
function unevenStack(
  { is }: LayoutRule,
  { name, shape }: LogicalTensor,
  captures: Captures,
  facts: Facts,
  stacks: Map<string, Stack>,
): string | undefined {
  const [places] = shape
  if (typeof is === 'string' || !('stack' in is) || places === undefined) return undefined
  const key = stacksOf(is.over, captures)
  const named = expertsIn(is.over, facts, places)
  const known = stacks.get(key) ?? (named > 0 ? { places: named, says: 'the configuration' } : { places, says: name })
  stacks.set(key, known)
  return known.places === places
    ? undefined
    : `is a stack of ${plural(places, 'tensor')}, but ${known.says} has ${known.places}`
}

function atomsIn(
  rule: LayoutRule,
  tensor: LogicalTensor,
  captures: Captures,
  facts: Facts,
  problems: LayoutProblem[],
): readonly Atom[] {
  try {
    return takeApart(rule.is, tensor.view, captures, facts)
  } catch (error) {
    if (!(error instanceof Misfit)) throw error
    problems.push({ tensor: tensor.name, ...saidBy(error) })
    return []
  }
}

interface Occurrence {
  readonly name: string
  readonly rule: LayoutRule
  readonly captures: Captures
  readonly counts: Readonly<Record<string, number>>
  /** Atoms of it that are there. */
  readonly some: readonly string[]
}

/**
 * The tensors that rules make: one per value of a rule's captures for which there is at least one atom. All stacks of one
 * part of a network have the same number of places: that of the configuration, or the largest one. Atoms that earlier rules
 * use are theirs, so that a rule for the rest of a module can follow.
 */
function occurrences({ rules, wanted }: Target, atoms: Atoms, facts: Facts): readonly Occurrence[] {
  const all: (Occurrence & { readonly some: string[]; readonly counts: Record<string, number> })[] = []
  const index = indexOf(atoms)
  const taken = new Set<string>()
  for (const rule of rules) {
    const found = new Map<string, (typeof all)[number]>()
    const name = nameOf(rule.tensor)
    const over = stackedOver(rule.is)
    for (const leaf of leavesOf(rule.is))
      for (const { name: atom, captures } of index.find(leaf)) {
        if (taken.has(atom)) continue
        const tensor = name.fill(captures)
        let entry = found.get(tensor)
        if (!entry) {
          if (wanted && !wanted(tensor)) continue
          const values = Object.fromEntries(name.captures.map((capture) => [capture, captures[capture]!]))
          entry = { name: tensor, rule, captures: values, counts: {}, some: [] }
          found.set(tensor, entry)
        }
        entry.some.push(atom)
        for (const capture of over)
          if (captures[capture] !== undefined)
            entry.counts[capture] = Math.max(entry.counts[capture] ?? 0, Number(captures[capture]) + 1)
      }
    for (const entry of found.values()) {
      for (const atom of entry.some) taken.add(atom)
      all.push(entry)
    }
  }
  const most = new Map<string, number>()
  for (const { counts, captures } of all)
    for (const [capture, count] of Object.entries(counts)) {
      const key = stacksOf(capture, captures)
      most.set(key, Math.max(most.get(key) ?? 0, count))
    }
  for (const [key, count] of most) most.set(key, Math.max(count, expertsIn(key.split(' ')[0]!, facts, count)))
  for (const { counts, captures } of all)
    for (const capture of Object.keys(counts)) counts[capture] = most.get(stacksOf(capture, captures))!
  return all
}
