/** Initializers of an export as tensors of the checkpoint. */
import { fault } from '../../core/diagnostics.js'
import type { Shapes } from '../spec.js'
import type { OnnxGraph, OnnxTensor } from './model.js'

export interface Match {
  readonly name: string
  /** The checkpoint has the axes in the other order: a linear layer's weight. */
  readonly reversed: boolean
}

const equal = (x: readonly number[], y: readonly number[]) => x.length === y.length && x.every((n, i) => n === y[i])
const flipped = (x: readonly number[], y: readonly number[]) => x.length === 2 && equal([...x].reverse(), y)

/** Which tensor of the checkpoint each initializer is. */
interface Matching {
  readonly shapes: Shapes
  readonly matches: Map<string, Match>
  /** Initializers that are no tensor for sure, with the reason. */
  readonly lost: Map<string, string>
  /** Tensors of the checkpoint that have an initializer. */
  readonly taken: Set<string>
}

function take({ matches, taken }: Matching, tensor: OnnxTensor, name: string, reversed: boolean): void {
  matches.set(tensor.name, { name, reversed })
  taken.add(name)
}

/** By name, then by the module that reads the initializer, then by a shape that only one tensor has. */
export function matchNames(
  graph: OnnxGraph,
  floats: readonly OnnxTensor[],
  shapes: Shapes,
): Pick<Matching, 'matches' | 'lost'> {
  const matching: Matching = { shapes, matches: new Map(), lost: new Map(), taken: new Set() }
  const { matches, lost } = matching
  matchByName(matching, floats)
  const unnamed = floats.filter(({ name }) => !matches.has(name) && !lost.has(name))
  const readers = readersOf(graph, unnamed)
  matchByReader(matching, unnamed, readers)
  matchByShape(
    matching,
    unnamed.filter(({ name }) => !matches.has(name)),
    readers,
  )
  return { matches, lost }
}

function matchByName(matching: Matching, floats: readonly OnnxTensor[]): void {
  const { shapes, lost } = matching
  const rename = renaming(floats, shapes)
  const squares: [OnnxTensor, string][] = []
  let reversals = false
  for (const tensor of floats) {
    const name = rename(tensor.name)
    const shape = name === undefined ? undefined : shapes.get(name)!.shape
    if (name === undefined || shape === undefined) continue
    if (equal(tensor.dims, shape) && !flipped(tensor.dims, shape)) take(matching, tensor, name, false)
    else if (equal(tensor.dims, shape)) squares.push([tensor, name])
    else if (flipped(tensor.dims, shape)) {
      reversals = true
      take(matching, tensor, name, true)
    } else throw misfit(name, shape, tensor.dims)
  }
  // A square weight does not tell whether the export transposed it: others of the same names do.
  for (const [tensor, name] of squares)
    if (reversals) lost.set(tensor.name, `${tensor.name} is square: whether the export transposed it is not clear`)
    else take(matching, tensor, name, false)
}

const misfit = (name: string, shape: readonly number[], dims: readonly number[]) => {
  const [here, there] = [shape, dims].map((all) => `[${all.join(', ')}]`)
  return fault(
    'spec-misfit',
    `tensor ${name} is ${here}, but ${there} in the ONNX export: axis ${Math.max(
      0,
      shape.findIndex((n, i) => n !== dims[i]),
    )} differs`,
    'the export must be of the same architecture',
  )
}

/** A node that reads an initializer. */
interface Reader {
  readonly op: string
  readonly name: string
  /** Which of its inputs the initializer is. */
  readonly index: number
}
type Readers = ReadonlyMap<string, readonly Reader[]>

function readersOf(graph: OnnxGraph, tensors: readonly OnnxTensor[]): Readers {
  const readers = new Map<string, Reader[]>()
  const wanted = new Set(tensors.map(({ name }) => name))
  for (const { op, name, inputs } of graph.nodes)
    for (const [index, input] of inputs.entries()) if (wanted.has(input)) list(readers, input).push({ op, name, index })
  return readers
}

/** By the module's name in the name of the one node that reads an initializer: `/layer1/fc/MatMul`. */
function matchByReader(matching: Matching, unnamed: readonly OnnxTensor[], readers: Readers): void {
  const { shapes, taken } = matching
  // An export writes a linear layer's weight transposed for MatMul; other operators take it as it is.
  const fits = (tensor: OnnxTensor, shape: readonly number[]) =>
    isProduct(readers.get(tensor.name)) ? flipped(tensor.dims, shape) : equal(tensor.dims, shape)
  const ends = nameEnds([...shapes.keys()].filter((name) => !taken.has(name)))
  for (const tensor of unnamed) {
    const [reader, ...more] = readers.get(tensor.name) ?? []
    if (!reader || more.length > 0 || reader.index < 1 || reader.index > 2) continue
    const module = reader.name
      .split('/')
      .filter((part) => part !== '')
      .slice(0, -1)
      .join('.')
    if (module === '') continue
    const part = isProduct([reader]) || reader.index === 1 ? 'weight' : 'bias'
    const found = ends.get(`${module}.${part}`)?.filter((name) => !taken.has(name)) ?? []
    if (found.length === 1 && fits(tensor, shapes.get(found[0]!)!.shape))
      take(matching, tensor, found[0]!, isProduct([reader]))
  }
}

/** Names by each of their ends of up to twelve parts. */
function nameEnds(names: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const ends = new Map<string, string[]>()
  for (const name of names) {
    const parts = name.split('.')
    for (let k = Math.max(0, parts.length - 12); k < parts.length; k++) list(ends, parts.slice(k).join('.')).push(name)
  }
  return ends
}

/** By a shape that one tensor and one initializer have alone. The others are lost. */
function matchByShape(matching: Matching, left: readonly OnnxTensor[], readers: Readers): void {
  const { shapes, lost, taken } = matching
  const key = (dims: readonly number[]) => dims.join(',')
  const byShape = new Map<string, string[]>()
  for (const [name, { shape }] of shapes) if (!taken.has(name)) list(byShape, key(shape)).push(name)
  const places = left.map((tensor) =>
    key(isProduct(readers.get(tensor.name)) ? [...tensor.dims].reverse() : tensor.dims),
  )
  const claims = new Map<string, number>()
  for (const place of places) claims.set(place, (claims.get(place) ?? 0) + 1)
  for (const [i, tensor] of left.entries()) {
    const found = byShape.get(places[i]!) ?? []
    if (found.length === 1 && claims.get(places[i]!) === 1)
      take(matching, tensor, found[0]!, isProduct(readers.get(tensor.name)))
    else
      lost.set(
        tensor.name,
        `initializer ${tensor.name} of shape [${tensor.dims.join(', ')}] is ${found.length === 0 ? 'no tensor' : 'not clearly one tensor'} of the checkpoint`,
      )
  }
}

function list<T>(lists: Map<string, T[]>, key: string): T[] {
  const found = lists.get(key) ?? []
  lists.set(key, found)
  return found
}

const isProduct = (readers: readonly { op: string; index: number }[] | undefined): boolean =>
  readers !== undefined && readers.length > 0 && readers.every(({ op, index }) => op === 'MatMul' && index === 1)

/** Initializers' names as the checkpoint has them: the same, or with one prefix more or less throughout. */
function renaming(floats: readonly OnnxTensor[], shapes: Shapes): (name: string) => string | undefined {
  const exact = (name: string) => (shapes.has(name) ? name : undefined)
  const names = floats.map(({ name }) => name).filter((name) => !name.startsWith('onnx::'))
  const count = (rename: (name: string) => string | undefined) =>
    names.filter((name) => rename(name) !== undefined).length
  const candidates: ((name: string) => string | undefined)[] = [exact]
  // Some tensor's place under another name gives the prefix: `module.` of the export, `model.` of the checkpoint.
  const inner = names[0]
  if (inner !== undefined && count(exact) < names.length) {
    const parts = inner.split('.')
    for (let k = 1; k < Math.min(parts.length, 5); k++) {
      const prefix = `${parts.slice(0, k).join('.')}.`
      candidates.push((name) => (name.startsWith(prefix) ? exact(name.slice(prefix.length)) : undefined))
    }
    const holder = [...shapes.keys()].find((name) => name.endsWith(`.${inner}`))
    if (holder !== undefined) candidates.push((name) => exact(holder.slice(0, -inner.length) + name))
  }
  const rename = candidates.reduce((best, other) => (count(other) > count(best) ? other : best))
  return rename
}
