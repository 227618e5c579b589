/** Random forms: a tensor that is taken apart and put together again is the same tensor, read by the readers of workers. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { convertTensors } from '../../src/layouts/convert.js'
import type { Form, LayoutRule } from '../../src/layouts/types.js'
import { generator } from '../../src/rebasin/order.js'
import { bf16, inFolder, numbers, type RawTensor, safetensors } from '../support/files.js'
import { opened, readTensors, sameTensors } from '../support/layouts.js'

type Shape = readonly number[]

/** A random form of a tensor, with a capture per stack, because all stacks over one capture are equally high, and the shapes of its atoms. */
function randomForm(seed: number): { readonly form: Form; readonly shape: Shape } {
  const random = generator(seed, 5)
  const below = (n: number): number => Math.floor(random() * n)
  let [atoms, stacks] = [0, 0]
  const form = (shape: Shape, depth: number, suffix: string): Form => {
    const axis = below(shape.length)
    const kind = depth === 0 ? 0 : below(6)
    const atom = `{prefix}part${String.fromCharCode(97 + (atoms++ % 26))}${'x'.repeat(Math.floor(atoms / 26))}${suffix}`
    if (kind === 1 && shape[axis]! % 6 === 0) {
      const groups = [1, 2, 3][below(3)]!
      const each = shape[axis]! / groups
      const sizes = each > 2 ? [1, each - 2, 1] : [each]
      const parts = sizes.map((size) => form(shape.with(axis, size * groups), depth - 1, suffix))
      return { concat: parts, axis: random() < 0.5 ? axis : axis - shape.length, groups, sizes }
    }
    if (kind === 2 && shape.length > 1 && suffix === '') return stackOf(shape, depth)
    if (kind === 3 && shape.length > 1)
      return { transpose: form([...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!], depth - 1, suffix) }
    if (kind === 4 && shape.length > 2 && shape.at(-1) === 1 && shape.at(-2) === 1)
      return { expand: form(shape.slice(0, -2), depth - 1, suffix), ones: 2 }
    if (kind === 5 && shape[axis]! % 2 === 0) return { swapHalves: form(shape, depth - 1, suffix), axis }
    return atom
  }
  const stackOf = (shape: Shape, depth: number): Form => {
    const over = `e${seed}s${stacks++}`
    return { stack: form(shape.slice(1), depth - 1, `.{${over}}`), over }
  }
  const shapes: readonly Shape[] = [[6], [6, 12], [2, 6, 4], [12, 6, 1, 1], [3, 6, 6]]
  const shape = shapes[below(shapes.length)]!
  return { form: form(shape, 4, ''), shape }
}

test('random forms, there and back', async () =>
  inFolder(async (folder) => {
    const kinds = new Set<string>()
    const stored: Record<string, RawTensor> = {}
    const rules: LayoutRule[] = []
    for (let seed = 0; seed < 300; seed++) {
      const { form, shape } = randomForm(seed)
      const name = `t${seed}`
      rules.push({ tensor: `{prefix}${name}`, is: JSON.parse(JSON.stringify(form).replaceAll('}part', `}p${seed}q`)) })
      stored[`net.${name}`] = bf16(
        shape,
        numbers(
          shape.reduce((product, size) => product * size, 1),
          seed,
        ),
      )
      for (const kind of ['concat', 'stack', 'transpose', 'expand', 'swapHalves'])
        if (JSON.stringify(form).includes(`"${kind}"`)) kinds.add(kind)
    }
    assert.is(kinds.size, 5)
    writeFileSync(path.join(folder, 'm.safetensors'), safetensors(stored))
    const model = await opened(path.join(folder, 'm.safetensors'))
    const facts = { config: undefined, shapes: model.tensors }
    const apart = convertTensors(model.tensors, { rules }, { rules: [] }, facts)
    assert.equal(apart.problems, [])
    assert.ok(apart.tensors.size > model.tensors.size)
    const back = convertTensors(apart.tensors, { rules: [] }, { rules }, { config: undefined, shapes: apart.tensors })
    assert.equal(back.problems, [])
    sameTensors(await readTensors(model, back.tensors), stored, 'back')
    // The same through a file that has the parts.
    writeFileSync(path.join(folder, 'parts.safetensors'), safetensors(await readTensors(model, apart.tensors)))
    const parts = await opened(path.join(folder, 'parts.safetensors'))
    const again = convertTensors(parts.tensors, { rules: [] }, { rules }, { config: undefined, shapes: parts.tensors })
    assert.equal(again.problems, [])
    sameTensors(await readTensors(parts, again.tensors), stored, 'from parts')
  }))

test.run()
