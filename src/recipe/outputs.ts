/** The outputs of a recipe. */

import path from 'node:path'
import { ALL_EXTENSIONS, isOutputFile, OUTPUT } from '../checkpoints/containers/index.js'
import { ownValue } from '../core/collections/ownValue.js'
import { meantPath, refusedName, slashHint } from '../core/names/fileNames.js'
import { formatSize, parseSize } from '../core/sizes.js'
import { quote } from '../core/suggest.js'
import { DTYPE_NAMES } from '../encodings/index.js'
import { addressText, outputAddress, refusedAddress } from '../language/addresses.js'
import {
  booleanOf,
  type Cursor,
  entriesOf,
  get,
  has,
  isMapping,
  itemsOf,
  numberOf,
  textOf,
} from '../language/cursor.js'
import { readEvaluate } from '../language/evaluate.js'
import { resolveName, type Scope } from '../language/names.js'
import { QUANTIZERS } from '../methods/quantize.js'
import { unusedSteps } from './graph.js'
import { readLayoutNames } from './layouts/read.js'
import type { LinkedStep } from './steps.js'
import type { OutputSpec } from './types.js'

export interface OutputContext {
  readonly scope: Scope
  readonly steps: readonly LinkedStep[]
  /** The recipe's folder, absolute. */
  readonly folder: string
  /** From the command line, relative to the working folder. Replaces the path in the recipe. */
  readonly override: string | undefined
  /** Whether the graph of steps has no errors. Otherwise `from` has no safe default. */
  readonly sound: boolean
}

export function readOutputs(root: Cursor, context: OutputContext): OutputSpec[] {
  const { report } = context.scope
  const one = get(root, 'output')
  const several = get(root, 'outputs')
  if (one && several) {
    const hint = 'move output into the list of outputs'
    report.error('contradiction', 'the recipe has both output and outputs', one.path, { part: 'key', hint })
  }
  if (!one && !several && context.override === undefined) {
    const hint = 'write output: ./merged, or pass -o PATH'
    report.error('missing-key', "the recipe needs the key 'output'", [], { hint })
  }
  const entries = several ? itemsOf(several) : one ? [one] : []
  if (context.override !== undefined && entries.length > 1) {
    const hint = 'remove -o, or keep only one output'
    report.error(
      'contradiction',
      '-o replaces the path of one output, and this recipe has several',
      several?.path ?? [],
      { hint },
    )
  }
  const from = (at: Cursor | undefined, place: Cursor): string => resolveFrom(at, place, root, context)
  if (entries.length === 0) {
    if (context.override === undefined) return []
    const name = from(undefined, root)
    refuseOtherFormat(context.override, [], context)
    checkName(context.override, [], context)
    return [{ at: [], path: context.override, resolved: placeIn('', context.override), from: name, metadata: {} }]
  }
  const outputs = entries.map((at) => readOutput(at, root, from, context))
  refuseNested(outputs, context)
  const seen = new Map<string, OutputSpec>()
  for (const output of outputs) {
    if (output.path !== '' && seen.has(output.resolved)) {
      const message = `two outputs have the path ${quote(output.path)}`
      report.error('contradiction', message, [...output.at, 'path'], { hint: 'give each output its own path' })
    }
    seen.set(output.resolved, output)
  }
  return outputs
}

/** Paths are checked with the models, because links matter. */
function refuseNested(outputs: readonly OutputSpec[], { scope }: OutputContext): void {
  for (const { resolved, path: inner, at } of outputs) {
    const outer = outputs.find((one) => outputAddress(one.path) && resolved.startsWith(`${one.resolved}/`))
    if (!outer || !outputAddress(inner)) continue
    const message = `the output ${quote(inner)} is inside the output ${quote(outer.path)}`
    scope.report.error('contradiction', message, [...at, 'path'], { hint: 'write them to separate folders' })
  }
}

type From = (at: Cursor | undefined, place: Cursor) => string

function readOutput(at: Cursor, root: Cursor, from: From, context: OutputContext): OutputSpec {
  const { folder, override, scope } = context
  const written = textOf(isMapping(at) ? get(at, 'path') : at) ?? ''
  const dtype = ownValue(DTYPE_NAMES, textOf(get(at, 'dtype')) ?? '')
  const shardSize = readShardSize(get(at, 'shard_size'), scope)
  const quantize = QUANTIZERS.find((one) => one === textOf(get(at, 'quantize')))
  const format = (['peft', 'kohya'] as const).find((one) => one === textOf(get(at, 'format')))
  const layout = readLayoutNames(get(at, 'layout'), scope.report)
  const drop = get(at, 'drop')
  if (drop && layout.length === 0)
    scope.report.error('missing-key', 'drop has no effect without layout', drop.path, {
      part: 'key',
      hint: 'add layout: NAME, or remove drop',
    })
  const evaluate = readEvaluate(get(root, 'evaluate'))
  const metadata = Object.create(null) as Record<string, string>
  for (const [key, item] of entriesOf(get(at, 'metadata'))) metadata[key] = textOf(item) ?? ''
  const permutations = get(at, 'permutations')
  if (booleanOf(permutations) && outputAddress(override ?? written))
    scope.report.error(
      'contradiction',
      'the permutations of an output are a file next to it on this machine',
      permutations!.path,
      {
        part: 'key',
        hint: 'write the output to a path, or remove permutations',
      },
    )
  refuseOtherFormat(override ?? written, get(at, 'path')?.path ?? at.path, context)
  checkName(override ?? written, get(at, 'path')?.path ?? at.path, context)
  return {
    at: at.path,
    path: override ?? written,
    resolved: override === undefined ? placeIn(folder, written) : placeIn('', override),
    from: from(get(at, 'from'), at),
    metadata,
    ...(dtype === undefined ? {} : { dtype }),
    ...(format === undefined ? {} : { format }),
    ...(quantize === undefined ? {} : { quantize }),
    ...(layout.length > 0 ? { layout } : {}),
    ...(booleanOf(drop) ? { drop: true as const } : {}),
    ...(shardSize === undefined ? {} : { shardSize }),
    ...(booleanOf(permutations) ? { permutations: true as const } : {}),
    ...(booleanOf(get(at, 'checksums')) ? { checksums: true as const } : {}),
    ...(evaluate === undefined ? {} : { evaluate }),
  }
}

/** An absolute path, or an address in its full form. */
function placeIn(folder: string, written: string): string {
  const address = outputAddress(written)
  return address ? addressText(address) : path.resolve(folder, written)
}

const WEIGHTS = new RegExp(`\\.(${ALL_EXTENSIONS})$`, 'i')

/** Names that this system can't have or reads in another way. */
function checkName(written: string, at: Cursor['path'], { scope, override }: OutputContext): void {
  const flag = override === undefined ? '' : '-o '
  const wrong = refusedAddress(written)
  if (wrong) {
    scope.report.error('bad-value', `${flag}${quote(written)}: ${wrong.problem}`, at, { hint: wrong.hint })
    return
  }
  const address = outputAddress(written)
  if (address?.kind === 'hub' && isOutputFile(written)) {
    const message = `${flag}${quote(written)}: a repository is a folder, and its name ends in ${OUTPUT.extension}`
    scope.report.error('bad-value', message, at, { hint: 'choose another name' })
  }
  if (address) return
  const refused = refusedName(written)
  if (refused !== undefined) {
    const message = `${flag}${quote(written)}: ${refused}, which Windows does not allow in names`
    scope.report.error('bad-value', message, at, { hint: 'choose another name' })
  }
  const meant = meantPath(written)
  if (meant === undefined) return
  const message = `${flag}${quote(written)}: \\ is a part of the name on this system`
  const hint = slashHint(meant)
  // A folder can have such a name, but names of files must be valid on every system.
  if (isOutputFile(written) && path.posix.basename(written).includes('\\'))
    scope.report.error('bad-value', message, at, { hint })
  else scope.report.warn('backslash-path', message, at, { hint })
}

/** A path with the extension of other weight files would silently become a folder. */
function refuseOtherFormat(written: string, at: Cursor['path'], { scope, override }: OutputContext): void {
  if (isOutputFile(written) || !WEIGHTS.test(written)) return
  const flag = override === undefined ? '' : '-o '
  const hint = `write ${written.replace(WEIGHTS, OUTPUT.extension)}, or ${written}/ for a folder of that name`
  scope.report.error('bad-value', `${flag}${quote(written)}: terge writes ${OUTPUT.name} files`, at, { hint })
}

/** In bytes. A shard holds a header and at least some data. */
export const SMALLEST_SHARD = 1000

function readShardSize(at: Cursor | undefined, { report }: Scope): number | undefined {
  const text = textOf(at)
  const bytes = text === undefined ? numberOf(at) : parseSize(text)
  if (at === undefined || (text === undefined && bytes === undefined) || text?.trim() === '') return undefined
  if (bytes === undefined)
    report.error('bad-value', `${quote(text ?? '')} is not a size`, at.path, { hint: 'write 5GB, 512MiB, or bytes' })
  else if (bytes < SMALLEST_SHARD && bytes > 0)
    report.error('bad-value', `a shard size of ${formatSize(bytes)} is too small`, at.path, {
      hint: `write at least ${SMALLEST_SHARD} bytes; 5GB is common`,
    })
  else if (bytes === 0 && text !== undefined)
    report.error('bad-value', "'shard_size' must be more than 0", at.path, { hint: 'write 5GB, 512MiB, or bytes' })
  return bytes
}

function resolveFrom(at: Cursor | undefined, place: Cursor, root: Cursor, context: OutputContext): string {
  const { scope, steps } = context
  if (at) return resolveName(at, scope)?.name ?? ''
  if (!context.sound) return ''
  const last = unusedSteps(steps)
  if (last.length === 1 && last[0] !== undefined) return last[0]
  if (last.length === 0) {
    if (steps.length === 0 && !has(root, 'steps'))
      scope.report.error('missing-key', 'the recipe has no step', [], {
        hint: 'write merge: {method: linear}, or add steps',
      })
    return ''
  }
  const message = `this output has no 'from', and several steps have unused results: ${last.map(quote).join(', ')}`
  scope.report.error('ambiguous-output', message, place.path, { part: 'key', hint: `write from: ${last[0]}` })
  return ''
}
