/** Which entries of a distributed checkpoint are the model, and under which names. */
import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { tensorRef } from '../pytorch/globals.js'
import { chooseDict } from '../pytorch/stateDict.js'
import { isDict, isTensor, type TensorRef, type Value } from '../pytorch/values.js'
import type { FolderHeader } from '../types.js'
import { type Entry, SAVE_AGAIN } from './metadata.js'

type Dict = Map<Value, Value>

export interface ModelEntries {
  /** Tensors by the name that they have in the model's own state dict. */
  readonly tensors: ReadonlyMap<string, Entry>
  readonly skipped: FolderHeader['skipped']
}

/**
 * Builds the nested state dict that was saved and finds the model in it, as in a file of `torch.save`: a dictionary in `model` beside
 * `optim` and other values, or the whole. Errors: those of `chooseDict`, `bad-chunks`, `unsupported-format`.
 */
export function modelEntries(entries: readonly Entry[], shown: string): ModelEntries {
  const root: Dict = new Map()
  const byRef = new Map<TensorRef, Entry>()
  for (const entry of entries) {
    const leaf = entry.tensor ? tensorRef({ shape: [...entry.tensor.shape] }) : null
    if (leaf) byRef.set(leaf, entry)
    put(root, entry, leaf, shown)
  }
  const { dict, path } = chooseDict(root, shown)
  const tensors = new Map<string, Entry>()
  for (const [key, value] of dict) if (isTensor(value)) tensors.set(key as string, byRef.get(value)!)
  refuseMegatron(tensors.keys(), shown)
  const chosen = new Set(tensors.values())
  return {
    tensors,
    skipped: skippedBy(
      entries.filter((entry) => !chosen.has(entry)),
      path,
    ),
  }
}

/** Names of Megatron Core: all layers are in one tensor, or each has fused weights in Megatron's own order. */
const MEGATRON =
  /(^|\.)(decoder|encoder)\.layers\.(\d+\.)?(self_attention\.linear_(qkv|proj)|mlp\.(linear_fc[12]|experts\.))/

/** Error `unsupported-format`: merges with other models would find none of these tensors. */
function refuseMegatron(names: Iterable<string>, shown: string): void {
  for (const name of names)
    if (MEGATRON.test(name))
      throw fault(
        'unsupported-format',
        `${shown}: tensor ${quote(name)} is named and stored as in Megatron Core, which terge does not read`,
        'convert the checkpoint first, such as with Megatron Bridge or python -m verl.model_merger merge --backend megatron',
      )
}

function put(root: Dict, { name, path }: Entry, leaf: Value, shown: string): void {
  const bad = (): Fault =>
    fault('bad-chunks', `${shown}: ${quote(name)} has the same path in the state dict as another entry`, SAVE_AGAIN)
  let dict = root
  for (const key of path.slice(0, -1)) {
    const inner = dict.get(key) ?? new Map<Value, Value>()
    if (!isDict(inner)) throw bad()
    dict.set(key, inner)
    dict = inner
  }
  const last = path.at(-1)!
  if (dict.has(last)) throw bad()
  dict.set(last, leaf)
}

/** What is not the model, by the first key outside of the model's own path. */
function skippedBy(entries: readonly Entry[], chosen: readonly string[]): FolderHeader['skipped'] {
  const counts = new Map<string, number>()
  for (const { path } of entries) {
    let depth = 0
    while (depth < path.length - 1 && path[depth] === chosen[depth]) depth++
    const name = path.slice(0, depth + 1).join('.')
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return [...counts].map(([name, count]) => ({ name, entries: count }))
}
