/** Which models, steps and outputs of two sides belong together. */
import { changesOf } from './facts.js'
import type { Facts, Renames, Side, SideOutput } from './sides/types.js'
import type { NamedChange } from './types.js'

/** Names of only one side that mean the same: models by content, steps by kind and order. */
export function renamesOf(a: Side, b: Side): Renames {
  const gone = [...a.models].filter(([name]) => !b.models.has(name))
  const come = new Map([...b.models].filter(([name]) => !a.models.has(name)))
  const models = new Map<string, string>()
  for (const [name, { same }] of gone) {
    const [found] = [...come].filter(([, model]) => model.same === same)
    if (!found) continue
    models.set(name, found[0])
    come.delete(found[0])
  }
  const steps = new Map<string, string>()
  const fresh = new Map([...b.steps].filter(([name]) => !a.steps.has(name)))
  for (const [name, { kind }] of a.steps) {
    if (b.steps.has(name)) continue
    const [found] = [...fresh].filter(([, step]) => step.kind === kind)
    if (!found) continue
    steps.set(name, found[0])
    fresh.delete(found[0])
  }
  return { models, steps }
}

/** Models or steps that come, go, change, or have new names. */
export function namedChanges(
  a: ReadonlyMap<string, { readonly facts: Facts }>,
  b: ReadonlyMap<string, { readonly facts: Facts }>,
  renames: ReadonlyMap<string, string>,
): NamedChange[] {
  const changes: NamedChange[] = []
  const earlier = new Map([...renames].map(([was, name]) => [name, was]))
  for (const [name, { facts }] of b) {
    const was = earlier.get(name)
    const before = a.get(was ?? name)
    if (!before) changes.push({ name, state: 'added', changes: changesOf(undefined, facts) })
    else {
      const found = changesOf(before.facts, facts)
      if (was !== undefined) changes.push({ name, state: 'renamed', was, changes: found })
      else if (found.length > 0) changes.push({ name, state: 'changed', changes: found })
    }
  }
  for (const [name, { facts }] of a)
    if (!b.has(name) && !renames.has(name)) changes.push({ name, state: 'removed', changes: changesOf(facts) })
  return changes
}

/** Outputs with the same path, and then those that are left over in their order. */
export function pairsOf(
  a: readonly SideOutput[],
  b: readonly SideOutput[],
): readonly (readonly [SideOutput | undefined, SideOutput | undefined])[] {
  const byPath = new Map(a.map((output) => [output.path, output]))
  const known = new Set(b.flatMap(({ path }) => (byPath.has(path) ? [path] : [])))
  const left = a.filter(({ path }) => !known.has(path))
  const pairs = b.map((output) => [byPath.get(output.path) ?? left.shift(), output] as const)
  return [...pairs, ...left.map((output) => [output, undefined] as const)]
}
