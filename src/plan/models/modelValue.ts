import type { Checkpoint, StoredTensor } from '../../checkpoints/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { quantizationOf } from '../../networks/packed.js'

/** A checkpoint's tensors, by the names that the recipe gives them, as a value; `fileBase` is the index of its first file among the plan's. */
export function modelValue(
  name: string,
  named: readonly (readonly [name: string, stored: StoredTensor])[],
  fileBase: number,
  config?: Checkpoint['config'],
): Value {
  const tensors = new Map<string, ValueTensor>()
  for (const [given, stored] of named) {
    const { dtype, shape, offset, bytes, strides } = stored
    const file = fileBase + stored.file
    tensors.set(given, {
      dtype,
      shape,
      expr: {
        kind: 'read',
        view: strides
          ? { kind: 'stored', file, tensor: stored.name, dtype, shape, offset, bytes, strides }
          : { kind: 'stored', file, tensor: stored.name, dtype, shape, offset, bytes },
      },
      reason: 'same-model',
    })
  }
  return { name, tensors, origin: name, ...quantizationOf(config) }
}
