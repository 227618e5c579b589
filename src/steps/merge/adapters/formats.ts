/** Adapters of PEFT and of sd-scripts in one merge: modules of PEFT get the names that sd-scripts gives them. */
import { kohyaNames } from '../../../adapters/kohya/names.js'
import type { Update } from '../../../adapters/types.js'
import { quote } from '../../../core/suggest.js'
import { plural } from '../../../core/words.js'
import type { PlanContext, ReadAdapter } from '../../types.js'
import type { MergeStep } from '../types.js'

export const KOHYA = 'kohya'

type Adapters = ReadonlyMap<string, ReadAdapter>

/** Whether it is the update of a layer, which has a name in sd-scripts. */
const isLayer = ({ kind, embedding }: Update): boolean => kind !== 'experts' && kind !== 'bias' && !embedding

/** The adapters with names of one format. Undefined after the error `adapter-format`. */
export function inOneFormat(
  { at }: MergeStep,
  adapters: Adapters,
  { recipe, faults }: PlanContext,
): Adapters | undefined {
  const formats = [...adapters.values()].map(({ format }) => format)
  if (new Set(formats).size < 2) return adapters
  const [beside = '', own] = [...adapters].find(([, { format }]) => format === KOHYA) ?? []
  const known = [...adapters.values()].flatMap(({ format, content }) =>
    format === KOHYA ? content.updates.map(({ module }) => module) : [],
  )
  const others = [...adapters].filter(([, { format }]) => format !== KOHYA)
  const names = kohyaNames(
    others.flatMap(([, { content }]) => content.updates.map(({ module }) => module)),
    known,
  )
  const refuse = (name: string, why: string): undefined => {
    const { format } = adapters.get(name)!
    faults.error(
      'adapter-format',
      `${quote(name)} is in the format of ${format} and ${quote(beside)} in that of ${own!.format}, which name modules differently: ${why}`,
      recipe.placeOf(at, 'key'),
      'apply each adapter to the base ({path: BASE, lora: ADAPTER}), and merge the models',
    )
  }
  const renamed = new Map(adapters)
  for (const [name, adapter] of others) {
    const { updates, replaced } = adapter.content
    const unnamed = updates.filter((update) => !isLayer(update) || names.get(update.module) === undefined)
    if (unnamed.length > 0)
      return refuse(
        name,
        `sd-scripts has no name for ${plural(unnamed.length, 'module')} of it, such as ${unnamed[0]!.module}`,
      )
    const [saved] = replaced.keys()
    if (saved !== undefined) return refuse(name, `files of sd-scripts can’t hold ${saved}, which is saved whole`)
    const own = updates.map((update): Update => {
      const module = names.get(update.module)!
      return { ...update, module, target: { ...update.target, name: module } }
    })
    const content = { ...adapter.content, updates: own }
    renamed.set(name, { ...adapter, content, format: KOHYA, config: undefined })
  }
  return renamed
}
