import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { ValueTensor } from '../../expr/values.js'
import type { Reporter } from '../types.js'

/** An adapter's tensors by their purpose. Module names are those of the network. */
export interface AdapterTensors {
  readonly updates: readonly Update[]
  /** Added to biases, with the scale of the weight's update. */
  readonly biases: readonly { readonly module: string; readonly tensor: ValueTensor }[]
  /** By name in the network: tensors that replace the base's. */
  readonly replaced: ReadonlyMap<string, ValueTensor>
  /** Names of replaced tensors that are base weights of an updated module (`base_layer`), not trained copies. */
  readonly beneath: ReadonlySet<string>
}

/** The two factors of one module's update. */
export interface Update {
  readonly module: string
  readonly kind: 'weight' | 'embedding'
  readonly a: ValueTensor
  readonly b: ValueTensor
}

const FACTOR = /^(.+)\.lora_([AB])(?:\.([^.]+))?\.(weight|bias)$/
const EMBEDDING = /^(.+)\.lora_embedding_([AB])(?:\.([^.]+))?$/
const MAGNITUDE = /\.lora_magnitude_vector(\.|$)/
const SAVED = /\.(modules_to_save(\.[^.]+)?|base_layer)(?=\.[^.]+$)/
const BENEATH = /\.base_layer\.[^.]+$/
/** The original module beside a trained copy. */
const ORIGINAL = /\.original_module\./
const PREFIX = 'base_model.model.'

/** Whether a tensor of this name is a factor of an adapter. */
export const isFactor = (name: string): boolean => FACTOR.test(name) || EMBEDDING.test(name)

/** The network's name for a tensor that was saved whole. */
export const adapterTensorName = (stored: string): string =>
  (stored.startsWith(PREFIX) ? stored.slice(PREFIX.length) : stored).replace(SAVED, '')

interface Pair {
  a?: ValueTensor
  b?: ValueTensor
}

/**
 * Sorts an adapter's tensors by purpose; undefined if none is a factor.
 * Errors: `adapter-arithmetic` for DoRA magnitudes, `adapter-factor` for a factor without its partner, `bad-adapter` if
 * there are no factors or several adapters.
 */
export function adapterTensors(
  tensors: ReadonlyMap<string, ValueTensor>,
  reporter: Reporter,
): AdapterTensors | undefined {
  const pairs = new Map<string, { readonly module: string; readonly kind: Update['kind']; readonly pair: Pair }>()
  const biases: AdapterTensors['biases'][number][] = []
  const replaced = new Map<string, ValueTensor>()
  const beneath = new Set<string>()
  const adapters = new Set<string>()
  let magnitudes = 0
  const put = (module: string, kind: Update['kind'], part: 'A' | 'B', tensor: ValueTensor, stored: string): void => {
    const key = `${kind} ${module}`
    const pair = pairs.get(key)?.pair ?? {}
    pairs.set(key, { module, kind, pair })
    const side = part === 'A' ? 'a' : 'b'
    if (pair[side])
      reporter.error(
        'bad-adapter',
        `${quote(stored)} is stored twice, under two names`,
        'save the adapter again with PEFT',
      )
    pair[side] = tensor
  }
  for (const [stored, tensor] of tensors) {
    const name = stored.startsWith(PREFIX) ? stored.slice(PREFIX.length) : stored
    const [, module, part, adapter, what] = FACTOR.exec(name) ?? EMBEDDING.exec(name) ?? []
    if (adapter !== undefined) adapters.add(adapter)
    if (MAGNITUDE.test(name)) magnitudes++
    else if (ORIGINAL.test(name)) continue
    else if (module === undefined) {
      replaced.set(name.replace(SAVED, ''), tensor)
      if (BENEATH.test(name)) beneath.add(name.replace(SAVED, ''))
    } else if (what === 'bias' && part === 'B') biases.push({ module, tensor })
    else put(module, what === undefined ? 'embedding' : 'weight', part as 'A' | 'B', tensor, stored)
  }
  if (magnitudes > 0)
    reporter.error(
      'adapter-arithmetic',
      `the adapter has ${plural(magnitudes, 'DoRA magnitude vector')}, which terge does not support`,
      'merge the adapter into its base with PEFT, and use the result',
    )
  if (adapters.size > 1)
    reporter.error(
      'bad-adapter',
      `it has the tensors of several adapters: ${[...adapters].sort().map(quote).join(', ')}`,
      'save each adapter in a separate folder',
    )
  if (pairs.size === 0) {
    reporter.error(
      'bad-adapter',
      `it has ${plural(tensors.size, 'tensor')} but no LoRA factors, such as …q_proj.lora_A.weight`,
      'use an adapter saved by PEFT',
    )
    return undefined
  }
  const updates: Update[] = []
  for (const { module, kind, pair } of pairs.values()) {
    const { a, b } = pair
    if (a && b) updates.push({ module, kind, a, b })
    else
      reporter.error(
        'adapter-factor',
        `${module} has factor ${a ? 'A' : 'B'} but not factor ${a ? 'B' : 'A'}`,
        'the adapter is incomplete: download it again',
      )
  }
  return { updates, biases, replaced, beneath }
}
