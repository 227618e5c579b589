/** Plans the analysis of a step with given permutations: which of their tensors each tensor of the model is. */
import { Buffer } from 'node:buffer'
import { recordOf } from '../../../core/collections/ownValue.js'
import { elements } from '../../../core/dtypes.js'
import { agree, counted, plural } from '../../../core/words.js'
import type { Value, ValueTensor } from '../../../expr/values.js'
import { type Faults, reportFault } from '../../../language/faults.js'
import type { RecipeHead } from '../../../language/types.js'
import { refuseAnyPacked } from '../../../networks/packed.js'
import type { Permutations } from '../../../rebasin/apply.js'
import { type AxisText, counts, readSpec, type Spec } from '../../../rebasin/spec.js'
import { analysisTensor } from '../../shared/analysisTensor.js'
import { isMadeWhole } from '../through.js'
import type { GivenContent, RebasinAnalysis, RebasinStep } from '../types.js'
import { NAME } from './read.js'

/**
 * A tensor is ordered as the tensor of the permutations that it is named after: by the first template of `names` that gives its
 * name. Errors: `spec-misfit` for other shapes, `other-structure` for tensors that the permutations do not know, and templates
 * that match nothing. Warning: `partial-permutations` if the model lacks tensors.
 */
export function planGiven(
  recipe: RecipeHead,
  step: RebasinStep,
  values: ReadonlyMap<string, Value>,
  faults: Faults,
): RebasinAnalysis | undefined {
  const { content, names } = step.given!
  // Its file has an error.
  if (!content) return undefined
  const moving = values.get(step.model)!
  if (refuseAnyPacked(recipe, [moving], step.at, faults)) return undefined
  const place = recipe.placeOf([...step.at, 'permutations'], 'value')
  const matched = matchNames(moving, content, names)
  if (refuseNames(recipe, step, matched, faults)) return undefined
  const text = { groups: content.spec.groups, tensors: recordOf(matched.axes) }
  try {
    const spec = readSpec(text, moving.tensors)
    const tensors = [...new Set(spec.parts.map(({ tensor }) => tensor))]
    const whole = tensors.filter((name) => isMadeWhole(moving.tensors.get(name)!))
    const model = {
      name: moving.name,
      tensors: whole.map((name) => analysisTensor(name, moving.tensors.get(name)!)),
    }
    return {
      kind: 'rebasin',
      steps: [step.name],
      method: 'given',
      symmetry: 'permutation',
      seed: 0,
      maxIterations: 0,
      family: content.family,
      spec: text,
      onto: model,
      models: [model],
      given: {
        shapes: tensors.map((name) => ({ name, shape: moving.tensors.get(name)!.shape })),
        permutations: recordOf(packed(spec, content.permutations)),
        ends: { model: content.model, onto: content.onto },
      },
    }
  } catch (error) {
    return reportFault(faults, error, place, { before: `${step.model}: ` })
  }
}

/** The permutations of the groups that a spec uses, as text. */
const packed = ({ groups }: Spec, permutations: Permutations): [string, string][] =>
  Object.keys(groups).map((group) => {
    const bytes = new DataView(new ArrayBuffer(4 * permutations[group]!.length))
    for (const [i, unit] of permutations[group]!.entries()) bytes.setInt32(4 * i, unit, true)
    return [group, Buffer.from(bytes.buffer).toString('base64')]
  })

interface Matched {
  /** By tensor of the model: the axes as the spec has them. */
  readonly axes: readonly (readonly [string, readonly AxisText[]])[]
  /** Tensors of the model that the permutations do not know. */
  readonly unknown: readonly string[]
  /** By template: how many tensors it matched, and which tensors of the permutations it did not find. */
  readonly templates: readonly {
    readonly template: string
    readonly found: number
    readonly missing: readonly string[]
  }[]
}

function matchNames({ tensors }: Value, { spec, untouched }: GivenContent, names: readonly string[]): Matched {
  const still = new Set(untouched)
  const axes: [string, readonly AxisText[]][] = []
  const unknown: string[] = []
  const found = names.map(() => new Set<string>())
  for (const [name, tensor] of tensors) {
    const place = names.findIndex((template) => {
      const own = namedBy(template, name)
      return own !== undefined && (Object.hasOwn(spec.tensors, own) || still.has(own))
    })
    if (place < 0) {
      if (hasOrder(tensor)) unknown.push(name)
      continue
    }
    const own = namedBy(names[place]!, name)!
    found[place]!.add(own)
    if (Object.hasOwn(spec.tensors, own)) axes.push([name, spec.tensors[own]!])
  }
  const templates = names.map((template, index) => ({
    template,
    found: found[index]!.size,
    missing: Object.keys(spec.tensors).filter((tensor) => counts({ tensor }) && !found[index]!.has(tensor)),
  }))
  return { axes, unknown, templates }
}

/** What stands for `{tensor}` in a name. */
function namedBy(template: string, name: string): string | undefined {
  const [before, after] = template.split(NAME) as [string, string]
  const fits = name.length > before.length + after.length && name.startsWith(before) && name.endsWith(after)
  return fits ? name.slice(before.length, name.length - after.length) : undefined
}

/** One element, such as an optimizer's step, has no order. */
const hasOrder = ({ shape }: ValueTensor): boolean => elements(shape) > 1

const SHOWN = 3

function refuseNames(
  recipe: RecipeHead,
  { at, model }: RebasinStep,
  { unknown, templates }: Matched,
  faults: Faults,
): boolean {
  const place = recipe.placeOf([...at, 'permutations'], 'value')
  if (unknown.length > 0) {
    const more = unknown.length > SHOWN ? ` and ${unknown.length - SHOWN} more` : ''
    faults.error(
      'other-structure',
      `the permutations do not know ${plural(unknown.length, 'tensor')} of ${model}: ${unknown.slice(0, SHOWN).join(', ')}${more}`,
      place,
      `apply them to a checkpoint of the same structure; names: ["PREFIX.${NAME}"] matches tensors with other names`,
    )
    return true
  }
  const unused = templates.filter(({ found }) => found === 0)
  for (const { template } of unused)
    faults.error(
      'other-structure',
      `no tensor of ${model} is named ${template} after a tensor of the permutations`,
      place,
      'run terge inspect to list the names of the model',
    )
  for (const { template, missing, found } of templates)
    if (missing.length > 0 && found > 0)
      faults.warn(
        'partial-permutations',
        `${model} lacks ${counted(missing.length, 'tensor')} that the permutations order${template === NAME ? '' : ` (as ${template})`}: ${missing.slice(0, SHOWN).join(', ')}${missing.length > SHOWN ? ` and ${missing.length - SHOWN} more` : ''}`,
        place,
        `check that the other tensors, which ${agree(missing.length, 'goes', 'go')} with ${missing.length === 1 ? 'it' : 'them'}, are permuted as well`,
      )
  return unused.length > 0
}
