// Writes test/fixtures/*/specs.json: the spec of each network there. Check with families.py that each is right.
import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs'
import { inferSpec } from '../../dist/src/rebasin/infer/index.js'
import { onnxSpec, readOnnx } from '../../dist/src/rebasin/onnx/index.js'
import { writeSpec } from '../../dist/src/rebasin/spec.js'

const folder = new URL('../../test/fixtures/onnx/', import.meta.url)
const networks = JSON.parse(readFileSync(new URL('shapes.json', folder), 'utf8'))
const specs = {}
for (const [name, tensors] of Object.entries(networks)) {
  const shapes = new Map(Object.entries(tensors).map(([tensor, shape]) => [tensor, { shape }]))
  const file = new URL(`${name}.onnx`, folder)
  const handle = openSync(file)
  const read = (offset, length) => {
    const bytes = new Uint8Array(length)
    return bytes.subarray(0, readSync(handle, bytes, 0, length, offset))
  }
  const { groups, tensors: rows } = writeSpec(onnxSpec(readOnnx({ size: statSync(file).size, read }), shapes), shapes)
  closeSync(handle)
  specs[name] = { groups, tensors: rows }
}
writeFileSync(new URL('specs.json', folder), `${JSON.stringify(specs, null, 1)}\n`)

// The same for test/fixtures/transformers, which architectures.py writes.
const transformers = new URL('../../test/fixtures/transformers/', import.meta.url)
const models = JSON.parse(readFileSync(new URL('models.json', transformers), 'utf8'))
const lines = Object.entries(models).map(([name, { tensors, config }]) => {
  const shapes = new Map(Object.entries(tensors).map(([tensor, shape]) => [tensor, { dtype: 'F32', shape }]))
  const { family, spec } = inferSpec({ tensors: shapes, config })
  return `${JSON.stringify(name)}: ${JSON.stringify({ family, ...writeSpec(spec, shapes) })}`
})
writeFileSync(new URL('specs.json', transformers), `{\n${lines.join(',\n')}\n}\n`)
