/** The modules of a model that names in adapters mean. A name with `_` for dots is compared with the real names, never guessed. */
import type { Network } from '../types.js'
import type { ModuleTensors, Part } from './roles.js'

export type Target =
  | {
      readonly kind: 'one'
      /** The module's name in a layout of the model. */
      readonly module: string
      readonly shapeOf: (leaf: 'weight' | 'bias') => readonly number[] | undefined
    }
  | { readonly kind: 'several'; readonly modules: readonly string[] }

/** Parts of a pipeline by what stands before their tensors, in all layouts. The longest prefixes come first. */
const PREFIXES: readonly (readonly [string, readonly Part[]])[] = [
  ['model.diffusion_model.', ['network']],
  ['diffusion_model.', ['network']],
  ['unet.', ['network']],
  ['transformer.', ['network']],
  ['conditioner.embedders.0.transformer.', ['te1']],
  ['cond_stage_model.transformer.', ['te1']],
  ['text_encoders.clip_l.transformer.', ['te1']],
  ['text_encoders.clip_g.transformer.', ['te2']],
  ['text_encoders.t5xxl.transformer.', ['te2', 'te3']],
  ['text_encoder.', ['te1']],
  // The second encoder of Flux is T5, which sd-scripts calls the third one.
  ['text_encoder_2.', ['te2', 'te3']],
  ['text_encoder_3.', ['te3']],
]
/** A part of a pipeline alone has no prefix. */
const ALONE: readonly Part[] = ['network', 'te1', 'te2', 'te3']

type Names = ReadonlyMap<string, { readonly shape: readonly number[] }>

/** By part and own name, flat or with dots: the modules of a layout. */
type Index = ReadonlyMap<string, ReadonlySet<string>>

const keyOf = (part: Part, own: string, flat: boolean): string => `${part} ${flat ? '_' : '.'} ${own}`

function indexOf(names: Names): Index {
  const index = new Map<string, Set<string>>()
  const add = (part: Part, own: string, module: string): void => {
    for (const flat of [true, false]) {
      const key = keyOf(part, flat ? own.replaceAll('.', '_') : own, flat)
      const modules = index.get(key)
      if (modules) modules.add(module)
      else index.set(key, new Set([module]))
    }
  }
  for (const name of names.keys()) {
    const module = /^(.+)\.(?:weight|bias)$/.exec(name)?.[1]
    if (module === undefined) continue
    add('any', module, module)
    const known = PREFIXES.find(([prefix]) => module.startsWith(prefix))
    const own = known ? module.slice(known[0].length) : module
    for (const part of known?.[1] ?? ALONE) add(part, own, module)
  }
  return index
}

/** Finds the module of a model for one of an adapter: in the model's own layout first. Undefined if it has none. */
export function resolver(network: Network): (module: ModuleTensors) => Target | undefined {
  const layouts = network.layouts()[Symbol.iterator]()
  const known: { readonly names: Names; readonly index: Index }[] = []
  const layout = (at: number) => {
    if (at >= known.length) {
      const next = layouts.next()
      if (!next.done) known.push({ names: next.value, index: indexOf(next.value) })
    }
    return known[at]
  }
  /** Two names of one tensor are one module. */
  const apart = (modules: readonly string[]): string[] => {
    const own = new Map<string, string>()
    for (const module of modules) {
      const tensor = network.find(`${module}.weight`) ?? network.find(`${module}.bias`) ?? module
      if (!own.has(tensor)) own.set(tensor, module)
    }
    return [...own.values()]
  }
  return ({ part, own, flat }) => {
    for (let at = 0; ; at++) {
      const here = layout(at)
      if (!here) return undefined
      const modules = apart([...(here.index.get(keyOf(part, own, flat)) ?? [])])
      const [module] = modules
      if (module === undefined) continue
      if (modules.length > 1) return { kind: 'several', modules }
      return { kind: 'one', module, shapeOf: (leaf) => here.names.get(`${module}.${leaf}`)?.shape }
    }
  }
}
