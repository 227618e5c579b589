/** The names of tensors in adapters of PEFT: a module, what the tensor is of it, and often the adapter's name. */
import type { ValueTensor } from '../../expr/values.js'

/** What follows a module's name in the names of its updates. */
const ROLES = [
  'lora_A',
  'lora_B',
  'lora_E',
  'lora_embedding_A',
  'lora_embedding_B',
  'lora_magnitude_vector',
  'hada_w1_a',
  'hada_w1_b',
  'hada_w2_a',
  'hada_w2_b',
  'hada_t1',
  'hada_t2',
  'lokr_w1',
  'lokr_w1_a',
  'lokr_w1_b',
  'lokr_w2',
  'lokr_w2_a',
  'lokr_w2_b',
  'lokr_t2',
  'ia3_l',
  'hra_u',
  'oft_R',
  'vera_lambda_b',
  'vera_lambda_d',
  'vera_A',
  'vera_B',
  'trainable_tokens_delta',
] as const

export type Role = (typeof ROLES)[number]

const NAMED = new RegExp(
  `^(?:(.+)\\.)?(${[...ROLES].sort((a, b) => b.length - a.length).join('|')})(?:\\.(?!(?:weight|bias)$)([^.]+))?(?:\\.(weight|bias))?$`,
)
const KNOWN: ReadonlySet<string> = new Set(ROLES)
const FIRST: ReadonlySet<number> = new Set(ROLES.map((role) => role.charCodeAt(0)))
/** A role is one of the last parts of a name. */
const MOST_PARTS = 3
const SAVED = /\.(modules_to_save(\.[^.]+)?|base_layer|token_adapter\.base_layer|original_module)(?=\.[^.]+$)/
const BENEATH = /\.base_layer\.[^.]+$/
/** The original module beside a trained copy. */
const ORIGINAL = /\.original_module\.|\.trainable_tokens_original(\.|$)/
/** The module of rows of tokens is beside the embedding's own. */
const TOKENS = /\.token_adapter$/
/** A module with several updates: the updates of its other parameters are inside of it. */
const NESTED = /(\.base_layer)+$/
const PREFIX = 'base_model.model.'

const network = (stored: string): string => (stored.startsWith(PREFIX) ? stored.slice(PREFIX.length) : stored)

/** A tensor of an update. */
export interface Named {
  readonly module: string
  readonly role: Role
  readonly adapter: string | undefined
  readonly isBias: boolean
  /** How many updates of the same module are around it. */
  readonly depth: number
}

/** Whether a role is where `NAMED` finds it. Models have tens of thousands of names, and the expression is slow. */
function hasRole(stored: string): boolean {
  for (let part = 0, end = stored.length; part < MOST_PARTS && end > 0; part++) {
    const begin = stored.lastIndexOf('.', end - 1) + 1
    if (FIRST.has(stored.charCodeAt(begin)) && KNOWN.has(stored.slice(begin, end))) return true
    end = begin - 1
  }
  return false
}

export function parse(stored: string): Named | undefined {
  if (!hasRole(stored)) return undefined
  const match = NAMED.exec(network(stored))
  if (!match) return undefined
  const [, owner = '', role, adapter, leaf] = match
  const inner = NESTED.exec(owner)?.[0] ?? ''
  const module = owner.slice(0, owner.length - inner.length).replace(TOKENS, '')
  const depth = inner.length / '.base_layer'.length
  return { module, role: role as Role, adapter, isBias: leaf === 'bias', depth }
}

/** The modules with updates among these tensors. All modules of VeRA share two matrices, which are of none. */
export function changedModules(names: Iterable<string>): ReadonlySet<string> {
  const modules = new Set<string>()
  for (const name of names) {
    const found = parse(name)
    if (found && found.role !== 'vera_A' && found.role !== 'vera_B') modules.add(found.module)
  }
  return modules
}

/** Whether a tensor of this name belongs to an update of an adapter. */
export const isFactor = (stored: string): boolean => parse(stored) !== undefined

/** The network's name for a tensor that was saved whole. */
export const savedName = (stored: string): string => network(stored).replace(SAVED, '')

/** The updates of one module's parameter. */
export interface ModuleParts {
  readonly module: string
  readonly depth: number
  readonly roles: ReadonlyMap<Role, ValueTensor>
  /** The bias of a role's layer. */
  readonly biases: ReadonlyMap<Role, ValueTensor>
}

/** An adapter's tensors by their purpose. */
export interface Sorted {
  readonly modules: readonly ModuleParts[]
  /** By name in the network: tensors that were saved whole. */
  readonly replaced: ReadonlyMap<string, ValueTensor>
  /** Names of replaced tensors that are base weights of an updated module (`base_layer`), not trained copies. */
  readonly beneath: ReadonlySet<string>
  /** The names of the adapters that are in the file. */
  readonly adapters: readonly string[]
  /** Names of tensors that are there twice. */
  readonly twice: readonly string[]
}

interface Growing {
  readonly module: string
  readonly depth: number
  readonly roles: Map<Role, ValueTensor>
  readonly biases: Map<Role, ValueTensor>
}

/** Sorts an adapter's tensors by their names. */
export function sortTensors(tensors: ReadonlyMap<string, ValueTensor>): Sorted {
  const modules = new Map<string, Growing>()
  const replaced = new Map<string, ValueTensor>()
  const beneath = new Set<string>()
  const adapters = new Set<string>()
  const twice: string[] = []
  for (const [stored, tensor] of tensors) {
    const found = parse(stored)
    if (!found) {
      if (ORIGINAL.test(network(stored))) continue
      const name = savedName(stored)
      replaced.set(name, tensor)
      if (BENEATH.test(network(stored))) beneath.add(name)
      continue
    }
    const { module, role, adapter, isBias, depth } = found
    if (adapter !== undefined) adapters.add(adapter)
    const key = `${depth} ${module}`
    const own = modules.get(key) ?? { module, depth, roles: new Map(), biases: new Map() }
    modules.set(key, own)
    const parts = isBias ? own.biases : own.roles
    if (parts.has(role)) twice.push(stored)
    parts.set(role, tensor)
  }
  return { modules: [...modules.values()], replaced, beneath, adapters: [...adapters].sort(), twice }
}
