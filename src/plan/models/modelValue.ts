import type { Checkpoint, LogicalTensor } from '../../checkpoints/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { quantizationOf } from '../../networks/packed.js'
import { mapStored } from '../../views/stored.js'
import type { StoredView } from '../../views/types.js'

/** A checkpoint's tensors, by the names that the recipe gives them, as a value; `fileBase` is the index of its first file among the plan's. */
export function modelValue(
  name: string,
  named: readonly (readonly [name: string, tensor: LogicalTensor])[],
  fileBase: number,
  { config, quantized, refusal }: Pick<Checkpoint, 'config' | 'quantized' | 'refusal'> = {},
): Value {
  const tensors = new Map<string, ValueTensor>()
  for (const [given, { dtype, shape, view }] of named) {
    const inPlan = mapStored(view, (stored) => inFile(stored, fileBase + stored.file))
    tensors.set(given, { dtype, shape, expr: { kind: 'read', view: inPlan }, reason: 'same-model' })
  }
  if (quantized) return { name, tensors, origin: name }
  return { name, tensors, origin: name, ...quantizationOf(config), ...(refusal ? { refusal } : {}) }
}

/**
 * Written out: V8 gives each object that is spread and then frozen, as a plan is, a hidden class of its own, which takes more memory
 * than the object. A model may have a million tensors.
 */
function inFile(stored: StoredView, file: number): StoredView {
  if (file === stored.file) return stored
  const { kind, tensor, dtype, shape, offset, bytes, strides } = stored
  return strides
    ? { kind, file, tensor, dtype, shape, offset, bytes, strides }
    : { kind, file, tensor, dtype, shape, offset, bytes }
}
