/** Reads the tensors of a model in another form of its family. */
import type { LogicalTensor } from '../checkpoints/types.js'
import { simplify } from '../views/compose.js'
import { dtypeOf, shapeOf } from '../views/shape.js'
import type { View } from '../views/types.js'
import { leavesOf, Misfit, Missing, putTogether, stackedOver, takeApart } from './forms.js'
import { type Captures, nameOf } from './names.js'
import type { Converted, Facts, FamilyForm, LayoutProblem, LayoutRule, Tensors } from './types.js'

/** An atom, and the stored tensor that it is a part of. */
interface FoundAtom {
  readonly view: View
  readonly from: LogicalTensor
}

/**
 * The tensors as the form `to` stores them. A tensor that can be made only in part, two tensors of one name, and shapes
 * that a rule does not fit are problems; then the result is not complete.
 */
export function convertTensors(tensors: Tensors, from: FamilyForm, to: FamilyForm, facts: Facts): Converted {
  const problems: LayoutProblem[] = []
  const atoms = atomsOf(tensors, from, facts, problems)
  const made = new Map<string, LogicalTensor>()
  const sources = new Map<string, readonly string[]>()
  const left: string[] = []
  const used = new Set<string>()
  const add = (tensor: LogicalTensor, of: readonly string[]): void => {
    if (made.has(tensor.name)) {
      problems.push({
        tensor: of[0]!,
        message: `would be ${tensor.name}, which ${sourceText(sources.get(tensor.name) ?? [tensor.name])} is`,
      })
      return
    }
    made.set(tensor.name, tensor)
    if (of.length !== 1 || of[0] !== tensor.name || tensor.view !== tensors.get(tensor.name)?.view)
      sources.set(tensor.name, of)
  }
  for (const rule of to.rules)
    for (const { name, captures, counts, some } of occurrences(rule, atoms, used)) {
      const found: FoundAtom[] = []
      const lookup = (atom: string): View | undefined => {
        const one = atoms.get(atom)
        if (one) {
          found.push(one)
          used.add(atom)
        }
        return one?.view
      }
      const of = () => [...new Set(found.map((one) => one.from.name))]
      try {
        const view = simplify(putTogether(rule.is, lookup, captures, counts, facts))
        const dtypes = new Set(found.map((one) => one.from.dtype))
        if (dtypes.size > 1) throw new Misfit(`would be made of tensors of the dtypes ${[...dtypes].join(' and ')}`)
        if (dtypeOf(view) === undefined) throw new Misfit('would be made of quantized and unquantized tensors')
        const { dtype, format } = found[0]!.from
        add({ name, dtype, shape: shapeOf(view), view, ...(format === undefined ? {} : { format }) }, of())
      } catch (error) {
        for (const atom of some) used.add(atom)
        if (error instanceof Missing)
          problems.push({ tensor: name, message: `can be made only in part: there is no ${error.atom}` })
        else if (error instanceof Misfit) problems.push({ tensor: name, message: error.message })
        else throw error
      }
    }
  const only = (from.only ?? []).map(nameOf)
  for (const [name, { view, from: source }] of atoms) {
    if (used.has(name)) continue
    if (only.some((pattern) => pattern.match(name))) left.push(name)
    else
      add(
        name === source.name && view === source.view
          ? source
          : { ...source, name, shape: shapeOf(view), view: simplify(view) },
        [source.name],
      )
  }
  const sorted = [...made.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  return { tensors: new Map(sorted.map((tensor) => [tensor.name, tensor])), left, from: sources, problems }
}

const sourceText = (names: readonly string[]): string => (names.length > 1 ? `${names[0]} and others` : names[0]!)

/** The atoms of all tensors by name. */
function atomsOf(tensors: Tensors, form: FamilyForm, facts: Facts, problems: LayoutProblem[]): Map<string, FoundAtom> {
  const atoms = new Map<string, FoundAtom>()
  const rules = form.rules.map((rule) => ({ rule, name: nameOf(rule.tensor) }))
  for (const tensor of tensors.values()) {
    const apart = apartBy(rules, tensor, facts, problems)
    for (const { name, view } of apart ?? [tensor]) {
      const other = atoms.get(name)
      if (other) problems.push({ tensor: tensor.name, message: `holds ${name}, which ${other.from.name} holds too` })
      else atoms.set(name, { view, from: tensor })
    }
  }
  return atoms
}

/** A tensor's atoms by the first rule that its name matches; undefined if there is none. */
function apartBy(
  rules: readonly { readonly rule: LayoutRule; readonly name: ReturnType<typeof nameOf> }[],
  tensor: LogicalTensor,
  facts: Facts,
  problems: LayoutProblem[],
) {
  for (const { rule, name } of rules) {
    const captures = name.match(tensor.name)
    if (!captures) continue
    try {
      return takeApart(rule.is, tensor.view, captures, facts)
    } catch (error) {
      if (!(error instanceof Misfit)) throw error
      problems.push({ tensor: tensor.name, message: error.message })
      return []
    }
  }
  return undefined
}

interface Occurrence {
  readonly name: string
  readonly captures: Captures
  readonly counts: Readonly<Record<string, number>>
  /** Atoms of it that are there. */
  readonly some: readonly string[]
}

/**
 * The tensors that a rule makes: one per value of its captures for which there is at least one atom. Atoms that earlier
 * rules used are theirs, so that a rule for the rest of a module can follow.
 */
function occurrences(
  rule: LayoutRule,
  atoms: ReadonlyMap<string, FoundAtom>,
  used: ReadonlySet<string>,
): Iterable<Occurrence> {
  const name = nameOf(rule.tensor)
  const over = new Set(stackedOver(rule.is))
  const found = new Map<string, { captures: Captures; counts: Record<string, number>; some: string[] }>()
  for (const leaf of leavesOf(rule.is).map(nameOf))
    for (const atom of atoms.keys()) {
      const captures = used.has(atom) ? undefined : leaf.match(atom)
      if (!captures) continue
      const own = Object.fromEntries(name.captures.map((capture) => [capture, captures[capture]!]))
      const key = name.fill(own)
      const entry = found.get(key) ?? { captures: own, counts: {}, some: [] }
      found.set(key, entry)
      entry.some.push(atom)
      for (const capture of leaf.captures)
        if (over.has(capture))
          entry.counts[capture] = Math.max(entry.counts[capture] ?? 0, Number(captures[capture]) + 1)
    }
  return [...found].map(([key, entry]) => ({ name: key, ...entry }))
}
