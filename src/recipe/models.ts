/** The models of a recipe, and names that refer to models or steps. */

import { quote } from '../core/suggest.js'
import { type Cursor, entriesOf, get, has, isMapping, itemsOf, numberOf, textOf, wordOf } from '../language/cursor.js'
import { HUB, hubParts, originOf, s3Parts, s3Problem } from '../language/names.js'
import type { Report } from '../language/report.js'
import type { ModelSource } from '../language/types.js'
import { kindOf, type Step } from '../steps/index.js'
import { readPatterns } from '../steps/merge/read.js'
import { readLayouts } from './layouts/read.js'
import type { Groups } from './matches/types.js'

export function readModels(at: Cursor | undefined, report: Report): Map<string, ModelSource> {
  const models = new Map<string, ModelSource>()
  for (const [name, entry] of entriesOf(at)) {
    if (name.trim() === '' || /[\u0000-\u001f\u007f]/.test(name))
      report.error('bad-value', `${quote(name)} is not a valid model name`, entry.path, {
        part: 'key',
        hint: 'write a name with visible characters',
      })
    const text = textOf(entry)
    const source: ModelSource = { name, at: entry.path, reference: text ?? '', origin: 'path', rename: [] }
    if (isMapping(entry)) models.set(name, readMapping(source, entry, report))
    else models.set(name, text === undefined ? source : { ...source, ...readReference(entry, text, report) })
  }
  return models
}

/** The models, with the patterns that they come from. */
export function inGroups(models: ReadonlyMap<string, ModelSource>, groups: Groups): Map<string, ModelSource> {
  const found = new Map(models)
  for (const { pattern, models } of groups.values())
    for (const name of models) {
      const source = found.get(name)
      if (source && source.pattern === undefined) found.set(name, { ...source, pattern: pattern.text })
    }
  return found
}

type Hub = Pick<ModelSource, 'reference' | 'origin' | 'revision'>

/** A path, a hub reference or an address in a store. */
function readReference(at: Cursor, text: string, report: Report): Hub {
  const origin = originOf(text)
  if (origin === 'hub') return readHub(at, text.slice(3), report)
  if (origin === 's3' && !s3Parts(text))
    report.error('bad-value', `${quote(text)} ${s3Problem(text).problem}`, at.path, { hint: s3Problem(text).hint })
  return { reference: text, origin }
}

function readHub(at: Cursor, text: string, report: Report): Hub {
  const [, repository, revision] = HUB.exec(text) ?? []
  if (repository === undefined) {
    const message = `${quote(textOf(at) ?? '')} is not a hub reference`
    report.error('bad-value', message, at.path, { hint: 'write hf:org/name or hf:org/name@revision' })
  }
  return { reference: `hf:${text}`, origin: 'hub', ...(revision === undefined ? {} : { revision }) }
}

function readMapping(start: ModelSource, at: Cursor, report: Report): ModelSource {
  const path = get(at, 'path')
  const hub = get(at, 'hub')
  const revision = get(at, 'revision')
  const written = textOf(path)
  let found: Hub =
    path && written !== undefined && originOf(written) === 's3'
      ? readReference(path, written, report)
      : { reference: written ?? '', origin: 'path' }
  if (path && hub) {
    const message = `the model ${quote(start.name)} has both a path and a hub repository`
    report.error('contradiction', message, hub.path, { part: 'key', hint: 'remove one of them' })
  } else if (!path && !hub) {
    const message = `the model ${quote(start.name)} has neither a path nor a hub repository`
    report.error('missing-key', message, at.path, { part: 'key', hint: 'write path: or hub: in its mapping' })
  }
  const reference = hub ?? (written?.startsWith('hf:') ? path : undefined)
  const text = textOf(reference)
  if (reference && text !== undefined) found = readHub(reference, text.replace(/^hf:/, ''), report)
  if (revision && found.revision !== undefined) {
    const message = `the model ${quote(start.name)} has two revisions`
    report.error('contradiction', message, revision.path, { part: 'key', hint: `remove one of them` })
  } else if (revision && path && !reference) {
    const message = 'a revision belongs to a hub repository, not to a path'
    report.error('contradiction', message, revision.path, { part: 'key', hint: 'write hub: instead of path:' })
  }
  const lora = get(at, 'lora')
  const adapter = textOf(lora)
  if (lora && adapter !== undefined) readReference(lora, adapter, report)
  const statistics = get(at, 'statistics')
  const measured = textOf(statistics)
  if (statistics && measured?.startsWith('s3://')) readReference(statistics, measured, report)
  for (const key of ['lora_scale', 'lora_include'])
    if (has(at, key) && !lora)
      report.error('missing-key', `${key} has no effect without lora`, [...at.path, key], {
        part: 'key',
        hint: `add lora: PATH, or remove ${key}`,
      })

  const optional = {
    revision: wordOf(revision),
    sha256: wordOf(get(at, 'sha256'))?.toLowerCase(),
    subfolder: textOf(get(at, 'subfolder')),
    lora: adapter,
    loraScale: numberOf(get(at, 'lora_scale')),
    loraInclude: has(at, 'lora_include') ? readPatterns(get(at, 'lora_include'), report) : undefined,
    stripPrefix: textOf(get(at, 'strip_prefix')),
    statistics: measured,
    config: textOf(get(at, 'config')),
    layout: has(at, 'layout') ? readLayouts(get(at, 'layout'), report) : undefined,
  }
  const rename = itemsOf(get(at, 'rename')).map((item) => ({
    from: textOf(get(item, 'from')) ?? '',
    to: textOf(get(item, 'to')) ?? '',
  }))
  const chosen = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined))
  return { ...start, ...found, rename, ...chosen }
}

/**
 * Statistics files and adapters as models of their own, after all others, under names that no model uses. terge reads
 * and records them like models.
 */
export function withCompanions(models: ReadonlyMap<string, ModelSource>): Map<string, ModelSource> {
  const all = new Map(models)
  for (const [model, source] of models)
    for (const kind of ['statistics', 'lora'] as const) {
      const reference = source[kind]
      if (reference === undefined) continue
      let name = `${model}.${kind}`
      while (all.has(name)) name += "'"
      all.set(model, { ...all.get(model)!, [kind]: name })
      const found = originOf(reference)
      const origin = kind === 'lora' || found !== 'hub' ? found : 'path'
      const { revision } = hubParts(reference) ?? {}
      const at = [...source.at, kind]
      const companion = { name, at, reference, origin, rename: [], companion: kind }
      all.set(name, revision === undefined || origin !== 'hub' ? companion : { ...companion, revision })
    }
  return all
}

/**
 * The same for the files of measurements that steps name: the models with these files, and the steps with the names of
 * these models.
 */
export function withMeasuredFiles(
  models: ReadonlyMap<string, ModelSource>,
  steps: readonly Step[],
): { readonly models: Map<string, ModelSource>; readonly steps: readonly Step[] } {
  const all = new Map(models)
  const named = steps.map((step) => {
    const { measured } = kindOf(step)
    if (!measured) return step
    const files = measured.of(step).map((one) => {
      let name = `${step.name}.measured.${one.of}`
      while (all.has(name)) name += "'"
      const { file: reference, at } = one
      all.set(name, { name, at, reference, origin: 'path', rename: [], companion: 'measured' })
      return { ...one, file: name }
    })
    return files.length > 0 ? measured.named(step, files) : step
  })
  return { models: all, steps: named }
}
