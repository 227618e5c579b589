/** The spec of an alignment, for the model that does not change, and what it says of axes that stay. */
import type { Place } from '../../../core/diagnostics.js'
import { formatCount } from '../../../core/words.js'
import type { Value } from '../../../expr/values.js'
import type { Faults } from '../../../language/faults.js'
import type { RecipeHead } from '../../../language/types.js'
import { keptLines } from '../../../rebasin/describe.js'
import { extendSpec } from '../../../rebasin/infer/extend.js'
import { type Assumption, certainPart, type Inferred, inferSpec } from '../../../rebasin/infer/index.js'
import { onnxSpec } from '../../../rebasin/onnx/index.js'
import { readSpec, type Spec, type SpecText, writeSpec } from '../../../rebasin/spec.js'
import type { RebasinStep } from '../types.js'

export function specOf(
  recipe: RecipeHead,
  step: Pick<RebasinStep, 'at' | 'spec'>,
  onto: Value,
  config: Readonly<Record<string, unknown>> | undefined,
): { family: string; spec: Spec; assumed?: Assumption } {
  const source = { tensors: onto.tensors, ...(config ? { config } : {}) }
  if (typeof step.spec === 'object' && 'inline' in step.spec) {
    const { onnx } = step.spec.inline
    if (onnx) return { family: 'onnx', spec: onnxSpec(onnx, onto.tensors) }
    const { inline } = step.spec
    const placeOf = step.spec.placeOf ?? ((at) => recipe.placeOf([...step.at, 'spec', ...at], 'value'))
    if (inline.auto === undefined) return { family: 'written', spec: readSpec(inline, onto.tensors, placeOf) }
    const inferred = inferSpec(source, inline.auto === true ? 'auto' : inline.auto)
    const extended = extendSpec(writeSpec(certainPart(inferred), onto.tensors), inline, onto.tensors, placeOf)
    return { ...withoutWritten(inferred, inline), spec: readSpec(extended, onto.tensors, placeOf) }
  }
  if (typeof step.spec === 'object' && 'file' in step.spec) throw new Error('internal: a spec file that was not read')
  const inferred = inferSpec(source, step.spec === 'auto' ? 'auto' : step.spec.family)
  return { ...inferred, spec: certainPart(inferred) }
}

/** Layers are no assumption if the recipe says how they are connected. */
function withoutWritten({ assumed, ...inferred }: Inferred, { tensors }: SpecText): Inferred {
  const written = Object.keys(tensors)
  const layers = (assumed?.layers ?? []).filter(
    (layer) => !written.some((tensor) => tensor === layer || tensor.startsWith(`${layer}.`)),
  )
  return { ...inferred, ...(assumed && layers.length > 0 ? { assumed: { ...assumed, layers } } : {}) }
}

const CONFIRM =
  'export the model to ONNX (spec: model.onnx), or write the spec (terge inspect MODEL --spec --json prints one)'

/** Error `nothing-to-permute`: an alignment that changes nothing would look like one that worked. */
export function refuseNothing(
  model: string,
  { kept }: Spec,
  assumed: Assumption | undefined,
  place: Place | undefined,
  faults: Faults,
): void {
  if (assumed?.as) {
    const what = assumed.as === 'chain' ? 'a sequence of layers' : 'a network of blocks with shortcuts'
    const says =
      assumed.as === 'chain'
        ? 'if each layer reads only the output of the layer before it, write spec: chain'
        : 'if shortcuts go only around the blocks, write spec: resnet; if there are no shortcuts, write spec: chain'
    faults.error(
      'nothing-to-permute',
      `${model} looks like ${what} (${listed(assumed.layers)}), but names and shapes do not prove it, so terge permutes nothing`,
      place,
      `${says}; otherwise ${CONFIRM}`,
    )
    return
  }
  const reasons = keptLines(kept)
  const why = reasons.length === 0 ? 'the spec has no group' : reasons.slice(0, MOST_REASONS).join('; ')
  const more = reasons.length > MOST_REASONS ? `; and ${formatCount(reasons.length - MOST_REASONS)} more reasons` : ''
  faults.error('nothing-to-permute', `no axis of ${model} can be permuted: ${why}${more}`, place, CONFIRM)
}

/** A message shows so many names. */
const MOST_NAMES = 4

function listed(names: readonly string[]): string {
  const more = names.length > MOST_NAMES ? ` and ${formatCount(names.length - MOST_NAMES)} more` : ''
  return `${names.slice(0, MOST_NAMES).join(', ')}${more}`
}

/** Reasons in one message. */
const MOST_REASONS = 5

/** Warning `assumed-chain`: layers that stay, because only names and shapes say how they are connected. */
export function warnOfAssumption(
  model: string,
  { layers }: Assumption,
  place: Place | undefined,
  faults: Faults,
): void {
  faults.warn(
    'assumed-chain',
    `${model}: names and shapes do not prove how ${listed(layers)} are connected, so terge keeps them, and what they may read, in order`,
    place,
    `if the whole model is a sequence of layers without shortcuts, write spec: chain; otherwise ${CONFIRM}`,
  )
}
