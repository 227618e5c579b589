/** Plans whose tensors are stored in parts. */
import { layoutCheckpoint } from '../../src/checkpoints/layout.js'
import { planDigest } from '../../src/plan/digest.js'
import type { Plan } from '../../src/plan/types.js'

/** The same plan, but each tensor is cut along its first axis. */
export function cut(whole: Plan, rows: Readonly<Record<string, readonly number[]>>): Plan {
  const [output] = whole.outputs
  const specs = output!.tensors.flatMap(({ name, dtype, shape: [, ...rest] }) =>
    rows[name]!.map((count, part) => ({ name: `${name}.${part}`, dtype, shape: [count, ...rest] })),
  )
  const { files, indexes, tensors } = layoutCheckpoint(specs, { kind: 'folder', shardSize: 650_000, metadata: {} })
  const placed = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const outputs = [
    {
      ...output!,
      ...{ files, indexes },
      tensors: output!.tensors.map((tensor) => {
        const width = tensor.shape.slice(1).reduce((product, size) => product * size, 1)
        let from = 0
        const placements = rows[tensor.name]!.map((_, part) => {
          const stored = placed.get(`${tensor.name}.${part}`)!
          const placement = { ...stored, from, count: stored.shape[0]! * width }
          from += placement.count
          return placement
        })
        return { ...tensor, placements }
      }),
    },
  ]
  const { digest: _, ...rest } = { ...whole, outputs }
  return { ...rest, digest: planDigest(rest) }
}
