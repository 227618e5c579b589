/** Models in several layouts: opened from files, converted, and read by the readers that workers use. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../src/checkpoints/open.js'
import type { Checkpoint, LogicalTensor } from '../../src/checkpoints/types.js'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import { elements } from '../../src/core/dtypes.js'
import { bytesOf } from '../../src/encodings/index.js'
import { locate, scratchOf } from '../../src/execute/worker/read/index.js'
import { faults } from '../../src/language/faults.js'
import { FAMILIES, type Layout, layoutName } from '../../src/layouts/index.js'
import type { Tensors } from '../../src/layouts/types.js'
import { type LaidModels, readLayouts } from '../../src/plan/layouts/read.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { lower } from '../../src/views/lower.js'
import type { View } from '../../src/views/types.js'
import { BAND, ROOM, workerOn } from '../views/worker.js'
import type { RawTensor } from './files.js'

/** Opens a folder or file; `shown` in messages. */
export const opened = (file: string): Promise<Checkpoint> => openCheckpoint(path.basename(file), file)

/** The layout of that name. */
export function layoutOf(name: string): Layout {
  for (const family of FAMILIES)
    for (const form of family.forms) if (layoutName({ family, form }) === name) return { family, form }
  throw new Error(`there is no layout ${name}`)
}

const ROOM_OF_SLOT = 4096

/** Reads tensors of a model, as stored: no arithmetic. */
export async function readTensors(model: Checkpoint, tensors: Tensors): Promise<Record<string, RawTensor>> {
  const files = model.files.map((file) => new Uint8Array(readFileSync(file.path)))
  const { memory, slot, context } = await workerOn(() => files, 32, 4)
  const read = (view: View, count: number, size: number): Uint8Array => {
    const source = lower(view, { raw: false, words: true, mixed: 'F32', maps: () => [] })
    const bytes = new Uint8Array(count * size)
    const most = ROOM_OF_SLOT / size
    for (let first = 0; first < count; first += most) {
      const n = Math.min(most, count - first)
      const at = locate(source, slot, context('map', ROOM_OF_SLOT), first, n, ROOM + scratchOf(source, BAND))
      bytes.set(new Uint8Array(memory.buffer, at, n * size), first * size)
    }
    return bytes
  }
  return Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, view }]) => [
      name,
      { dtype, shape: [...shape], bytes: read(view, elements(shape), bytesOf(dtype)) },
    ]),
  )
}

/** Asserts that two models hold the same tensors: names, dtypes, shapes and bytes. */
export function sameTensors(
  got: Readonly<Record<string, RawTensor>>,
  wanted: Readonly<Record<string, RawTensor>>,
  what: string,
): void {
  assert.equal(Object.keys(got).sort(), Object.keys(wanted).sort(), `${what}: names`)
  for (const [name, { dtype, shape, bytes }] of Object.entries(wanted)) {
    const tensor = got[name]!
    assert.equal([tensor.dtype, tensor.shape], [dtype, shape], `${what}: ${name}`)
    assert.is(Buffer.compare(tensor.bytes, bytes), 0, `${what}: bytes of ${name}`)
  }
}

/** What planning says of the layouts of models that were opened, or changed afterwards. `recipe`: everything after the models. */
export function laid(
  models: Readonly<Record<string, Checkpoint>>,
  recipe: string,
  layouts: Readonly<Record<string, string>> = {},
  companions: Readonly<Record<string, Checkpoint>> = {},
): { readonly said: readonly string[]; readonly models: LaidModels } {
  const written = Object.keys(models).map((name) => `${name}: {path: ${name}, layout: ${layouts[name] ?? '[]'}}`)
  const text = `terge: 1\nmodels: {${written.join(', ')}}\n${recipe}\n`.replaceAll(', layout: []', '')
  const loaded = loadRecipe('r.yml', { text })
  assert.ok(loaded.recipe, loaded.diagnostics.map(formatDiagnostic).join('\n'))
  const found = faults()
  const read = readLayouts(loaded.recipe, loaded.recipe, new Map(Object.entries({ ...models, ...companions })), found)
  return { said: found.list.map(formatDiagnostic), models: read }
}

/** A model with other tensors: `edit` changes a copy. */
export function edited(model: Checkpoint, edit: (tensors: Map<string, LogicalTensor>) => void): Checkpoint {
  const tensors = new Map(model.tensors)
  edit(tensors)
  return { ...model, tensors }
}

/** The same model without a configuration. */
export const bare = ({ config: _, configText: __, ...model }: Checkpoint): Checkpoint => model
