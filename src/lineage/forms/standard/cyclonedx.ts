/** A lineage as a CycloneDX bill of materials for machine learning (ML-BOM). The same lineage gives the same bytes. */
import { createHash } from 'node:crypto'
import { commonLicense, groupedTerms, termsText } from '../../history/terms.js'
import type { Ancestor } from '../../history/types.js'
import type { Lineage, LineageFile } from '../../types.js'
import {
  addressOf,
  addressPart,
  builderOf,
  commitOf,
  filesRead,
  modelsOfOutput,
  purlOf,
  repositoryOf,
  sha256Of,
} from './identity.js'
import { type StandardLicense, standardLicense } from './licenses.js'
import { methodsOf, valueTexts } from './method.js'

/** Versions of the standard that terge writes. */
export type CycloneDxVersion = '1.6' | '1.7'

export interface CycloneDxOptions {
  /** The name of the model. */
  readonly name: string
  /** The name of the lineage's file, and `sha256:…` of it. */
  readonly lineageFile: { readonly name: string; readonly digest: string }
  readonly version: CycloneDxVersion
  /** ISO 8601. Absent: the document has no time. */
  readonly timestamp?: string | undefined
  /** How the inputs were made. */
  readonly ancestors: readonly Ancestor[]
}

interface Property {
  readonly name: string
  readonly value: string
}

interface Hash {
  readonly alg: 'SHA-256'
  readonly content: string
}

interface Component {
  readonly type: 'machine-learning-model' | 'file' | 'application'
  readonly 'bom-ref'?: string
  readonly group?: string
  readonly name: string
  readonly version?: string
  readonly description?: string
  readonly hashes?: readonly Hash[]
  readonly licenses?: readonly { readonly license: StandardLicense & { readonly acknowledgement: 'declared' } }[]
  readonly purl?: string
  readonly pedigree?: { readonly ancestors: readonly Component[]; readonly notes?: string }
  readonly externalReferences?: readonly {
    readonly type: string
    readonly url: string
    readonly comment?: string
    readonly hashes?: readonly Hash[]
  }[]
  readonly components?: readonly Component[]
  readonly modelCard?: {
    readonly quantitativeAnalysis?: { readonly performanceMetrics: readonly { type: string; value: string }[] }
    readonly properties: readonly Property[]
  }
  readonly properties?: readonly Property[]
}

const property = (name: string, value: string | number): Property => ({ name: `terge:${name}`, value: String(value) })

const hashesOf = (sha256: string | undefined): { hashes?: readonly Hash[] } =>
  sha256 === undefined ? {} : { hashes: [{ alg: 'SHA-256', content: sha256 }] }

const licensesOf = (license: StandardLicense | undefined): Pick<Component, 'licenses'> =>
  license === undefined ? {} : { licenses: [{ license: { ...license, acknowledgement: 'declared' } }] }

const fileProperties = ({ size, digest, sha256_from: from }: LineageFile): Property[] => [
  property('bytes', size),
  ...(from === undefined ? [] : [property('sha256-from', from)]),
  ...(digest === null ? [] : [property('digest', digest)]),
]

/** The files of a model: nested components, or the hash of the model itself if it is one file. */
function filesOf(
  files: readonly LineageFile[],
  ref: string,
): Pick<Component, 'hashes' | 'components'> & { own: Property[] } {
  const [only] = files
  if (files.length === 1) return { ...hashesOf(sha256Of(only!)), own: fileProperties(only!) }
  const components = files.map(
    (file, index): Component => ({
      type: 'file',
      'bom-ref': `${ref}/file-${index + 1}`,
      name: file.name,
      ...hashesOf(sha256Of(file)),
      properties: fileProperties(file),
    }),
  )
  return { ...(components.length > 0 ? { components } : {}), own: [] }
}

/** What the standard allows, in characters. */
const LONGEST_VERSION = 1024

type Input = Pick<Ancestor, 'name' | 'model'> & { readonly origin: Ancestor['origin'] | undefined }

/** An input with its own inputs. `shown`: by digest of a lineage, the input that has its inputs in full. */
function ancestor({ name, model, origin }: Input, ref: string, shown: Map<string, string>): Component {
  const version = commitOf(model) ?? model.revision
  const purl = purlOf(model)
  const [group, short] = repositoryOf(model)?.split('/') ?? []
  const { own, ...files } = filesOf(filesRead(model), ref)
  const address = addressOf(model)
  const digest = origin?.kind === 'lineage' ? origin.read.digest : undefined
  const before = digest === undefined ? undefined : shown.get(digest)
  if (digest !== undefined && before === undefined) shown.set(digest, ref)
  const inner = origin?.kind === 'lineage' && before === undefined ? origin.inputs : []
  const from = inner.map((one, index) => ancestor(one, `${ref}/input-${index + 1}`, shown))
  return {
    type: 'machine-learning-model',
    'bom-ref': ref,
    ...(group === undefined ? {} : { group }),
    name: short ?? model.reference,
    ...(version === undefined || version.length > LONGEST_VERSION ? {} : { version }),
    ...licensesOf(standardLicense(model.license, model)),
    ...files,
    ...(purl === undefined ? {} : { purl }),
    ...(address === undefined ? {} : { externalReferences: [{ type: 'distribution', url: address }] }),
    ...(from.length > 0 ? { pedigree: { ancestors: from } } : {}),
    properties: [
      property('name', name),
      property('reference', model.reference),
      ...(version === undefined || version.length <= LONGEST_VERSION ? [] : [property('revision', version)]),
      ...own,
      ...(model.quantized ?? []).map((text) => property('quantized', text)),
      ...(model.lineage === undefined ? [] : [property('lineage', model.lineage)]),
      ...(before === undefined ? [] : [property('pedigree-of', before)]),
      ...originProperties(origin),
    ],
  }
}

function originProperties(origin: Ancestor['origin'] | undefined): Property[] {
  if (origin?.kind === 'card') return origin.bases.map((base) => property('card:base_model', base))
  if (origin?.kind === 'refused') return [property('lineage:not-followed', origin.why)]
  if (origin?.kind === 'stopped') return [property('lineage:not-followed', origin.why)]
  return []
}

/** Method, parameters, weights and metrics. */
function modelCard(lineage: Lineage): NonNullable<Component['modelCard']> {
  const metrics = Object.entries(lineage.evaluations ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
  const properties = methodsOf(lineage).flatMap(({ method, tensors, parameters, weights }) => [
    property('method', method),
    property(`method:${method}:tensors`, tensors),
    ...[...parameters].flatMap(([name, values]) =>
      valueTexts(values).map((value) => property(`method:${method}:parameter:${name}`, value)),
    ),
    ...[...weights].flatMap(([model, values]) =>
      valueTexts(values).map((value) => property(`method:${method}:weight:${model}`, value)),
    ),
  ])
  return {
    ...(metrics.length > 0
      ? {
          quantitativeAnalysis: {
            performanceMetrics: metrics.map(([type, value]) => ({ type, value: String(value) })),
          },
        }
      : {}),
    properties,
  }
}

function termsProperties(lineage: Lineage): Property[] {
  const { groups, unknown } = groupedTerms(modelsOfOutput(lineage))
  if (groups.length === 0 || commonLicense(modelsOfOutput(lineage))) return []
  return [
    ...groups.flatMap(({ license, models }) =>
      models.map((model) => property(`input-license:${model}`, termsText(license))),
    ),
    ...unknown.map((model) => property(`input-license:${model}`, 'unknown')),
  ]
}

/** The model that the lineage is about. */
function subject(lineage: Lineage, { name, lineageFile, ancestors }: CycloneDxOptions): Component {
  const { output, recipe, plan, seed, steps } = lineage
  const origins = new Map(ancestors.map((one) => [one.name, one.origin]))
  const shown = new Map<string, string>()
  const inputs = modelsOfOutput(lineage).map(([name, model], index) =>
    ancestor({ name, model, origin: origins.get(name) }, `input-${index + 1}`, shown),
  )
  const { own, ...files } = filesOf(output.files, 'model')
  const methods = methodsOf(lineage).map(({ method }) => method)
  const made = methods.filter((method) => method !== 'copy')
  return {
    type: 'machine-learning-model',
    'bom-ref': 'model',
    name,
    description: `Made with terge ${lineage.terge}: ${(made.length > 0 ? made : methods).join(', ')}`,
    ...licensesOf(standardLicense(commonLicense(modelsOfOutput(lineage)))),
    ...files,
    ...(inputs.length > 0 ? { pedigree: { ancestors: inputs } } : {}),
    externalReferences: [
      {
        type: 'build-meta',
        url: addressPart(lineageFile.name),
        comment: 'lineage of terge: how each tensor was made',
        ...hashesOf(lineageFile.digest.slice('sha256:'.length)),
      },
    ],
    modelCard: modelCard(lineage),
    properties: [
      ...own,
      ...(output.digest === null ? [] : [property('output', output.digest)]),
      property('tensors', output.tensors),
      ...(output.point ? [property('point', output.point.name), property('point:t', output.point.t)] : []),
      ...Object.keys(steps)
        .sort()
        .map((step) => property(`step:${step}`, steps[step]!.kind)),
      property('plan', plan.digest),
      property('seed', seed),
      property('recipe', recipe.text),
      property('recipe:digest', recipe.digest),
      ...recipe.set.map((value) => property('recipe:set', value)),
      ...termsProperties(lineage),
    ],
  }
}

/** A UUID (version 8) over a text. */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** The document as JSON. Its serial number follows from its content without the time. */
export function cyclonedxText(lineage: Lineage, options: CycloneDxOptions): string {
  const { version, timestamp } = options
  const head = {
    $schema: `http://cyclonedx.org/schema/bom-${version}.schema.json`,
    bomFormat: 'CycloneDX',
    specVersion: version,
  }
  const builder: Component = {
    type: 'application',
    name: 'terge',
    version: lineage.terge.slice(0, LONGEST_VERSION),
    purl: builderOf(lineage),
  }
  const rest = {
    lifecycles: [{ phase: 'build' }],
    tools: { components: [builder] },
    component: subject(lineage, options),
  }
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify({ ...head, ...rest }))}`
  const metadata = { ...(timestamp === undefined ? {} : { timestamp }), ...rest }
  return `${JSON.stringify({ ...head, serialNumber, version: 1, metadata }, null, 2)}\n`
}
