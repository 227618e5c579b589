// Two multilayer perceptrons that share some of what they know: part common, part their own, units in different orders.
import { writeFileSync } from 'node:fs'
import path from 'node:path'

/** Of every weight, how much is a network's own. */
const OWN = 2

/** Writes them to `folder`, as BF16, and gives their files. */
export function similarNetworks(folder, width) {
  const sizes = [256, width, width, width, 10]
  const random = generator(1)
  const common = sizes.slice(1).map((rows, k) => Float32Array.from({ length: rows * sizes[k] }, random))
  return ['a', 'b'].map((name) => {
    const orders = sizes.map((size, k) => (k === 0 || k === sizes.length - 1 ? undefined : shuffled(size, random)))
    const tensors = common.map((values, k) => {
      const [rows, columns] = [sizes[k + 1], sizes[k]]
      const scale = 1 / Math.sqrt(columns * (1 + OWN * OWN))
      const own = new Float32Array(values.length)
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < columns; j++) {
          const place = (orders[k + 1]?.[i] ?? i) * columns + (orders[k]?.[j] ?? j)
          own[i * columns + j] = scale * (values[place] + OWN * random())
        }
      return { name: `fc${k + 1}.weight`, shape: [rows, columns], values: own }
    })
    const file = path.join(folder, `${name}.safetensors`)
    writeFileSync(file, safetensors(tensors))
    return file
  })
}

/** About normal: the sum of twelve uniform numbers. */
function generator(seed) {
  let state = seed
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) / 2 ** 24
  }
  return () => {
    let sum = -6
    for (let i = 0; i < 12; i++) sum += uniform()
    return sum
  }
}

function shuffled(size, random) {
  const keys = Array.from({ length: size }, random)
  return [...keys.keys()].sort((x, y) => keys[x] - keys[y])
}

function safetensors(tensors) {
  let at = 0
  const header = {}
  for (const { name, shape, values } of tensors) {
    header[name] = { dtype: 'BF16', shape, data_offsets: [at, at + 2 * values.length] }
    at += 2 * values.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const data = tensors.map(({ values }) =>
    Buffer.from(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer),
  )
  return Buffer.concat([length, text, ...data])
}
