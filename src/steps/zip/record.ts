import { digest, list, natural, number, object, oneOf, record, text } from '../../core/json/shape.js'
import type { UsesRecord } from '../types.js'
import type { ZippedGroup, ZipRecord } from './types.js'

const group = object<ZippedGroup>({
  sizes: list(natural),
  width: natural,
  treatment: oneOf<ZippedGroup['treatment']>({ zip: true, pair: true, keep: true }),
  shared: natural,
  similarity: number,
  units: digest,
})

export const readZipRecord = object<ZipRecord & UsesRecord>(
  {
    models: list(text),
    method: oneOf<ZipRecord['method']>({ zipit: true, pleas: true }),
    penalty: number,
    within: number,
    family: text,
    by: oneOf<ZipRecord['by']>({ weights: true, activations: true }),
    sweeps: natural,
    groups: record(group),
    fitted: list(text),
    heads: list(text),
    kept: record(text),
  },
  'kept',
)
