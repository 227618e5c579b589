/** Names under the prefix of a wrapper, such as that of `DistributedDataParallel`: layouts are about the names inside of it. */
import type { Checkpoint } from '../../checkpoints/types.js'

const WRAPPER = /^(?:(?:module|_orig_mod|_fsdp_wrapped_module|_forward_module)\.)+/

interface Unwrapped {
  /** Empty if not all names have one. */
  readonly wrapper: string
  readonly model: Checkpoint
}

export function unwrapped(model: Checkpoint): Unwrapped {
  const [first = ''] = model.tensors.keys()
  const wrapper = WRAPPER.exec(first)?.[0] ?? ''
  if (wrapper === '' || ![...model.tensors.keys()].every((name) => name.startsWith(wrapper)))
    return { wrapper: '', model }
  return { wrapper, model: renamed(model, (name) => name.slice(wrapper.length)) }
}

/** The same tensors under the prefix again. */
export const wrapped = (wrapper: string, model: Checkpoint): Checkpoint =>
  wrapper === '' ? model : renamed(model, (name) => `${wrapper}${name}`)

const renamed = (model: Checkpoint, to: (name: string) => string): Checkpoint => ({
  ...model,
  tensors: new Map([...model.tensors].map(([name, tensor]) => [to(name), { ...tensor, name: to(name) }])),
})
