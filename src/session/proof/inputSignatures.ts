/** The signatures of the models that a lineage or a lock lists. */
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { type Diagnostic, Fault } from '../../core/diagnostics.js'
import type { Listener } from '../../execute/events.js'
import type { Sums } from '../../execute/hashing/sums.js'
import { exists, inside } from '../../lineage/disk.js'
import type { LineageModel } from '../../lineage/types.js'
import { OtherSigner } from '../../signing/bundle.js'
import { checkFiles } from '../../signing/check.js'
import type { SignedModel } from '../../signing/files.js'
import { parseManifest } from '../../signing/manifest.js'
import { bundleAt, payloadIn, signatureOf } from './signatureFiles.js'
import { RECORDS } from './signedInputs.js'
import type { InputSignature, Trust } from './trust.js'

export interface InputSignatures {
  readonly problems: readonly Diagnostic[]
  /** By model; absent without a key and without certificates. */
  readonly inputs?: Readonly<Record<string, InputSignature>>
}

interface Options {
  readonly sums: Sums
  readonly listen?: Listener | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Checks the signature of each model that has one, and that all files that the lineage lists of it are signed. Without `trust`, warns of
 * signatures that nobody checks.
 */
export async function inputSignatures(
  models: Readonly<Record<string, LineageModel>>,
  placeOf: (model: LineageModel) => string | undefined,
  trust: Trust | undefined,
  options: Options,
): Promise<InputSignatures> {
  const problems: Diagnostic[] = []
  const inputs: Record<string, InputSignature> = {}
  for (const [name, model] of Object.entries(models).sort(([, a], [, b]) => a.index - b.index)) {
    const signed = await signedModelAt(placeOf(model))
    if (signed === undefined || !(await exists(signatureOf(signed)))) {
      inputs[name] = signed === undefined ? 'missing' : 'unsigned'
      continue
    }
    const shown = `${name} (${model.reference})`
    const found = trust ? await checkInput(signed, model, shown, trust, options) : undefined
    inputs[name] = found?.state ?? 'unchecked'
    problems.push(...(found?.problems ?? [unchecked(`${shown}: its signature was not checked`)]))
  }
  return { problems, ...(trust ? { inputs } : {}) }
}

/** A warning about a signature that nobody checks. */
export const unchecked = (message: string, hint = 'give the public key of its signer: --key'): Diagnostic => ({
  ...{ severity: 'warning', code: 'signature-unchecked', message, hint },
})

async function signedModelAt(place: string | undefined): Promise<SignedModel | undefined> {
  const entry = place === undefined ? undefined : await stat(place).catch(() => undefined)
  return entry && { place: place!, isFile: !entry.isDirectory() }
}

async function checkInput(
  signed: SignedModel,
  model: LineageModel,
  shown: string,
  trust: Trust,
  { sums, listen, signal }: Options,
): Promise<{ readonly state: InputSignature; readonly problems: readonly Diagnostic[] }> {
  const place = signatureOf(signed)
  const own = `${shown}: ${path.basename(place)}`
  try {
    const bundle = await bundleAt(place, shown, 'sign the model with terge sign')
    const manifest = parseManifest(await payloadIn(bundle, trust, own), own)
    const listed = new Set(manifest.resources.map(({ name }) => name))
    // What the signer did not sign of these changes no weights.
    const records = RECORDS.filter((name) => listed.has(name))
    const read = [...model.files, ...(model.beside ?? [])].map(({ name }) => name)
    const only = new Set(signed.isFile ? ['.'] : [...read, ...records])
    const { method, hash } = manifest.serialization
    if (method === 'files' && hash === 'sha256') {
      const files = [...only].map((name) => (signed.isFile ? signed.place : inside(signed.place, name)))
      await sums.settle(
        files.filter((file) => file !== undefined),
        listen,
      )
    }
    const { problems } = await checkFiles(signed, manifest, [path.basename(place)], { signal, sumOf: sums.of, only })
    const named = problems.map((problem) => ({ ...problem, message: `${shown}: ${problem.message}` }))
    return { state: named.length > 0 ? 'invalid' : 'valid', problems: named }
  } catch (error) {
    if (error instanceof OtherSigner) {
      const hint = 'check the input with the key of its signer: terge verify MODEL --key'
      return { state: 'unchecked', problems: error.diagnostics.map(({ message }) => unchecked(message, hint)) }
    }
    if (!(error instanceof Fault) || error.diagnostics.some(({ code }) => code === 'interrupted')) throw error
    return { state: 'invalid', problems: error.diagnostics }
  }
}
