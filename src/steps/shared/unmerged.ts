/** What a merge leaves as the base has it, since models call it otherwise, lack it, or have it in another shape. */
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

/** Constants and statistics that some files store and others do not: nobody trained them. */
const BUFFER =
  /(^|\.)(inv_freq|position_ids|token_type_ids|masked_bias|attn_mask|relative_position_index|relative_coords_table|cos_cached|sin_cached|running_mean|running_var|num_batches_tracked)$|(^|\.)(attn|attention)\.bias$/

/** GPT-2's and GPT-NeoX's `attn.bias` is a mask of four axes; a bias of one is a parameter. */
const isParameter = (name: string, { dtype, shape }: ValueTensor): boolean =>
  isFloat(dtype) && !(BUFFER.test(name) && !(name.endsWith('.bias') && shape.length < 3))

interface Group {
  count: number
  parameters: number
  readonly example: string
}

/** Names by their form, numbers apart: the largest groups say what kind of tensor is concerned. */
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

/** What one participant has no part in. */
interface Lack {
  readonly missing: Tensors
  readonly differs: Tensors
  /** Parameters that it could have a part in. */
  asked: number
}

/** Collects while a merge is planned what its participants have no part in. */
export interface Unmerged {
  /** A tensor that the recipe wants merged: who was asked, who has no part in it, and whether the base's own is kept. */
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
  /** Over half of the parameters may stay as they are. */
  readonly keep: boolean
  /** It is a step with `on_missing`. */
  readonly canKeep: boolean
  readonly base: Value
  readonly values: ReadonlyMap<string, Value>
  /** The base's. */
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
      const told = extras.filter(({ lack, more }) => lack.missing.length + lack.differs.length + more.length > 0)
      if (told.length === 0) return
      const each = told.map(lackText)
      const share = Math.round((100 * size(kept)) / Math.max(1, all.parameters))
      const what =
        kept.length === 0
          ? 'merges every tensor, but some of them without all models'
          : `copies ${kept.length} of ${plural(all.count, 'tensor')} (${share} % of the parameters) from the base ${quote(base.name)} unmerged`
      const message = `${quote(step.name)} ${what}: ${each.join('; ')}`
      const alien = extras.some(isOfAnotherLayout)
      const adapters = extras.every(({ adapter }) => adapter)
      const most = (size(kept) * 2 > all.parameters && !adapters) || alien
      const rows = told.some(({ lack }) =>
        lack.differs.some(([name, tensor]) =>
          told.some(({ model }) => {
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

/** A participant, what it lacks, and what it has besides. */
interface Compared {
  readonly model: string
  readonly lack: Lack
  readonly more: Tensors
  /** Of all of its tensors. */
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

/** It has no part in most of what it is asked for, and as much under other names. */
const isOfAnotherLayout = ({ lack, more, whole, adapter }: Compared): boolean =>
  !adapter && (size(lack.missing) + size(lack.differs)) * 2 > lack.asked && size(more) * 2 > whole

/** Adapters have the modules that they were trained on, deliberately. */
const isAdapter = (tensors: Value['tensors']): boolean =>
  [...tensors.keys()].some((name) => /\.(lora_(A|B|embedding_A|embedding_B)|ia3_l)(\.|$)/.test(name))
