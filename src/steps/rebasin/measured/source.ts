import type { AnalysisModel } from '../../../expr/types.js'
import type { TensorSource } from '../../../rebasin/weights.js'
import type { TensorReader } from '../../analysis.js'

/** The tensors of a model, as matching reads them. */
export function sourceOf({ tensors, config }: AnalysisModel, reader: TensorReader): TensorSource {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  return {
    tensors: byName,
    read: (name) => reader.read(byName.get(name)!),
    readRows: (name, rows, into) => reader.readRows(byName.get(name)!, rows, into),
    ...(config ? { config } : {}),
  }
}
