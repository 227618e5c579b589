/** The small files that are written beside an adapter's weights. */
import { isTokenizerFile } from '../../checkpoints/sidecarNames.js'
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import type { Value } from '../../expr/values.js'
import type { AdapterConfig } from '../../steps/extract/config.js'
import type { Lexicon } from '../tokens/lexicon.js'
import { type SmallFile, sidecarsOf } from '../tokens/tokenizer.js'
import type { Sidecar } from '../types.js'

export const adapterSidecar = (config: AdapterConfig): Sidecar => ({
  name: ADAPTER_CONFIG,
  kind: 'text',
  text: `${JSON.stringify(config, null, 2)}\n`,
})

/** A small file of a model, or one that planning has written. `modelIndex`: the place of a model in the plan. */
export const asSidecar = (modelIndex: (model: string) => number, file: SmallFile): Sidecar =>
  'text' in file
    ? { name: file.name, kind: 'text', text: file.text }
    : { name: file.name, kind: 'copy', model: modelIndex(file.model) }

/** An extracted adapter has its configuration, and a tokenizer if it has another vocabulary than its base. */
export function extractedSidecars(
  lexicon: Lexicon,
  modelIndex: (model: string) => number,
  { vocabularyOf }: Value,
  config: AdapterConfig,
): Sidecar[] {
  const files = vocabularyOf === undefined ? [] : sidecarsOf(lexicon, vocabularyOf)
  const own = files.filter(({ name }) => isTokenizerFile(name)).map((file) => asSidecar(modelIndex, file))
  return [...own, adapterSidecar(config)]
}
