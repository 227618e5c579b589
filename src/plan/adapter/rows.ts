/** Vocabularies that were resized while an adapter was trained. */

import type { ValueTensor } from '../../expr/values.js'
import { EMBEDDING, HEAD } from '../../networks/tied.js'
import type { Application } from './application.js'

type Tensors = ReadonlyMap<string, ValueTensor>

/** Biases that have one element per token. */
const BIAS =
  /(^|\.)((lm_head|embed_out|predictions|mlm_head|vocab_projector)(\.decoder)?\.bias|final_logits_bias)$|^decoder\.bias$/

/** Rows of the embedding before and after; undefined if they are equal. */
export function rowsChanged(before: Tensors, after: Tensors): { before: number; after: number } | undefined {
  for (const [name, { shape }] of before) {
    const rows = after.get(name)?.shape[0]
    if (EMBEDDING.test(name) && rows !== undefined && rows !== shape[0]) return { before: shape[0]!, after: rows }
  }
  return undefined
}

/** Error `adapter-rows` if embedding, head and its bias do not have the same number of rows: no library loads that. */
export function refuseMixedRows({ base, reporter }: Application, tensors: Tensors): void {
  const rowsOf = (name: string, { shape }: Pick<ValueTensor, 'shape'>): number | undefined =>
    EMBEDDING.test(name) || HEAD.test(name) ? shape[0] : BIAS.test(name) ? shape.at(-1) : undefined
  const changed = [...tensors].flatMap(([name, tensor]) => {
    const stored = base.tensors.get(name)
    const [before, after] = [stored && rowsOf(name, stored), rowsOf(name, tensor)]
    return before === undefined || after === undefined || before === after ? [] : [{ name, before, after }]
  })
  const [first] = changed
  if (!first) return
  for (const [name, tensor] of tensors) {
    const rows = rowsOf(name, tensor)
    const stored = base.tensors.get(name)
    const was = stored ? rowsOf(name, stored) : first.before
    if (rows === undefined || was !== first.before || rows === first.after) continue
    reporter.error(
      'adapter-rows',
      `${first.name} has ${first.after} rows in the adapter, but ${name} would have ${rows} in the result`,
      'resize the base with resize_token_embeddings, save it, and use it as the base',
    )
  }
}
