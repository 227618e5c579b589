/** Finds the model's state dict in a PyTorch file: the whole file, or a dictionary inside the one that a trainer saved. */
import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { rebuildsTensor } from './globals.js'
import { DAMAGED } from './hints.js'
import {
  describe,
  findWithin,
  isDict,
  isGlobal,
  isOpaque,
  isStorage,
  isTensor,
  type TensorRef,
  type Value,
} from './values.js'

/** Keys under which trainers save the model. If one of them holds tensors, the other keys are not the model. */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model', 'module']
/** Keys for the state of a training run. Tensors in there are not weights. */
export const NOT_WEIGHTS =
  /^(optim|opt_|lr_sched|sched|scaler|grad_scaler|amp$|amp_|rng_|callbacks|loops|hyper_parameters|args$|config$|_metadata$)/
/** Wrappers are rarely nested; anything deeper is other data. */
const MAX_DEPTH = 6
const MAX_SHOWN = 8

type Dict = Map<Value, Value>

export interface Candidate {
  /** Keys from the file's root. */
  readonly path: readonly string[]
  readonly dict: Dict
}

/**
 * The model's tensors by name, in the order of the file. Entries without any tensor (counters, extra state) are skipped. An
 * entry that holds tensors in an unsupported form is an error, so that no weight is lost silently.
 * Errors: `no-state-dict`, `ambiguous-state-dict`, `unreadable-tensor`, `bad-tensor`.
 */
export function modelTensors(root: Value, fileName: string): ReadonlyMap<string, TensorRef> {
  const { dict, path } = chooseDict(root, fileName)
  const inner = path.length > 0 ? ` in ${shown(path)}` : ''
  const tensors = new Map<string, TensorRef>()
  const refuse = hiddenRefuser(dict)
  for (const [key, value] of dict) {
    if (isTensor(value)) {
      if (typeof key !== 'string' || key === '__metadata__')
        throw fault(
          'bad-tensor',
          `${fileName}: a tensor${inner} whose name is ${typeof key === 'string' ? 'reserved' : describe(key)}`,
          DAMAGED,
        )
      tensors.set(key, value)
    } else if (!(typeof key === 'string' && NOT_WEIGHTS.test(key)))
      refuse(value, `${fileName}: entry ${typeof key === 'string' ? quote(key) : describe(key)}${inner}`)
  }
  return tensors
}

/** Refuses entries with hidden tensors. Entries can share objects, so each object is searched only once. */
export function hiddenRefuser(dict: Dict): (value: Value, whose: string) => void {
  const seen = { rebuilt: new Set<Value>([dict]), data: new Set<Value>([dict]) }
  return (value, whose) => {
    const rebuilt = findWithin(value, (part) => isOpaque(part) && rebuildsTensor(part.name), seen.rebuilt)?.value
    const data = findWithin(value, holdsData, seen.data)
    const culprit = rebuilt && isOpaque(rebuilt) ? rebuilt : data?.inside
    if (!culprit && !data) return
    throw fault(
      'unreadable-tensor',
      `${whose} ${culprit ? `depends on ${quote(culprit.name)}` : `holds tensors inside ${describe(value)}`}`,
      'only plain tensors can be merged: convert it in PyTorch, then save the state dict again',
    )
  }
}

const holdsData = (value: Value): boolean => isTensor(value) || isStorage(value)

/** Whether a value is a tensor of a state dict. */
type IsWeight = (value: Value) => boolean

/** The dictionary with the model's tensors. Errors: `no-state-dict`, `ambiguous-state-dict`. */
export function chooseDict(root: Value, fileName: string, isWeight: IsWeight = isTensor): Candidate {
  const found = isDict(root) ? findCandidates({ path: [], dict: root }, isWeight) : []
  // Dictionaries of counters only are not the model.
  const candidates =
    found.length > 1
      ? found.filter(({ dict }) => [...dict.values()].some((value) => isWeight(value) && hasAxes(value)))
      : found
  if (candidates.length === 1) return candidates[0]!
  if (candidates.length > 1)
    throw fault(
      'ambiguous-state-dict',
      `${fileName}: ${candidates.length} dictionaries hold tensors, and it is unclear which one is the model: ${list(candidates.map(({ path, dict }) => `${shown(path)} (${countTensors(dict, isWeight)})`))}`,
      'load the file in PyTorch and save the model by itself',
    )
  throw noStateDict(root, fileName)
}

/** All dictionaries that hold tensors directly. If a wrapper's key identifies the model, only that dictionary. */
function findCandidates(root: Candidate, isWeight: IsWeight): Candidate[] {
  const holding = holdingDicts(root.dict, isWeight)
  const found: Candidate[] = []
  const seen = new Set<Dict>()
  const open: Candidate[] = [root]
  for (let at = 0; at < open.length; at++) {
    const { path, dict } = open[at]!
    if (seen.has(dict)) continue
    seen.add(dict)
    const wrapped = WRAPPERS.filter((name) => dict.get(name) !== dict && holding.has(dict.get(name) as Dict))
    if (wrapped.length === 0 && countTensors(dict, isWeight) > 0) found.push({ path, dict })
    if (path.length >= MAX_DEPTH) continue
    // The siblings of a wrapped model are ignored, and so is the dictionary around it.
    for (const [key, inner] of wrapped.length > 0
      ? wrapped.map((name) => [name, dict.get(name) as Dict] as const)
      : inners(dict))
      open.push({ path: [...path, key], dict: inner })
  }
  return found
}

/** Dictionaries inside a dictionary that can be the model or contain it. */
function* inners(dict: Dict): Generator<readonly [string, Dict]> {
  for (const [key, value] of dict)
    if (typeof key === 'string' && isDict(value) && !NOT_WEIGHTS.test(key)) yield [key, value]
}

/** The dictionaries that contain named tensors at any depth. */
function holdingDicts(root: Dict, isWeight: IsWeight): ReadonlySet<Dict> {
  const parents = new Map<Dict, Dict[]>([[root, []]])
  // Iterating over a map also visits entries that are added meanwhile.
  for (const dict of parents.keys())
    for (const [, inner] of inners(dict)) {
      const known = parents.get(inner)
      if (known) known.push(dict)
      else parents.set(inner, [dict])
    }
  const holding = new Set([...parents.keys()].filter((dict) => countTensors(dict, isWeight) > 0))
  for (const dict of holding) for (const parent of parents.get(dict)!) holding.add(parent)
  return holding
}

/** Counters have no axes. */
const hasAxes = (value: Value): boolean => !(isTensor(value) && Array.isArray(value.shape) && value.shape.length === 0)

function countTensors(dict: Dict, isWeight: IsWeight): number {
  let count = 0
  for (const [key, value] of dict) if (typeof key === 'string' && isWeight(value)) count++
  return count
}

function noStateDict(root: Value, fileName: string): Fault {
  const hint = 'save the model with torch.save(model.state_dict(), …)'
  if (findWithin(root, (value) => isOpaque(value) && value.name.startsWith('__torch__')))
    return fault('no-state-dict', `${fileName}: a TorchScript program, not a state dict`, hint)
  // A whole Python object was saved: only its own code can read its tensors.
  const object = findWithin(root, holdsData)?.inside
  if (object)
    return fault(
      'no-state-dict',
      `${fileName}: the tensors are inside ${describe(object)}, not in a state dict`,
      /\.(DTensor|ShardedTensor)$/.test(object.name)
        ? 'the file holds the part of one rank: save whole tensors, or use torch.distributed.checkpoint.save'
        : hint,
    )
  if (isTensor(root))
    return fault('no-state-dict', `${fileName}: a single tensor without a name, not a state dict`, hint)
  const names = isDict(root) ? [...root.keys()].filter((key) => typeof key === 'string') : []
  const holds = isDict(root)
    ? names.length > 0
      ? `a dictionary of ${list(names.map(quote))}`
      : 'an empty dictionary'
    : isGlobal(root)
      ? 'a class'
      : describe(root)
  return fault('no-state-dict', `${fileName}: no dictionary in it maps names to tensors; it holds ${holds}`, hint)
}

const list = (items: readonly string[]): string =>
  items.length > MAX_SHOWN ? `${items.slice(0, MAX_SHOWN).join(', ')}, …` : items.join(', ')

const shown = (path: readonly string[]): string => (path.length === 0 ? 'the file itself' : quote(path.join('.')))
