/** Facts of how a tensor is made. */
import type { Json } from '../core/json/shape.js'
import type { LineageMerge, LineageSource, LineageTensor } from '../lineage/types.js'
import { label } from './facts.js'
import { layerOf, patternOf } from './places.js'
import type { Fact, Renames } from './sides/types.js'

type Making = LineageMerge & Pick<LineageTensor, 'parts'>

/** All facts of a tensor's making, also of the steps below. `tensor`: its name. */
export function makingFacts(making: Making, tensor: string, named: Renames): Map<string, Fact> {
  const found = new Map<string, Fact>()
  const nameOf = (name: string): string => named.steps.get(name) ?? named.models.get(name) ?? name
  const add = (what: string, value: Json | undefined, of?: string): void => {
    if (value !== undefined) found.set(label(what, of), { value })
  }
  const visit = ({ method, parameters, sources, base, cropped }: LineageMerge, step?: string): void => {
    const inside = (name: string): string => (step === undefined ? name : `${name} in ${step}`)
    add('method', method, step)
    for (const [name, value] of Object.entries(parameters)) add(name, value, step)
    add(
      'models',
      sources.map(({ model }) => nameOf(model)),
      step,
    )
    add('base', base && nameOf(base.model), step)
    add('cropped', cropped && { rows: cropped.rows, models: cropped.models.map(nameOf) }, step)
    for (const source of sources) {
      add('weight', source.weight ?? undefined, inside(nameOf(source.model)))
      visitSource(source, inside(nameOf(source.model)))
      add('statistics', source.statistics && nameOf(source.statistics.model), inside(nameOf(source.model)))
    }
    if (base) visitSource(base, inside(nameOf(base.model)))
  }
  const visitSource = (source: LineageSource, name: string): void => {
    if (source.tensor !== tensor) {
      if (patternOf(source.tensor) === patternOf(tensor)) add('layer', layerOf(source.tensor), name)
      else add('tensor', patternOf(source.tensor), name)
    }
    add('format', source.format, name)
    if (source.of) visit(source.of, nameOf(source.model))
  }
  visit(making)
  for (const part of making.parts ?? []) {
    const step = nameOf(part.model)
    visit(part, part.tensor === tensor ? step : `${step} (${patternOf(part.tensor)})`)
  }
  return found
}
