/**
 * Networks that are known by how they compute. An architecture repeats the forward pass of its network, with depths and
 * widths from names and shapes. A network is of this architecture only if the pass reads every tensor once and all sizes
 * agree.
 */
import { specOfWalk } from '../axes/specText.js'
import type { Shapes, Spec } from '../spec.js'
import type { Architecture } from './architecture.js'
import { ARCHITECTURES } from './architectures/index.js'
import { type Config, follow, Misfit } from './network.js'

export interface ForwardNetwork {
  readonly name: string
  readonly spec: Spec
}

/** The known network, if the tensors are those of one. */
export function forwardNetwork(shapes: Shapes, config: Config): ForwardNetwork | undefined {
  for (const architecture of ARCHITECTURES) {
    const spec = specFrom(architecture, shapes, config)
    if (spec) return { name: architecture.name, spec }
  }
  return undefined
}

function specFrom({ sign, forward }: Architecture, shapes: Shapes, config: Config): Spec | undefined {
  const found = [...shapes.keys()].find((name) => sign.test(name))
  if (found === undefined) return undefined
  const prefix = found.slice(0, found.search(sign))
  if (prefix !== '' && !prefix.endsWith('.')) return undefined
  try {
    const walked = follow(shapes, prefix, config, forward)
    if (walked.unread.length > 0 || [...shapes.keys()].some((name) => !name.startsWith(prefix))) return undefined
    return specOfWalk(walked, shapes, { unread: new Map(), kept: [] })
  } catch (error) {
    if (error instanceof Misfit) return undefined
    throw error
  }
}
