import path from 'node:path'
import { openCheckpoint } from '../checkpoints/open.js'
import { type Diagnostic, Fault } from '../core/diagnostics.js'
import type { Listener } from '../execute/events.js'
import { digestCheckpoint } from './digestCheckpoint.js'
import { fileSize, inside, sha256, xxh3OfFile } from './disk.js'
import type { Digest, Lineage, LineageFile, LineageModel } from './types.js'

interface CheckOptions {
  readonly listen?: Listener
  readonly threads?: number
  readonly signal?: AbortSignal
}

interface Found {
  readonly files: ReadonlyMap<string, Digest>
  readonly tensors: ReadonlyMap<string, Digest>
}

/** How many names a message lists. */
const SHOWN = 10

export const listOf = (names: readonly string[]): string =>
  names.length <= SHOWN ? names.join(', ') : `${names.slice(0, SHOWN).join(', ')} and ${names.length - SHOWN} more`

const isCheckpoint = (file: LineageFile): boolean => file.name.endsWith('.safetensors')

/** Checks files against a lineage, one after the other, and collects what differs. */
export function checker(lineage: Lineage, { listen, threads, signal }: CheckOptions) {
  const problems: Diagnostic[] = []
  const checked = { files: 0, bytes: 0 }
  const report = (code: string, message: string, hint: string): void => {
    problems.push({ severity: 'error', code, message, hint })
  }
  const warn = (code: string, message: string, hint: string): void => {
    problems.push({ severity: 'warning', code, message, hint })
  }

  const total = [lineage.output, ...Object.values(lineage.models)]
    .flatMap(({ files }) => files)
    .reduce((sum, { size }) => sum + size, 0)
  const begin = (name: string): void => {
    signal?.throwIfAborted()
    listen?.({ kind: 'step', step: 'verify', text: name, fraction: Math.min(1, checked.bytes / Math.max(1, total)) })
  }

  /** Digests of a checkpoint on disk; undefined, and a problem, where it cannot be read. */
  async function digests(code: string, shown: string, file: string, hint: string): Promise<Found | undefined> {
    try {
      const checkpoint = await openCheckpoint(shown, file)
      const found = await digestCheckpoint(checkpoint, {
        ...(threads === undefined ? {} : { threads }),
        ...(signal === undefined ? {} : { signal }),
      })
      return {
        files: new Map(checkpoint.files.map(({ name }, index) => [name, found.files[index]!])),
        tensors: found.tensors,
      }
    } catch (error) {
      if (!(error instanceof Fault) || error.exit === 130) throw error
      for (const { message } of error.diagnostics) report(code, message, hint)
      return undefined
    }
  }

  /** Is there a file of this size? */
  async function sized(
    code: string,
    shown: string,
    file: string,
    expected: LineageFile,
    hint: string,
  ): Promise<boolean> {
    const found = await fileSize(file)
    if ('problem' in found) report(`${code}-missing`, `${shown} ${found.problem}`, hint)
    else {
      checked.files++
      checked.bytes += found.size
      if (found.size === expected.size) return true
      report(`${code}-size`, `${shown} has ${found.size} bytes, and the lineage says ${expected.size}`, hint)
    }
    return false
  }

  /** A file without tensors, or one whose lineage has no other digest than that of the whole file. */
  async function whole(code: string, shown: string, file: string, expected: Digest, hint: string): Promise<void> {
    const found = expected.startsWith('sha256:') ? await sha256(file, signal) : await xxh3OfFile(file, signal)
    if (found !== expected) report(`${code}-digest`, `${shown} differs from the lineage`, hint)
  }

  /** Compares an output's tensors; names those that differ. */
  function compareTensors(shown: string, found: Found, hint: string): void {
    const differing = [...found.tensors].filter(([name, digest]) => lineage.tensors[name]?.digest !== digest)
    const unknown = differing.filter(([name]) => !Object.hasOwn(lineage.tensors, name)).map(([name]) => name)
    const changed = differing.filter(([name]) => Object.hasOwn(lineage.tensors, name)).map(([name]) => name)
    const parts = [
      changed.length > 0 ? `${changed.length} of ${found.tensors.size} tensors differ: ${listOf(changed)}` : '',
      unknown.length > 0 ? `${unknown.length} tensors are not in the lineage: ${listOf(unknown)}` : '',
      differing.length === 0 ? 'the header differs from the lineage, the tensors are the same' : '',
    ]
    report('output-digest', `${shown}: ${parts.filter((part) => part !== '').join('; ')}`, hint)
  }

  async function outputs(folder: string): Promise<void> {
    const hint = 'the output was changed after the merge: run the recipe again'
    const seen = new Set<string>()
    let complete = true
    let compared = false
    for (const expected of lineage.output.files) {
      const { name, digest } = expected
      begin(name)
      const file = inside(folder, name)
      if (file === undefined) {
        report('output-missing', `${name} is not inside the output's folder`, hint)
        continue
      }
      if (!(await sized('output', name, file, expected, hint))) {
        complete &&= !isCheckpoint(expected)
        continue
      }
      const wholeDigest = digest === null ? expected.sha256 : isCheckpoint(expected) ? undefined : digest
      if (wholeDigest !== undefined) await whole('output', name, file, wholeDigest, hint)
      else if (digest !== null) {
        const found = await digests('output-header', name, file, hint)
        if (found && found.files.get(path.basename(name)) !== digest) compareTensors(name, found, hint)
        for (const tensor of found?.tensors.keys() ?? []) seen.add(tensor)
        complete &&= found !== undefined
        compared = true
      } else warn('no-digest', `${name}: only its size was checked`, 'the run was told to leave digests out')
    }
    const lost = Object.keys(lineage.tensors).filter((name) => !seen.has(name))
    if (complete && compared && lost.length > 0)
      report('output-digest', `${lost.length} tensors of the lineage are in no file: ${listOf(lost)}`, hint)
  }

  async function input(name: string, model: LineageModel, place: string): Promise<void> {
    const shown = (file: LineageFile): string =>
      isFile ? `${name} (${model.reference})` : `${name} (${model.reference}): ${file.name}`
    const hint = 'the input was changed or moved: fetch it again, or name the folder of the recipe'
    const isFile = 'size' in (await fileSize(place))
    let same = true
    for (const file of model.files) {
      begin(`${name}: ${file.name}`)
      const target = isFile ? place : inside(place, file.name)
      if (target === undefined) report('input-missing', `${shown(file)} is not inside the model's folder`, hint)
      same = target !== undefined && (await sized('input', shown(file), target, file, hint)) && same
    }
    if (!same) return
    if (model.files.every((file) => file.digest === null)) {
      if (model.files.length > 0)
        warn('no-digest', `${name}: only its size was checked`, 'the run was told to leave digests out')
      return
    }
    const found = await digests('input-header', `${name} (${model.reference})`, place, hint)
    if (!found) return
    for (const file of model.files)
      if (file.digest !== null && found.files.get(file.name) !== file.digest)
        report('input-digest', `${shown(file)} differs from what was merged`, hint)
  }

  const unchecked = (name: string, reference: string): void =>
    warn('input-unchecked', `${name} (${reference}) was not checked`, 'fetch it, and name its folder in the recipe')

  return { outputs, input, unchecked, problems, checked }
}
