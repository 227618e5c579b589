// What share of 360 digits does a checkpoint read right, and how sure is it?  node evaluate.mjs CHECKPOINT.safetensors...
// A multilayer perceptron in plain JavaScript: layers fcN.weight [out, in] and fcN.bias [out], ReLU between them.
import { readFileSync } from 'node:fs'

const TYPES = { F32: Float32Array, F64: Float64Array, U8: Uint8Array }

/** The tensors of a safetensors file: eight bytes of header length, the header as JSON, then the data. */
function read(file) {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE())
  const { __metadata__, ...tensors } = JSON.parse(bytes.subarray(8, start).toString())
  const load = ({ dtype, shape, data_offsets: [begin, end] }) => {
    // Copied: data need not lie where a typed array may begin.
    const data = bytes.buffer.slice(bytes.byteOffset + start + begin, bytes.byteOffset + start + end)
    return { shape, data: new TYPES[dtype](data) }
  }
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, load(tensor)]))
}

/** The scores of the ten digits for 64 pixels. */
function forward(model, pixels) {
  let x = pixels
  for (let n = 1; model[`fc${n}.weight`]; n++) {
    const {
      shape: [rows, columns],
      data,
    } = model[`fc${n}.weight`]
    const last = !model[`fc${n + 1}.weight`]
    const y = new Float64Array(rows)
    for (let row = 0; row < rows; row++) {
      let sum = model[`fc${n}.bias`].data[row]
      for (let column = 0; column < columns; column++) sum += data[row * columns + column] * x[column]
      y[row] = last ? sum : Math.max(0, sum)
    }
    x = y
  }
  return x
}

/** The share of the test digits whose highest score is the right one, and the mean cross-entropy. */
function measure(model, { images, labels }) {
  const count = labels.data.length
  let [right, loss] = [0, 0]
  for (const [n, label] of labels.data.entries()) {
    const pixels = Float64Array.from(images.data.subarray(64 * n, 64 * n + 64), (pixel) => pixel / 16)
    const scores = forward(model, pixels)
    const top = Math.max(...scores)
    if (scores.indexOf(top) === label) right++
    loss += top - scores[label] + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - top), 0))
  }
  return { accuracy: right / count, loss: Number((loss / count).toFixed(6)) }
}

const test = read(new URL('test.safetensors', import.meta.url))
const results = process.argv.slice(2).map((file) => ({ file, ...measure(read(file), test) }))
// One checkpoint: an object of numbers, for programs. Several: lines to compare.
if (results.length === 1) {
  const { accuracy, loss } = results[0]
  console.log(JSON.stringify({ accuracy, loss }))
} else for (const { file, accuracy } of results) console.log(`${accuracy.toFixed(3)}  ${file}`)
