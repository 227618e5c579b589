/** Numbers that differ from tensor to tensor: weights and parameters, by step. */
import type { Json } from '../../../../core/json/shape.js'
import type { Lineage, LineageMerge, LineageSource } from '../../../types.js'
import { rounded } from '../numbers.js'

export interface Quantity {
  readonly step: string
  readonly kind: 'weight' | 'parameter'
  /** A model or step for weights; else a parameter, with its model if there is one value for each. */
  readonly name: string
  /** By the output's tensor. */
  readonly values: Map<string, number>
}

/** Words and switches of a step that are the same, or not, in all of its tensors. */
export interface Setting {
  readonly step: string
  readonly method: string
  readonly name: string
  readonly values: Set<string>
}

export interface Quantities {
  readonly numbers: readonly Quantity[]
  readonly settings: readonly Setting[]
}

/** Quantities on a page. Those of the output's own step come first. */
const MOST = 64

class Collector {
  readonly numbers = new Map<string, Quantity>()
  readonly settings = new Map<string, Setting>()

  private number(step: string, kind: Quantity['kind'], name: string, tensor: string, value: number): void {
    const key = JSON.stringify([step, kind, name])
    const known = this.numbers.get(key)
    if (!known && this.numbers.size >= MOST) return
    const quantity = known ?? { step, kind, name, values: new Map<string, number>() }
    this.numbers.set(key, quantity)
    quantity.values.set(tensor, rounded(value))
  }

  private setting(step: string, method: string, name: string, value: Json): void {
    const key = JSON.stringify([step, method, name])
    const known = this.settings.get(key)
    if (!known && this.settings.size >= MOST) return
    const setting = known ?? { step, method, name, values: new Set<string>() }
    this.settings.set(key, setting)
    setting.values.add(typeof value === 'string' ? value : JSON.stringify(value))
  }

  /** Readers of lineages refuse deeper ones, so the walk ends. */
  walk(step: string, tensor: string, { method, parameters, sources, base }: LineageMerge): void {
    for (const [key, value] of Object.entries(parameters)) {
      const each = Array.isArray(value) ? (value as readonly Json[]) : undefined
      if (typeof value === 'number') this.number(step, 'parameter', key, tensor, value)
      else if (each?.every((one) => typeof one === 'number') && each.length === sources.length)
        for (const [index, { model }] of sources.entries())
          this.number(step, 'parameter', `${key} of ${model}`, tensor, each[index] as number)
      else this.setting(step, method, key, value)
    }
    const follow = (source: LineageSource): void => {
      if (source.weight !== null) this.number(step, 'weight', source.model, tensor, source.weight)
      if (source.of) this.walk(source.model, tensor, source.of)
    }
    for (const source of sources) follow(source)
    if (base) follow(base)
  }
}

export function quantitiesOf(lineage: Lineage): Quantities {
  const collector = new Collector()
  for (const [name, tensor] of Object.entries(lineage.tensors)) {
    collector.walk(lineage.output.from, name, tensor)
    for (const part of tensor.parts ?? []) collector.walk(part.model, name, part)
  }
  // Weights come first.
  const numbers = [...collector.numbers.values()].sort(
    (a, b) => Number(b.kind === 'weight') - Number(a.kind === 'weight'),
  )
  return { numbers, settings: [...collector.settings.values()] }
}

/** The one value of a quantity; undefined if it differs. */
export function constantOf({ values }: Quantity): number | undefined {
  const [first] = values.values()
  for (const value of values.values()) if (value !== first) return undefined
  return first
}
