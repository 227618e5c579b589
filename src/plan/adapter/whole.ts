/** Tensors that an adapter saved whole and the base lacks: heads for a task. */
import type { ValueTensor } from '../../expr/values.js'
import { type Application, moduleName } from './application.js'

/** Heads that PEFT adds to `modules_to_save` itself, or that training libraries add to a network. */
const TASK_HEADS = /^(score|classifier|classification_head|qa_outputs|v_head|value_head|reward_head|summary)(\.|$)/
/** The last layer of a classifier: one row per label. */
const LABELS = /^(score|classifier|classifier\.out_proj|classification_head\.out_proj)\.weight$/

const CLASSES: Readonly<Record<string, string>> = {
  SEQ_CLS: 'ForSequenceClassification',
  TOKEN_CLS: 'ForTokenClassification',
  QUESTION_ANS: 'ForQuestionAnswering',
}

/** The suffix of the class name for a PEFT task type. */
export const taskClass = (task: string | undefined): string | undefined => CLASSES[task ?? '']

/**
 * Tensors saved whole that the model lacks and that were trained as separate modules. Empty if the adapter updates
 * modules that the model lacks: it was made for another base. Warning: `adapter-adds`.
 */
export function additions(
  { adapter: { replaced, beneath, updates, isSaved }, reporter }: Application,
  has: (name: string) => boolean,
): ReadonlyMap<string, ValueTensor> {
  const added = new Map<string, ValueTensor>()
  const fits = updates.every(
    ({ module, target: { name } }) => has(name) || (isHeadModule(module) && name === `${module}.weight`),
  )
  if (!fits) return added
  for (const [name, tensor] of replaced) {
    const module = moduleName(name)
    // Tensors inside layers and embeddings belong to the network itself.
    const outside = !/(^|\.)\d+\./.test(name) && !isHeadModule(module) && !/embed/.test(module)
    if (has(name) || beneath.has(name) || !outside) continue
    if (isSaved(module) || isSaved(module.split('.')[0]!) || TASK_HEADS.test(name)) added.set(name, tensor)
  }
  const [first] = added.keys()
  if (first !== undefined)
    reporter.warn(
      'adapter-adds',
      `it saved ${added.size === 1 ? `${first}, which` : `${added.size} tensors, such as ${first}, that`} the model does not have: terge adds ${added.size === 1 ? 'it' : 'them'} to the model`,
    )
  return added
}

/** Whether a module has the name of a head over the vocabulary. A model with a tied head does not store it. */
const isHeadModule = (module: string): boolean =>
  /(^|\.)((lm_head|embed_out|proj_out|output_layer)(\.decoder)?|predictions\.decoder|vocab_projector)$/.test(module)

/** The number of labels if the adapter saved a classifier whole. */
export function labelsOf(
  { adapter: { replaced, task }, base }: Application,
  find: (name: string) => string | undefined,
  added: ReadonlyMap<string, ValueTensor>,
): number | undefined {
  if (task !== 'SEQ_CLS' && task !== 'TOKEN_CLS') return undefined
  for (const [name, { shape }] of replaced) {
    if (!LABELS.test(name) || shape.length !== 2) continue
    const own = find(name)
    const before = own === undefined ? undefined : base.tensors.get(own)?.shape[0]
    if (added.has(name) || before !== shape[0]) return shape[0]
  }
  return undefined
}

/**
 * The prefix that the adapter's names have and the model's lack: in a network with a head, the bare model is a
 * submodule.
 */
export function prefixOf(
  { adapter: { updates } }: Application,
  find: (name: string) => string | undefined,
): string | undefined {
  const prefixes = updates.map(({ target: { name } }) => {
    const own = find(name)
    return own !== undefined && name.endsWith(`.${own}`) ? name.slice(0, -own.length) : ''
  })
  const [first, ...others] = new Set(prefixes)
  return others.length > 0 || first === '' ? undefined : first
}
