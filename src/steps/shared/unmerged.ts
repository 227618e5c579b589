/**
 * Tensors that a merge copies from the base because other models lack them, name them differently, or have them in
 * another shape.
 */
import { elements } from '../../core/dtypes.js'
import type { AbsentReason } from '../../core/reasons.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { isFloat } from '../../encodings/index.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { Path, RecipeHead } from '../../language/types.js'
import type { Config } from '../../networks/layerCounts.js'
import { isTiedName } from '../../networks/tied.js'
import { sameColumns } from '../merge/crop.js'

/** Constants and running statistics that some files store and others omit. They are not trained. */
const BUFFER =
  /(^|\.)(inv_freq|position_ids|token_type_ids|masked_bias|attn_mask|relative_position_index|relative_coords_table|cos_cached|sin_cached|running_mean|running_var|num_batches_tracked)$|(^|\.)(attn|attention)\.bias$/

/** `attn.bias` of GPT-2 and GPT-NeoX is a mask with four axes. A bias with one axis is a parameter. */
const isParameter = (name: string, { dtype, shape }: ValueTensor): boolean =>
  isFloat(dtype) && !(BUFFER.test(name) && !(name.endsWith('.bias') && shape.length < 3))

interface Group {
  count: number
  parameters: number
  readonly example: string
}

/** Groups names that differ only in numbers. The largest groups show which kinds of tensors are affected. */
function grouped(tensors: Iterable<readonly [name: string, tensor: ValueTensor]>): Group[] {
  const groups = new Map<string, Group>()
  for (const [name, { shape }] of tensors) {
    const form = name.replace(/(^|\.)\d+(?=\.|$)/g, '$1*')
    const group = groups.get(form) ?? { count: 0, parameters: 0, example: name }
    group.count++
    group.parameters += elements(shape)
    groups.set(form, group)
  }
  return [...groups.values()].sort((a, b) => b.parameters - a.parameters)
}

const LARGEST_GROUPS = 3

function groupsText(tensors: readonly (readonly [name: string, tensor: ValueTensor])[]): string {
  const groups = grouped(tensors)
  const shown = groups
    .slice(0, LARGEST_GROUPS)
    .map(({ count, example }) => (count > 1 ? `${example} (${count} similar)` : example))
  return `${shown.join(', ')}${groups.length > LARGEST_GROUPS ? ', …' : ''}`
}

type Tensors = (readonly [name: string, tensor: ValueTensor])[]

/** Tensors that one model does not contribute to. */
interface Lack {
  readonly missing: Tensors
  readonly differs: Tensors
  /** Number of parameters that it could contribute to. */
  asked: number
}

/** Collects, while a merge is planned, the tensors that models do not contribute to. */
export interface Unmerged {
  /**
   * A tensor that the recipe merges: the models, those that do not contribute, and whether the base's tensor is
   * copied.
   */
  note(
    name: string,
    tensor: ValueTensor,
    listed: readonly string[],
    absent: readonly { readonly model: string; readonly reason: AbsentReason }[],
    kept: boolean,
  ): void
  close(): void
}

export interface UnmergedStep {
  readonly name: string
  readonly at: Path
  /** Whether over half of the parameters may stay unmerged. */
  readonly keep: boolean
  /** Whether the step has `on_missing`. */
  readonly canKeep: boolean
  readonly base: Value
  readonly values: ReadonlyMap<string, Value>
  /** The configuration of the base. */
  readonly config: Config | undefined
}

const size = (tensors: Tensors): number => tensors.reduce((sum, [, { shape }]) => sum + elements(shape), 0)

export function unmergedBook(recipe: RecipeHead, step: UnmergedStep, faults: Faults): Unmerged {
  const { base, values, config } = step
  const lacks = new Map<string, Lack>()
  const kept: Tensors = []
  const all = { count: 0, parameters: 0 }
  return {
    note(name, tensor, listed, absent, isKept) {
      if (!isParameter(name, tensor)) return
      all.count++
      all.parameters += elements(tensor.shape)
      if (isKept) kept.push([name, tensor])
      for (const model of listed) {
        const lack = lacks.get(model) ?? { missing: [], differs: [], asked: 0 }
        lacks.set(model, lack)
        lack.asked += elements(tensor.shape)
        const reason = absent.find((one) => one.model === model)?.reason
        if (reason) lack[reason === 'missing' ? 'missing' : 'differs'].push([name, tensor])
      }
    },
    close() {
      const others = [...lacks].filter(([model]) => model !== base.name)
      const extras = others.map(([model, lack]) => {
        const { tensors, adapter } = values.get(model)!
        const more = [...tensors].filter(
          ([name, tensor]) =>
            !base.tensors.has(name) && isParameter(name, tensor) && !isTiedName(name, tensors, base.tensors, config),
        )
        return { model, lack, more, whole: size([...tensors]), adapter: adapter !== undefined || isAdapter(tensors) }
      })
      const lacking = extras.filter(({ lack, more }) => lack.missing.length + lack.differs.length + more.length > 0)
      if (lacking.length === 0) return
      const each = lacking.map(lackText)
      const share = Math.round((100 * size(kept)) / Math.max(1, all.parameters))
      const what =
        kept.length === 0
          ? 'merges every tensor, but some of them without all models'
          : `copies ${kept.length} of ${plural(all.count, 'tensor')} (${share} % of the parameters) from the base ${quote(base.name)} unmerged`
      const message = `${quote(step.name)} ${what}: ${each.join('; ')}`
      const alien = extras.some(isOfAnotherLayout)
      const adapters = extras.every(({ adapter }) => adapter)
      const most = (size(kept) * 2 > all.parameters && !adapters) || alien
      const rows = lacking.some(({ lack }) =>
        lack.differs.some(([name, tensor]) =>
          lacking.some(({ model }) => {
            const other = values.get(model)!.tensors.get(name)
            return other !== undefined && sameColumns(other.shape, tensor.shape)
          }),
        ),
      )
      const crop = rows ? 'write on_mismatch: crop to merge the rows that all models have, ' : ''
      const place = recipe.placeOf([...step.at, 'on_missing'], 'key')
      if (most && !step.keep)
        faults.error(
          'mostly-unmerged',
          message,
          place,
          step.canKeep
            ? `${crop}use rename or strip_prefix to give the models the same tensor names, exclude these tensors with filters, or accept the result with on_missing: keep`
            : 'use rename or strip_prefix to give the models the same tensor names, or use merge steps with on_missing: keep',
        )
      else
        faults.warn(
          'unmerged-tensors',
          message,
          place,
          step.canKeep
            ? `${crop}use rename to give a model the tensor names of the base, or on_missing: error to fail instead`
            : 'use rename to give a model the tensor names of the other one',
        )
    },
  }
}

/** A model, the tensors that it lacks, and those that only it has. */
interface Compared {
  readonly model: string
  readonly lack: Lack
  readonly more: Tensors
  /** Parameters of all of its tensors. */
  readonly whole: number
  readonly adapter: boolean
}

function lackText({ model, lack: { missing, differs }, more }: Compared): string {
  const parts = [
    missing.length > 0 ? `lacks ${plural(missing.length, 'tensor')} of the base (${groupsText(missing)})` : '',
    differs.length > 0
      ? `has ${plural(differs.length, 'tensor')} in another shape or dtype (${groupsText(differs)})`
      : '',
    more.length > 0 ? `has ${plural(more.length, 'tensor')} that the base lacks (${groupsText(more)})` : '',
  ]
  return `${quote(model)} ${parts.filter((part) => part !== '').join(' and ')}`
}

/** It lacks most of the tensors that it should contribute to, and has as many under other names. */
const isOfAnotherLayout = ({ lack, more, whole, adapter }: Compared): boolean =>
  !adapter && (size(lack.missing) + size(lack.differs)) * 2 > lack.asked && size(more) * 2 > whole

/** Adapters only have the modules that they were trained on. */
const isAdapter = (tensors: Value['tensors']): boolean =>
  [...tensors.keys()].some((name) => /\.(lora_(A|B|embedding_A|embedding_B)|ia3_l)(\.|$)/.test(name))
