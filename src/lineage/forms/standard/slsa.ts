/** A lineage as an in-toto statement with SLSA provenance. The same lineage gives the same bytes. */
import { fault } from '../../../core/diagnostics.js'
import { listOf } from '../../compare.js'
import type { Digest, Lineage, LineageFile, LineageModel } from '../../types.js'
import {
  addressOf,
  addressPart,
  builderOf,
  commitOf,
  fileAddress,
  filesRead,
  modelsInOrder,
  purlOf,
  sha256Of,
  unhashed,
} from './identity.js'

const STATEMENT = 'https://in-toto.io/Statement/v1'
/** The type of the predicate: SLSA provenance, version 1. */
export const PROVENANCE = 'https://slsa.dev/provenance/v1'
/** What the parameters mean. The page describes them. */
export const BUILD_TYPE = 'https://github.com/terge/terge/blob/main/docs/provenance.md#build-type-v1'

/** A file as in-toto describes it. */
interface ResourceDescriptor {
  readonly name: string
  readonly uri?: string
  readonly digest: Readonly<Record<string, string>>
  readonly downloadLocation?: string
  readonly annotations?: Readonly<Record<string, string | number>>
}

function dependency(name: string, model: LineageModel, file: LineageFile): ResourceDescriptor {
  const purl = purlOf(model)
  const address = addressOf(model)
  const path = file.name.split('/').map(addressPart).join('/')
  const uri =
    purl === undefined ? address && (address.endsWith(`/${path}`) ? address : `${address}/${path}`) : `${purl}#${path}`
  const location = fileAddress(model, file.name)
  const commit = commitOf(model)
  return {
    name: `${name}/${file.name}`,
    ...(uri === undefined ? {} : { uri }),
    digest: { sha256: sha256Of(file)!, ...(commit === undefined ? {} : { gitCommit: commit }) },
    ...(location === undefined ? {} : { downloadLocation: location }),
    annotations: {
      reference: model.reference,
      ...(model.revision === undefined ? {} : { revision: model.revision }),
      bytes: file.size,
      ...(file.sha256_from === undefined ? {} : { sha256_from: file.sha256_from }),
    },
  }
}

/** Files that the recipe gives in addition to models: configurations. */
const given = (name: string, { config = [] }: LineageModel): ResourceDescriptor[] =>
  config.map(({ file, sha256 }) => ({
    name: `${name}/config/${file}`,
    digest: { sha256: sha256.slice('sha256:'.length) },
  }))

/**
 * The statement on one line, without a line feed at its end. `beside`: files of the output that the lineage does not list. Error: `missing-sha256` if the lineage has no SHA-256 of a file: other
 * programs cannot compute terge's own digests.
 */
export function slsaStatement(
  lineage: Lineage,
  shown: string,
  beside: readonly { readonly name: string; readonly sha256: Digest }[],
): string {
  const { output, recipe, plan, seed } = lineage
  const lacking = unhashed(lineage)
  if (output.dropped || output.files.length === 0)
    throw fault(
      'missing-sha256',
      `${shown} has no files that provenance could be about`,
      'give the lineage of an output that was kept',
    )
  if (lacking.length > 0)
    throw fault(
      'missing-sha256',
      `${shown} has no SHA-256 of ${listOf(lacking)}`,
      'run the recipe again with --digests full, the default: provenance without SHA-256 proves nothing',
    )
  const models = modelsInOrder(lineage)
  return JSON.stringify({
    _type: STATEMENT,
    subject: [...output.files.map((file) => ({ name: file.name, sha256: sha256Of(file)! })), ...beside].map(
      ({ name, sha256 }) => ({ name, digest: { sha256: sha256.replace(/^sha256:/, '') } }),
    ),
    predicateType: PROVENANCE,
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: {
          recipe: recipe.text,
          set: recipe.set,
          output: { from: output.from, ...(output.point ? { point: output.point } : {}) },
        },
        internalParameters: { recipeDigest: recipe.digest, plan: plan.digest, seed },
        resolvedDependencies: models.flatMap(([name, model]) => [
          ...filesRead(model).map((file) => dependency(name, model, file)),
          ...given(name, model),
        ]),
      },
      runDetails: { builder: { id: builderOf(lineage), version: { terge: lineage.terge } } },
    },
  })
}
