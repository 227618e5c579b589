/** The tied head of a model if an adapter changes the head or the embedding. */

import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { ValueTensor } from '../../expr/values.js'
import { embeddingsOf, isShared, tiedHeadOf } from '../../networks/heads.js'
import { headOf, nearestTo, SHARED, tiesHead } from '../../networks/tied.js'
import { type Application, moduleName } from './application.js'

type Tensors = Map<string, ValueTensor>
type Find = (name: string) => string | undefined

/** Task types whose networks have no head over the vocabulary. */
const WITHOUT_HEAD: ReadonlySet<string | undefined> = new Set([
  'SEQ_CLS',
  'TOKEN_CLS',
  'QUESTION_ANS',
  'FEATURE_EXTRACTION',
])

/** The embedding that is used for a head that the model does not store; undefined if the head is not tied. */
export function embeddingOfHead({ base, config }: Application, head: string): string | undefined {
  if (!tiesHead(config, head) || headOf([...base.tensors]) !== undefined) return undefined
  const embeddings = embeddingsOf(base.tensors).map((name) => [name, base.tensors.get(name)!] as const)
  return nearestTo(head, embeddings)?.[0]
}

/**
 * Gives the head the weights that it had in the trained network. PEFT adapts only the embedding: the head keeps the
 * base's weights and is stored separately, unless the adapter's configuration ties them (`ensure_weight_tying`) or the
 * shared tensor itself was saved.
 * `heads`: heads that the adapter changes and the model does not store, with the embedding used for each. Returns
 * whether the head is now a separate tensor. Error and warning: `adapter-tied`.
 */
export function settleHead(
  application: Application,
  tensors: Tensors,
  heads: ReadonlyMap<string, string>,
  find: Find,
): true | undefined {
  const { base, config, adapter, sameContent, reporter } = application
  const refuse = (why: string): undefined => {
    reporter.error(
      'adapter-tied',
      `it changes a tied embedding or head: ${why}`,
      'save the base with a separate head (tie_word_embeddings: false), or merge the adapter into its base with PEFT and use the result',
    )
    return undefined
  }
  const isChanged = (name: string): boolean => tensors.get(name) !== base.tensors.get(name)
  const shared = isShared(base.tensors, config)
  const together = 'encoder, decoder and head share one tensor, and the adapter changes only some of them'
  let split: true | undefined
  for (const [head, embedding] of heads) {
    const follows = adapter.tiesHead(moduleName(embedding)) && isChanged(embedding)
    if (follows || sameContent(tensors.get(head)!, tensors.get(embedding)!)) tensors.delete(head)
    else if (shared) return refuse(together)
    else split = true
  }
  const settled = new Set(heads.values())
  for (const name of embeddingsOf(base.tensors).filter(isChanged)) {
    const whole = followsWhole(application, tensors, name, find)
    const rest = [...base.tensors.keys()].some((other) => SHARED.test(other) && !isChanged(other))
    if (shared && SHARED.test(name) && (!whole || rest)) return refuse(together)
    if (settled.has(name)) continue
    const kinds = new Set(adapter.updates.filter(({ target }) => find(target.name) === name).map(({ kind }) => kind))
    if (kinds.has('tokens') && kinds.size > 1) return refuse('it changes single rows and all rows of the embedding')
    // PEFT ties rows of tokens like the network does.
    const follows = kinds.has('tokens') || adapter.tiesHead(moduleName(name))
    if (follows === undefined)
      return refuse(`whether ensure_weight_tying applied to ${name} depends on the version of PEFT`)
    const own = settleEmbedding(application, tensors, name, whole || follows, find)
    if (typeof own === 'string') return refuse(own)
    if (own) split = true
  }
  return split
}

/** Whether the adapter saved the embedding itself, which the head shares, and not a trained copy of it. */
function followsWhole(
  { adapter: { replaced, isSaved } }: Application,
  tensors: Tensors,
  embedding: string,
  find: Find,
): boolean {
  const saved = [...replaced.keys()].find((name) => find(name) === embedding)
  if (saved === undefined || tensors.get(embedding)!.expr.kind !== 'read') return false
  return !isSaved(moduleName(saved))
}

/** Whether the head is now separate from the changed embedding; a reason if terge cannot decide. */
function settleEmbedding(
  { base, config, adapter, reporter }: Application,
  tensors: Tensors,
  embedding: string,
  follows: boolean,
  find: Find,
): boolean | string {
  const head = headOf([...base.tensors])
  if (!config) {
    if (head === undefined)
      reporter.warn(
        'adapter-tied',
        `it changes ${embedding}, and there is no config.json to show whether the model ties its head to it`,
        'name the model folder, with its config.json',
      )
    return false
  }
  const embeddings = embeddingsOf(base.tensors).map((name) => [name, base.tensors.get(name)!] as const)
  if (!tiesHead(config, head ?? embedding) || (head !== undefined && nearestTo(head, embeddings)?.[0] !== embedding))
    return false
  const headChanged = head !== undefined && tensors.get(head) !== base.tensors.get(head)
  if (follows) {
    const own = headChanged && !adapter.tiesHead(moduleName(embedding))
    if (head !== undefined && !own) tensors.set(head, tensors.get(embedding)!)
    return own
  }
  if (headChanged) return true
  const beneath = [...adapter.beneath].find((name) => find(name) === embedding)
  const kept = beneath === undefined ? base.tensors.get(embedding)! : adapter.replaced.get(beneath)!
  if (head !== undefined) {
    if (!sameShape(kept.shape, base.tensors.get(head)!.shape)) tensors.set(head, kept)
    return true
  }
  if (WITHOUT_HEAD.has(adapter.task)) return false
  const tied = tiedHeadOf(embedding, base.tensors, config, adapter.task === 'CAUSAL_LM')
  if (tied.kind === 'none') return false
  if (tied.kind === 'unknown') return tied.why
  if (!isFloat(kept.dtype)) return `${embedding} is ${kept.dtype}`
  tensors.set(tied.name, kept)
  reporter.warn(
    'adapter-tied',
    `it changes ${embedding} but not the head that is tied to it: the result has a separate head, ${tied.name}, with the original weights, and tie_word_embeddings: false`,
    'to keep the two tied, train with ensure_weight_tying',
  )
  return true
}
