/** Compares two outputs: tensors, files, and what holds for all of them. */
import type { Json } from '../core/json/shape.js'
import { changesOf } from './facts.js'
import { grouping } from './groups.js'
import { jsonChanges } from './json.js'
import { LAST } from './sides/plan.js'
import type { Facts, Renames, SideOutput, SideTensor, SmallFile } from './sides/types.js'
import type { Change, FileChange, OutputDifference, Sameness, TensorGroup } from './types.js'

export interface Rules {
  readonly renames: Renames
  /** Whether marks are of the bytes themselves, and not of how they are made. */
  readonly recorded: boolean
}

const NOTHING: Renames = { models: new Map(), steps: new Map() }

/** An output that only one side has. */
export function lone(output: SideOutput, state: 'added' | 'removed'): OutputDifference {
  const group = grouping()
  for (const [name, { bytes }] of output.tensors) group.add(state, name, bytes, [])
  const tensors = { ...NONE, [state]: output.tensors.size }
  const size = state === 'added' ? { b: output.size } : { a: output.size }
  return { path: output.path, state, bytes: 'differ', size, tensors, groups: group.list(), files: [], changes: [] }
}

const NONE = { same: 0, changed: 0, added: 0, removed: 0, unknown: 0 }

export function compareOutputs(a: SideOutput, b: SideOutput, rules: Rules): OutputDifference {
  const { groups, counts } = compareTensors(a, b, rules)
  const explained = groups.some(
    ({ state, changes }) =>
      state === 'added' || state === 'removed' || changes.some(({ what }) => SHAPES.includes(what)),
  )
  const files = [...compareFiles(a, b, explained || (rules.recorded && counts.changed > 0)), ...compareSmall(a, b)]
  const changes = changesOf(withNames(a.facts, rules.renames), b.facts)
  const differ =
    counts.changed + counts.added + counts.removed > 0 ||
    files.some(({ state }) => state !== 'unknown') ||
    [...a.files].some(([name, mark]) => areOther(mark, b.files.get(name))) ||
    changes.some(({ what }) => DECISIVE.includes(what))
  const unknown =
    counts.unknown > 0 || files.length > 0 || [...a.files.values(), ...b.files.values()].includes(undefined)
  const bytes: Sameness = differ ? 'differ' : unknown ? 'unknown' : 'same'
  const moved = a.path !== b.path
  return {
    path: b.path,
    state: bytes === 'same' && !moved && changes.length === 0 ? 'same' : 'changed',
    ...(moved ? { was: a.path } : {}),
    ...{ bytes, size: { a: a.size, b: b.size }, tensors: counts, groups, files, changes },
  }
}

/** Whether two marks are known and differ. */
const areOther = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && a !== b

/** What changes the header of a file. */
const SHAPES = ['dtype', 'shape', 'quantized']
/** Facts of an output that decide which bytes there are. Others, such as commands, do not. */
const DECISIVE = ['layout', 'metadata', 'keep', 'single', 'checksums', 't', 'options']

function withNames(facts: Facts, { models, steps }: Renames): Facts {
  return new Map(
    [...facts].map(([key, fact]) => {
      if (key !== '["from"]' || !('value' in fact)) return [key, fact]
      const from = String(fact.value)
      return [key, { value: steps.get(from) ?? models.get(from) ?? from }]
    }),
  )
}

function compareTensors(a: SideOutput, b: SideOutput, rules: Rules) {
  const counts = { ...NONE }
  const groups = grouping()
  for (const [name, tensor] of b.tensors) {
    const before = a.tensors.get(name)
    const { state, changes } = before ? compareTensor(before, tensor, rules) : ADDED
    if (state === 'same' || state === 'remade') counts.same++
    else counts[state]++
    if (state !== 'same') groups.add(state, name, tensor.bytes, changes)
  }
  for (const [name, { bytes }] of a.tensors) {
    if (b.tensors.has(name)) continue
    counts.removed++
    groups.add('removed', name, bytes, [])
  }
  return { counts, groups: groups.list() }
}

interface Compared {
  readonly state: TensorGroup['state'] | 'same'
  readonly changes: readonly Change[]
}

const ADDED: Compared = { state: 'added', changes: [] }
const SAME: Compared = { state: 'same', changes: [] }

function compareTensor(a: SideTensor, b: SideTensor, { renames, recorded }: Rules): Compared {
  const equal = a.mark !== undefined && a.mark === b.mark
  if (equal && !recorded) return SAME
  const changes = relevant(changesOf(a.facts(renames), b.facts(NOTHING)))
  const made = changes.filter(({ what }) => what !== 'content')
  if (equal) return made.length > 0 ? { state: 'remade', changes: made } : SAME
  const known = a.mark !== undefined && b.mark !== undefined
  if (changes.length > 0) return { state: 'changed', changes }
  if (!known) return { state: 'unknown', changes: [] }
  return { state: 'changed', changes: [{ what: recorded ? 'bytes' : 'computation' }] }
}

/** Without changes that only follow from others. */
function relevant(changes: readonly Change[]): readonly Change[] {
  const last: readonly string[] = Object.values(LAST)
  const own = changes.filter(({ what }) => !last.includes(what))
  if (own.length === 0) return changes
  // A tensor from another layer has other content.
  const moved = new Set(own.flatMap(({ what, of }) => (what === 'layer' || what === 'tensor' ? [of] : [])))
  return own.filter(({ what, of }) => what !== 'content' || !moved.has(of))
}

/** Files with tensors. `explained`: that headers differ follows from the tensors. */
function compareFiles(a: SideOutput, b: SideOutput, explained: boolean): FileChange[] {
  const change = (name: string, state: FileChange['state'], changes: readonly Change[] = []): FileChange => ({
    ...{ name: name === '' ? b.path : name, kind: 'weights', state, changes },
  })
  const come = [...b.files.keys()].filter((name) => !a.files.has(name)).map((name) => change(name, 'added'))
  const gone = [...a.files.keys()].filter((name) => !b.files.has(name)).map((name) => change(name, 'removed'))
  const other = [...b.files].flatMap(([name, mark]) => {
    if (explained || !areOther(a.files.get(name), mark)) return []
    return [change(name, 'changed', [{ what: 'header' }])]
  })
  return [...come, ...gone, ...other]
}

function compareSmall(a: SideOutput, b: SideOutput): FileChange[] {
  const changes: FileChange[] = []
  for (const [name, file] of b.small) {
    const before = a.small.get(name)
    if (!before) changes.push({ name, kind: file.kind, state: 'added', changes: [] })
    else if (before.mark === undefined || file.mark === undefined)
      changes.push({ name, kind: file.kind, state: 'unknown', changes: [] })
    else if (before.mark !== file.mark)
      changes.push({ name, kind: file.kind, state: 'changed', changes: textChanges(before, file) })
  }
  for (const [name, { kind }] of a.small)
    if (!b.small.has(name)) changes.push({ name, kind, state: 'removed', changes: [] })
  return changes
}

/** The keys that differ in two JSON files; empty for other texts. */
function textChanges({ text: a }: SmallFile, { text: b }: SmallFile): Change[] {
  if (a === undefined || b === undefined) return []
  try {
    return jsonChanges(JSON.parse(a) as Json, JSON.parse(b) as Json)
  } catch {
    return []
  }
}
