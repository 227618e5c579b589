import { misfit, RIGHT_BASE, report } from '../../adapters/misfit.js'
import type { Update } from '../../adapters/types.js'
import type { ValueTensor } from '../../expr/values.js'
import type { Orientation } from '../../networks/orientation.js'
import { HEAD } from '../../networks/tied.js'
import type { Application } from './application.js'
import { changed, withProduct } from './changed.js'
import type { OtherForm } from './forms/other.js'
import { placed } from './forms/place.js'
import { renamed } from './forms/renamed.js'
import { embeddingOfHead } from './head.js'

/**
 * Applies all updates to `tensors`. `target`: the model's name for a tensor of the network; undefined after an error. Updates of
 * tensors that exist only in another layout change those that the model has in their place.
 */
export function applyUpdates(
  application: Application,
  tensors: Map<string, ValueTensor>,
  target: (name: string) => string | undefined,
  oriented: (module: string) => Orientation | undefined,
): void {
  const { adapter, network, others, reporter } = application
  const twice = (module: string): undefined =>
    report(misfit('adapter-shape', ': the adapter changes it twice', RIGHT_BASE), module, reporter)
  const before = new Map<string, Update[]>()
  const elsewhere = new Map<OtherForm, Update[]>()
  for (const given of inOrder(adapter.updates)) {
    const { name } = given.target
    const form = network.find(name) === undefined ? others().find((other) => other.find(name) !== undefined) : undefined
    const update = form ? (renamed(given, form) ?? given) : given
    if (form && update === given) {
      elsewhere.set(form, [...(elsewhere.get(form) ?? []), update])
      continue
    }
    if (isTiedCopy(application, update)) continue
    const own = target(update.target.name)
    if (own === undefined) continue
    const earlier = before.get(own) ?? []
    before.set(own, [...earlier, update])
    const tensor = earlier.some((other) => overlap(other, update))
      ? twice(update.module)
      : changed(application, tensors.get(own)!, update, oriented)
    if (tensor) tensors.set(own, tensor)
  }
  for (const [form, own] of elsewhere)
    for (const { name, product, scale, module } of placed(application, form, own, oriented)) {
      if (before.has(name)) twice(module)
      else tensors.set(name, withProduct(application, tensors.get(name)!, product, scale))
    }
}

/** Whether an update is one of the embedding, stored a second time for the head that the model does not store. */
function isTiedCopy(application: Application, { kind, target: { name } }: Update): boolean {
  const { network, adapter } = application
  if (kind !== 'tokens' || !HEAD.test(name) || network.find(name) !== undefined) return false
  const embedding = embeddingOfHead(application, name)
  return adapter.updates.some((other) => other.kind === 'tokens' && network.find(other.target.name) === embedding)
}

/** Rows of tokens replace those of the embedding, and updates go on top. */
const inOrder = (updates: readonly Update[]): readonly Update[] => [
  ...updates.filter(({ kind }) => kind === 'tokens'),
  ...updates.filter(({ kind }) => kind !== 'tokens'),
]

/** Whether two updates of a tensor change the same elements, so that one of them has another target. */
function overlap({ kind, target: { rows: a } }: Update, { kind: other, target: { rows: b } }: Update): boolean {
  if ((kind === 'tokens') !== (other === 'tokens')) return false
  return !a || !b || (a.start < b.start + b.count && b.start < a.start + a.count)
}
