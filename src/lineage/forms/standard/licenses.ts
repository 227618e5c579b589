/** The hub's words for licenses as SPDX identifiers, or as names with an address. */
import type { License, LineageModel } from '../../types.js'
import { addressOf, fileAddress } from './identity.js'

/** Words whose SPDX identifier is the same but for upper case, and those that are others. */
const SPDX: ReadonlyMap<string, string> = new Map(
  [
    'AFL-3.0 AGPL-3.0 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 CC0-1.0 CC-BY-2.0 CC-BY-2.5',
    'CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-ND-4.0 CC-BY-NC-ND-3.0',
    'CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Sharing-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0',
    'WTFPL ECL-2.0 EPL-1.0 EPL-2.0 etalab-2.0 EUPL-1.1 EUPL-1.2 GPL-2.0 GPL-3.0 LGPL-2.1 LGPL-3.0 ISC LPPL-1.3c MS-PL MIT MPL-2.0',
    'OSL-3.0 PostgreSQL OFL-1.1 NCSA Unlicense Zlib',
    'c-uda=C-UDA-1.0 odc-by=ODC-By-1.0 odbl=ODbL-1.0 pddl=PDDL-1.0 lgpl-lr=LGPLLR',
  ]
    .join(' ')
    .split(' ')
    .map((entry) => {
      const [word, id = word!] = entry.split('=')
      return [word!.toLowerCase(), id] as const
    }),
)

const LLAMA = 'https://github.com/meta-llama/llama-models/blob/main/models'

/** Where the texts of licenses without an SPDX identifier are. */
const ADDRESSES: Readonly<Record<string, string>> = {
  llama2: `${LLAMA}/llama2/LICENSE`,
  llama3: `${LLAMA}/llama3/LICENSE`,
  'llama3.1': `${LLAMA}/llama3_1/LICENSE`,
  'llama3.2': `${LLAMA}/llama3_2/LICENSE`,
  'llama3.3': `${LLAMA}/llama3_3/LICENSE`,
  llama4: `${LLAMA}/llama4/LICENSE`,
  gemma: 'https://ai.google.dev/gemma/terms',
  'creativeml-openrail-m': 'https://huggingface.co/spaces/CompVis/stable-diffusion-license',
  'openrail++': 'https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md',
  'bigscience-bloom-rail-1.0': 'https://huggingface.co/spaces/bigscience/license',
  'bigcode-openrail-m': 'https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement',
}

/** A license as standard formats write it: an identifier, or a name and an address. */
export type StandardLicense = { readonly id: string } | { readonly name: string; readonly url?: string }

/** An address of the web without spaces and control characters, of a usual length. */
const isAddress = (text: string): boolean =>
  /^https?:\/\/[^\s"<>\\^`{|}\u0000-\u001f\u007f-\uffff]+$/.test(text) && text.length <= 1000

/** The license of a model. `undefined` if it is not known. */
export function standardLicense(
  license: License | undefined,
  model?: Pick<LineageModel, 'reference' | 'revision'>,
): StandardLicense | undefined {
  const { id, name, link, file } = license ?? {}
  const spdx = id === undefined ? undefined : SPDX.get(id)
  if (spdx !== undefined) return { id: spdx }
  const known = id !== undefined && id !== 'other' && id !== 'unknown' ? id : undefined
  const shown = known ?? name ?? (link !== undefined || file ? 'other' : undefined)
  if (shown === undefined) return undefined
  const url =
    link !== undefined && isAddress(link)
      ? link
      : known !== undefined && Object.hasOwn(ADDRESSES, known)
        ? ADDRESSES[known]
        : model && (file ? fileAddress(model, file.name) : addressOf(model))
  return { name: shown, ...(url === undefined ? {} : { url }) }
}
