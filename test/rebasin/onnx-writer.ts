/** Writes small ONNX files: the messages of onnx.proto that exports are made of. */
type Attribute = number | readonly number[]

export interface NodeText {
  readonly op: string
  readonly inputs: readonly string[]
  readonly output: string
  readonly attributes?: Readonly<Record<string, Attribute>>
  readonly name?: string
}
export interface TensorText {
  readonly dims: readonly number[]
  readonly integers?: readonly number[]
}
export interface GraphText {
  readonly nodes: readonly NodeText[]
  readonly initializers: Readonly<Record<string, TensorText>>
  readonly input: readonly (number | string)[]
  readonly output: string
}

const varint = (value: number): number[] => {
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  do {
    bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return bytes
}
const int = (field: number, value: number): number[] => [...varint(field * 8), ...varint(value)]
const bytes = (field: number, content: ArrayLike<number>): number[] => [
  ...varint(field * 8 + 2),
  ...varint(content.length),
  ...Array.from(content),
]
const text = (field: number, value: string): number[] => bytes(field, Buffer.from(value))

const tensor = (name: string, { dims, integers }: TensorText): number[] => {
  const size = dims.reduce((product, n) => product * n, 1)
  const raw = integers ? Buffer.from(BigInt64Array.from(integers, BigInt).buffer) : Buffer.alloc(size * 4, 255)
  return [...bytes(1, dims.flatMap(varint)), ...int(2, integers ? 7 : 1), ...text(8, name), ...bytes(9, raw)]
}

const attribute = (name: string, value: Attribute): number[] =>
  typeof value === 'number'
    ? [...text(1, name), ...int(3, value), ...int(20, 2)]
    : [...text(1, name), ...value.flatMap((n) => int(8, n)), ...int(20, 7)]

const value = (name: string, dims: readonly (number | string)[]): number[] => {
  const shape = dims.flatMap((dim) => bytes(1, typeof dim === 'number' ? int(1, dim) : text(2, dim)))
  return [...text(1, name), ...bytes(2, bytes(1, [...int(1, 1), ...bytes(2, shape)]))]
}

export function writeOnnx({ nodes, initializers, input, output }: GraphText): Uint8Array {
  const graph = [
    ...nodes.flatMap(({ op, inputs, output, attributes, name }) =>
      bytes(1, [
        ...inputs.flatMap((each) => text(1, each)),
        ...text(2, output),
        ...text(3, name ?? ''),
        ...text(4, op),
        ...Object.entries(attributes ?? {}).flatMap(([key, each]) => bytes(5, attribute(key, each))),
      ]),
    ),
    ...text(2, 'main_graph'),
    ...Object.entries(initializers).flatMap(([name, each]) => bytes(5, tensor(name, each))),
    ...bytes(11, value('input', input)),
    ...bytes(12, value(output, [])),
  ]
  return Uint8Array.from([...int(1, 8), ...text(2, 'pytorch'), ...bytes(7, graph), ...bytes(8, int(2, 17))])
}

export const sourceBytes = (data: Uint8Array) => ({
  size: data.length,
  read: (offset: number, length: number) => data.subarray(offset, offset + length),
})
