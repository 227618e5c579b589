/**
 * The structure of an ONNX model (ModelProto of onnx.proto): nodes, and names and dimensions of initializers. Numbers are
 * read only of integer tensors of a few elements, which give shapes and axes.
 */
import { type Bytes, broken, type Field, openWire, type Wire } from './wire.js'

export interface OnnxTensor {
  readonly name: string
  readonly dims: readonly number[]
  /** Of small integer tensors. */
  readonly integers?: readonly number[]
  /** Whether all elements have the same bits. Only looked up for small tensors. */
  readonly uniform?: true
  readonly float: boolean
}

export interface OnnxNode {
  readonly name: string
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly integers: ReadonlyMap<string, readonly number[]>
  /** The values of attributes that are texts. */
  readonly texts: ReadonlyMap<string, string>
  /** Whether an attribute is a single floating-point number. */
  readonly isNumber: boolean
  /** The module that it belongs to, as exporters write it: `layer1.0.conv1`. */
  readonly scope?: string
  readonly tensor?: OnnxTensor
  /** It has graphs of its own, which may read any value. */
  readonly nested: boolean
}

/** A value's dimensions, as far as they are numbers. */
export interface OnnxValue {
  readonly name: string
  readonly dims?: readonly (number | undefined)[]
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[]
  readonly initializers: readonly OnnxTensor[]
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  /** What the file says of values between. */
  readonly values: readonly OnnxValue[]
}

const MOST_NODES = 500_000
const MOST_AXES = 16
/** Elements of an integer tensor up to which its numbers are read: shapes, and lists of channels. */
const FEW = 16_384
const FLOATS = [1, 10, 11, 16]
const STANDARD = ['', 'ai.onnx']

/** Reads a model's structure. Error: `bad-onnx`. */
export function readOnnx(source: Bytes): OnnxGraph {
  const wire = openWire(source)
  const graphs = [...wire.fields(0, source.size)].filter(({ number, wire }) => number === 7 && wire === 2)
  if (graphs.length !== 1) throw broken('it has no graph')
  const nodes: OnnxNode[] = []
  const initializers: OnnxTensor[] = []
  const inputs: OnnxValue[] = []
  const outputs: OnnxValue[] = []
  const values: OnnxValue[] = []
  for (const field of messages(wire, graphs[0]!)) {
    if (field.number === 1) nodes.push(readNode(wire, field))
    else if (field.number === 5) initializers.push(readTensor(wire, field))
    else if (field.number === 11) inputs.push(readValue(wire, field))
    else if (field.number === 12) outputs.push(readValue(wire, field))
    else if (field.number === 13) values.push(readValue(wire, field))
    else if (field.number === 15) throw broken('it has sparse initializers')
    if (nodes.length + initializers.length > MOST_NODES) throw broken(`it has more than ${MOST_NODES} nodes`)
  }
  return { nodes, initializers, inputs, outputs, values }
}

function* messages(wire: Wire, { start, end }: Field): Generator<Field> {
  for (const field of wire.fields(start, end)) if (field.wire === 2) yield field
}

function readNode(wire: Wire, { start, end }: Field): OnnxNode {
  let [name, op, domain] = ['', '', '']
  let scope: string | undefined
  const inputs: string[] = []
  const outputs: string[] = []
  const attributes: Attributes = { integers: new Map(), texts: new Map(), isNumber: false, nested: false }
  for (const field of wire.fields(start, end)) {
    if (field.number === 1) inputs.push(wire.text(field))
    else if (field.number === 2) outputs.push(wire.text(field))
    else if (field.number === 3) name = wire.text(field)
    else if (field.number === 4) op = wire.text(field)
    else if (field.number === 7) domain = wire.text(field)
    else if (field.number === 5) readAttribute(wire, field, attributes)
    else if (field.number === 9) scope = scopeIn(wire, field) ?? scope
  }
  const own = scope ?? scopeOf(name)
  return {
    name,
    op: STANDARD.includes(domain) ? op : `${domain}.${op}`,
    inputs,
    outputs,
    ...attributes,
    ...(own === undefined ? {} : { scope: own }),
  }
}

interface Attributes {
  readonly integers: Map<string, readonly number[]>
  readonly texts: Map<string, string>
  isNumber: boolean
  tensor?: OnnxTensor
  nested: boolean
}

function readAttribute(wire: Wire, { start, end }: Field, attributes: Attributes): void {
  let name = ''
  const numbers: number[] = []
  for (const part of wire.fields(start, end)) {
    if (part.number === 1) name = wire.text(part)
    else if (part.number === 3 || part.number === 8) numbers.push(...wire.integers(part))
    else if (part.number === 4 && part.wire === 2) attributes.texts.set(name, wire.text(part))
    else if (part.number === 5) attributes.tensor = readTensor(wire, part)
    else if (part.number === 6 || part.number === 11) attributes.nested = true
  }
  if (name === 'value_float') attributes.isNumber = true
  if (numbers.length > 0) attributes.integers.set(name, numbers)
}

/** The entry of a node's metadata in which PyTorch's newer exporter lists the modules around a node, outermost first. */
const SCOPES = 'pkg.torch.onnx.name_scopes'

function scopeIn(wire: Wire, { start, end, wire: kind }: Field): string | undefined {
  if (kind !== 2) return undefined
  let [key, value] = ['', '']
  for (const part of wire.fields(start, end)) {
    if (part.number === 1) key = wire.text(part)
    else if (part.number === 2 && key === SCOPES) value = wire.text(part)
  }
  // A list in Python's notation: ['', 'layer1', 'layer1.0', 'conv2d_1']. The last entry is the operator.
  const names = [...value.matchAll(/'([^']*)'/g)].map(([, name]) => name!)
  return names.length > 1 ? names.at(-2) : undefined
}

/** From a node's name by the older exporter: `/layer1/layer1.0/conv1/Conv` belongs to `layer1.0.conv1`. */
function scopeOf(name: string): string | undefined {
  const parts = name.split('/').filter((part) => part !== '')
  if (!name.startsWith('/') || parts.length < 2) return undefined
  const path: string[] = []
  for (const part of parts.slice(0, -1)) {
    // A container's children repeat its name.
    if (part.startsWith(`${path.at(-1)}.`)) path.pop()
    path.push(part)
  }
  return path.join('.')
}

function readTensor(wire: Wire, { start, end, wire: kind }: Field): OnnxTensor {
  if (kind !== 2) throw broken('a field has the wrong type')
  const dims: number[] = []
  let name = ''
  let type = 0
  let [listed, raw]: [Field[], Field | undefined] = [[], undefined]
  for (const field of wire.fields(start, end)) {
    if (field.number === 1) dims.push(...wire.integers(field))
    else if (field.number === 2) type = wire.integers(field)[0] ?? 0
    else if (field.number === 8) name = wire.text(field)
    else if (field.number === 7) listed = [...listed.slice(0, FEW), field]
    else if (field.number === 9) raw = field
    if (dims.length > MOST_AXES) throw broken(`tensor ${name} has more than ${MOST_AXES} axes`)
  }
  const size = dims.reduce((product, n) => product * n, 1)
  if (dims.some((n) => n < 0) || !Number.isSafeInteger(size)) throw broken(`tensor ${name} has an invalid shape`)
  let integers: number[] | undefined
  if (type === 7 && size <= FEW) {
    if (raw && raw.end - raw.start === size * 8) {
      const bytes = wire.bytes(raw, FEW * 8)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      integers = Array.from({ length: size }, (_, i) => Number(view.getBigInt64(i * 8, true)))
    } else {
      const found = listed.flatMap((field) => wire.integers(field))
      if (found.length === size) integers = found
    }
  }
  const float = FLOATS.includes(type)
  return {
    ...{ name, dims, float },
    ...(integers ? { integers } : {}),
    ...(float && raw && isUniform(wire, raw, size) ? { uniform: true } : {}),
  }
}

/** Bytes of a tensor up to which its elements are compared. */
const SMALL = 1 << 16

function isUniform(wire: Wire, raw: Field, size: number): boolean {
  const length = raw.end - raw.start
  if (size < 1 || length > SMALL || length % size !== 0) return false
  const bytes = wire.bytes(raw, SMALL)
  const each = length / size
  return bytes.every((byte, i) => byte === bytes[i % each])
}

function readValue(wire: Wire, field: Field): OnnxValue {
  let name = ''
  let dims: (number | undefined)[] | undefined
  for (const part of wire.fields(field.start, field.end)) {
    if (part.number === 1) name = wire.text(part)
    else if (part.number === 2)
      for (const type of messages(wire, part))
        if (type.number === 1)
          for (const shape of messages(wire, type))
            if (shape.number === 2) {
              dims = []
              for (const dim of messages(wire, shape)) {
                const value = [...wire.fields(dim.start, dim.end)].find(({ number }) => number === 1)
                const size = value ? wire.integers(value)[0] : undefined
                dims.push(size !== undefined && size > 0 ? size : undefined)
                if (dims.length > MOST_AXES) throw broken(`value ${name} has more than ${MOST_AXES} axes`)
              }
            }
  }
  return dims ? { name, dims } : { name }
}
